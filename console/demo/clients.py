"""Clients that send side by side: each request takes its own time, so requests with events of one person overtake each
other, as those of browsers do. Each event carries the time at which it happened, one millisecond after the one before.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

import httpx

from console.demo.sample import Event
from console.errors import CommandError

CONNECTIONS: Final = 8
_EVENTS: Final = 25  # of a request: few of them are of the same person
_LONGEST_DELAY_S: Final = 0.1
_MOST_AT_ONCE: Final = 30_000  # a time that is older than SEGUE_REORDER_LATE_S is not believed


class Clients:
    """Sends the events; `with` begins, and its end waits for the requests that are under way."""

    def __init__(self, ingest: httpx.Client, events: Sequence[Event], seed: int) -> None:
        self._ingest = ingest
        self._dice = random.Random(seed)
        sent = dated(events)
        self._batches = iter([sent[first : first + _EVENTS] for first in range(0, len(events), _EVENTS)])
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(CONNECTIONS)
        self._requests: list[Future[int]] = []
        self._count = -(-len(events) // _EVENTS)

    def __enter__(self) -> Self:
        self._requests = [self._executor.submit(self._send) for _ in range(self._count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(cancel_futures=True)

    @property
    def sent(self) -> int:
        """Return the number of events that were accepted. Raises CommandError: a request was refused."""
        return sum(request.result() for request in self._requests if request.done())

    def _send(self) -> int:
        """Send the next request, after its events happened; return the number of its events."""
        with self._lock:
            batch, delay_s = next(self._batches), self._dice.uniform(0, _LONGEST_DELAY_S)
        happened_at = datetime.fromisoformat(batch[-1]["timestamp"])
        time.sleep(delay_s + max((happened_at - datetime.now(UTC)).total_seconds(), 0))
        response = self._ingest.post("/v1/batch", json={"batch": batch})
        if not response.is_success:
            raise CommandError(f"ingest answered HTTP {response.status_code}: {response.text}")
        return len(batch)


def dated(events: Sequence[Event]) -> list[Event]:
    """Return the events with the times at which they happen. Those that are sent at once happened already."""
    started_at = datetime.now(UTC) - timedelta(milliseconds=min(len(events), _MOST_AT_ONCE))
    times = (started_at + timedelta(milliseconds=number) for number in range(len(events)))
    return [
        event | {"timestamp": time.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        for event, time in zip(events, times, strict=True)
    ]
