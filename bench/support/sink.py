"""The receiver of a benchmark: accepts Track API requests, counts every operation and checks its order, at low cost.

    python -m bench.support.sink PORT [LEAST_MS MOST_MS]

Every event of a benchmark has the attributes `n`, which counts the events of its person, and `at`, the time of sending
in Unix seconds. The sink answers after a latency drawn evenly from LEAST_MS to MOST_MS. Timers are coarse, so the
figures contain the mean latency as measured. `GET /figures` returns them (see Seen.figures), `POST /reset` clears them.
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

_STEPS_PER_S = 10_000  # waits are counted in steps of 0.1 ms, so that memory stays flat
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{}\n"


class Seen:
    """What the sink saw since the last reset.

    `disordered` counts operations that came after a later one of the same person, `repeated` those that came twice in
    succession.
    """

    def __init__(self) -> None:
        self.requests = self.operations = self.disordered = self.repeated = 0
        self.first_at = self.last_at = 0.0
        self.latest: dict[str, int] = {}
        self.waits: Counter[int] = Counter()  # operations by steps of waiting, see _STEPS_PER_S
        self.answering_s = 0.0

    def count(self, body: bytes) -> list[float]:
        """Count a request; return the times at which its operations were sent."""
        content = orjson.loads(body)
        sent_at = []
        latest = self.latest
        for operation in content.get("batch") or [content]:
            attributes = operation["attributes"]
            person = next(iter(operation["identifiers"].values()))
            index, previous = attributes["n"], latest.get(person, -1)
            if index > previous:
                latest[person] = index
            elif index == previous:
                self.repeated += 1
            else:
                self.disordered += 1
            sent_at.append(attributes["at"])
        self.requests += 1
        self.operations += len(sent_at)
        return sent_at

    def count_answer(self, sent_at: list[float], received_at: float) -> None:
        """Count the answer to a request that came at `received_at`."""
        now = time.time()
        self.answering_s += now - received_at
        self.first_at = self.first_at or now
        self.last_at = now
        self.waits.update([int((now - at) * _STEPS_PER_S) for at in sent_at])

    def figures(self) -> dict[str, Any]:
        """Return the counts; `wait_s` has percentiles from sending to the answer, `cpu_s` is of this process."""
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
        """Return the percentile of the waits, in seconds."""
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
            figures = orjson.dumps(self.seen.figures(), option=orjson.OPT_NON_STR_KEYS)
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(figures), figures))
        elif head.startswith(b"post /reset"):
            Connection.seen = Seen()
            self.transport.write(_ANSWER)
        else:
            received_at, sent_at = time.time(), self.seen.count(body)
            wait_s = random.uniform(*self.latency_s)
            if wait_s:
                asyncio.get_running_loop().call_later(wait_s, self._answer, sent_at, received_at)
            else:
                self._answer(sent_at, received_at)

    def _answer(self, sent_at: list[float], received_at: float) -> None:
        self.seen.count_answer(sent_at, received_at)
        if not self.transport.is_closing():
            self.transport.write(_ANSWER)


async def serve(port: int) -> None:
    """Listen on loopback until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        Connection.latency_s = (float(sys.argv[2]) / 1000, float(sys.argv[3]) / 1000)
    uvloop.run(serve(int(sys.argv[1])))
