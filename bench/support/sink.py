"""The far end of a benchmark: takes Track API requests, counts every operation and checks its order, at little cost.

    python -m bench.support.sink PORT [LEAST_MS MOST_MS]

Every event of a benchmark carries the attributes `n`, its place among those of its person, and `at`, when it was sent
(Unix seconds). The answer comes after a latency drawn evenly from LEAST_MS to MOST_MS; timers are coarse, so the mean
of what it came to is told. `GET /figures` tells what was seen, and what seeing it cost; `POST /reset` forgets it.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from itertools import accumulate
from typing import Any

import orjson
import uvloop

_STEPS_PER_S = 10_000  # waits are kept by tenths of a millisecond, so that memory stays flat
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{}\n"


class Seen:
    """What the sink saw. `disordered` counts operations behind a later one of their person, `repeated` those again."""

    def __init__(self) -> None:
        self.requests = self.operations = self.disordered = self.repeated = 0
        self.first_at = self.last_at = 0.0
        self.latest: dict[str, int] = {}
        self.waits: Counter[int] = Counter()  # how many operations waited that many steps, see _STEPS_PER_S
        self.answering_s = 0.0

    def note(self, body: bytes) -> list[float]:
        """Count a request; return when its operations were sent."""
        content = orjson.loads(body)
        sent_at = []
        latest = self.latest
        for operation in content.get("batch") or [content]:
            attributes = operation["attributes"]
            who = next(iter(operation["identifiers"].values()))
            place, before = attributes["n"], latest.get(who, -1)
            if place > before:
                latest[who] = place
            elif place == before:
                self.repeated += 1
            else:
                self.disordered += 1
            sent_at.append(attributes["at"])
        self.requests += 1
        self.operations += len(sent_at)
        return sent_at

    def answered(self, sent_at: list[float], received_at: float) -> None:
        now = time.time()
        self.answering_s += now - received_at
        self.first_at = self.first_at or now
        self.last_at = now
        self.waits.update([int((now - at) * _STEPS_PER_S) for at in sent_at])

    def figures(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "operations": self.operations,
            "disordered": self.disordered,
            "repeated": self.repeated,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "cpu_s": time.process_time(),
            "latency_s": self.answering_s / self.requests if self.requests else 0.0,
            "wait_s": {share: self._wait_s(share) for share in (50, 95, 99)} if self.waits else {},
        }

    def _wait_s(self, percent: int) -> float:
        """Return the wait that this share of the operations did not exceed."""
        steps = sorted(self.waits)
        reached = accumulate(self.waits[step] for step in steps)
        least = self.waits.total() * percent / 100
        return next(step + 1 for step, count in zip(steps, reached, strict=True) if count >= least) / _STEPS_PER_S


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests come one after the other."""

    seen = Seen()
    latency_s = (0.0, 0.0)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[:end]).lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.received) < end + 4 + length:
                return
            body = bytes(self.received[end + 4 : end + 4 + length])
            del self.received[: end + 4 + length]
            self._take(head, body)

    def _take(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /figures"):
            told = orjson.dumps(self.seen.figures(), option=orjson.OPT_NON_STR_KEYS)
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(told), told))
        elif head.startswith(b"post /reset"):
            Connection.seen = Seen()
            self.transport.write(_ANSWER)
        else:
            received_at, sent_at = time.time(), self.seen.note(body)
            wait_s = random.uniform(*self.latency_s)
            if wait_s:
                asyncio.get_running_loop().call_later(wait_s, self._answer, sent_at, received_at)
            else:
                self._answer(sent_at, received_at)

    def _answer(self, sent_at: list[float], received_at: float) -> None:
        self.seen.answered(sent_at, received_at)
        if not self.transport.is_closing():
            self.transport.write(_ANSWER)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        Connection.latency_s = (float(sys.argv[2]) / 1000, float(sys.argv[3]) / 1000)
    uvloop.run(serve(int(sys.argv[1])))
