"""Rates: how many events a second a source, and each of its clients, may send to this process.

A limit is a token bucket. It holds the tokens of BURST_S, and each event takes one. A request is taken while there is a
token, whatever its size. So a batch may overdraw the bucket, and what follows waits for longer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ingest.access.sources import Source
from ingest.errors import Refusal
from mapping.envelope import JsonObject

BURST_S: Final = 10
_MOST_CLIENTS: Final = 50_000

Clock = Callable[[], float]


class _Bucket(NamedTuple):
    tokens: float  # below 0 when it was overdrawn
    at: float  # when it had them, by the clock


class Rates:
    """The limits of one source. Remembers the 50,000 to 100,000 clients that were seen last. `clock` is in seconds.

    It remembers the hash of an id, because an id may have the length of an event.
    """

    def __init__(self, source: Source, clock: Clock = time.monotonic) -> None:
        self._per_s = source.events_per_s
        self._client_per_s = source.client_events_per_s
        self._clock = clock
        self._bucket: _Bucket | None = None
        self._recent: dict[int, _Bucket] = {}
        self._older: dict[int, _Bucket] = {}

    def take_request(self, events: int) -> None:
        """Count a request with so many events; raise Refusal (429) when the source has sent too many before."""
        if self._per_s is not None:
            self._bucket = self._taken(self._bucket, self._per_s, events, "this source")

    def take_event(self, event: JsonObject) -> None:
        """Count an event of its client; raise Refusal (429) when the client has sent too many before.

        A client is an `anonymousId`, or a `userId` where an event has none.
        """
        if self._client_per_s is None:
            return
        client = hash(event.get("anonymousId") or event.get("userId"))
        known = self._recent.get(client) or self._older.get(client)
        self._recent[client] = self._taken(known, self._client_per_s, 1, "this client")
        if len(self._recent) >= _MOST_CLIENTS:
            self._recent, self._older = {}, self._recent

    def _taken(self, bucket: _Bucket | None, per_s: float, events: int, who: str) -> _Bucket:
        """Return the bucket without the tokens of the events; None stands for a full one."""
        now, most = self._clock(), max(per_s * BURST_S, 1.0)
        tokens = most if bucket is None else min(bucket.tokens + (now - bucket.at) * per_s, most)
        if tokens < 1:
            retry_after_s = max(math.ceil((1 - tokens) / per_s), 1)
            text = f"{who} sends more than {per_s:g} events per second; send the request again"
            raise Refusal(429, text, retry_after_s=retry_after_s, code="rate_limited")
        return _Bucket(tokens - events, now)
