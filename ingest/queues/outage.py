"""Outages of a queue: since when it refuses events, and when a client should send again.

A refusal has the status 429, not 503. Segment's Node client then pauses as a whole and keeps the order of its batches;
with 503 each batch is retried by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Final

from ingest.errors import Refusal

# One wait after the other while an outage lasts, seconds. Some clients count their attempts and then drop the events.
RETRY_AFTER_S: Final = (2, 5, 15, 60)
_FORGOTTEN_S = 2 * RETRY_AFTER_S[-1]


class Outage:
    """The outage of one queue, if there is one. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: float | None = None
        self._refused = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the last attempt to use the queue failed."""
        return self._began is not None

    def refusal(self, code: str, text: str, status: int = 429) -> Refusal:
        """Return the refusal of a request that may be sent again. Its `retry_after_s` grows while the outage lasts."""
        now = self._clock()
        if self._began is None or now - self._refused > _FORGOTTEN_S:
            self._began = now
        self._refused = now
        lasted = now - self._began
        steps = zip(RETRY_AFTER_S, accumulate(RETRY_AFTER_S), strict=True)
        wait_s = next((wait for wait, end in steps if lasted < end), RETRY_AFTER_S[-1])
        return Refusal(status, f"{text}; send the request again", retry_after_s=wait_s, code=code)

    def end(self) -> None:
        """Note that the queue was used."""
        self._began = None
