"""Ranks: by when its events happened, a request says before which events of others its own go.

An event waits for earlier ones as long as its source says (`reorder_ms`); lanes/lua/append.lua puts it into its lanes
by its rank. The rank is the event's own time as its client wrote it. A time is believed when it is not later than the
receipt, and not earlier by more than SEGUE_REORDER_LATE_S; otherwise the time of receipt counts. Events of one request
keep their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from typing import Final

from ingest.addresses import is_of_device
from ingest.counters import Counters
from ingest.reorder.id_chains import IdChains
from ingest.reorder.lateness import Lateness
from ingest.times import milliseconds
from lanes import digest, records
from lanes.keys import TIME_DIGITS
from mapping.envelope import JsonObject

# A clock that is off by more than this is not believed.
_MAX_CLOCK_ERROR_MS: Final = 3_600_000
_LAST_MS: Final = 10**TIME_DIGITS - 1  # of the times that a rank can hold
_MOST_CHARACTERS: Final = 2_000  # of what names a client
_DEVICE_CHANNELS: Final = ("client", "web", "browser", "mobile")  # of an event: Segment's and RudderStack's


class Ranks:
    """Ranks the events of requests. `late_s`: how old the time of an event may be to be believed."""

    def __init__(self, counters: Counters, late_s: float) -> None:
        self._counters = counters
        self._late_ms = int(late_s * 1000)
        self._lateness = Lateness(counters)
        self._chains = IdChains()

    def of(
        self,
        source: str,
        events: Sequence[JsonObject],
        happened_at: Sequence[datetime],
        received_at: datetime,
        wait_ms: int,
    ) -> list[bytes]:
        """Return the rank of each event of a request, as `lanes.NewEvent` has it. Without a wait there are none.

        The events are completed; `happened_at` has their times.
        """
        if wait_ms == 0 or not events:
            return [b""] * len(events)
        received_at_ms = _ms(received_at)
        ranks_ms = [*accumulate(self._believed_ms(source, events, happened_at, received_at_ms), max)]
        times = [received_at_ms if rank_ms > received_at_ms else rank_ms for rank_ms in ranks_ms]
        self._lateness.note(source, events, times, received_at_ms, wait_ms)
        clients = [_client(source, event) for event in events]
        return records.ranks(wait_ms, clients, ranks_ms, self._tie(source, events, times))

    def _tie(self, source: str, events: Sequence[JsonObject], times: Sequence[int]) -> bytes:
        sent_at_ms = min(max(milliseconds(events[0].get("sentAt")) or 0, 0), _LAST_MS)
        compared, ids = (times[0], times[-1]), (str(events[0]["messageId"]), str(events[-1]["messageId"]))
        return records.tie(*compared, *self._chains.tie(source, compared, sent_at_ms, *ids))

    def _believed_ms(
        self, source: str, events: Sequence[JsonObject], happened_at: Sequence[datetime], received_at_ms: int
    ) -> Iterator[int]:
        """Yield when each event happened, if that can be, else AT_ACCEPTANCE."""
        earliest_ms, last, last_ms = received_at_ms - self._late_ms, None, 0
        for event, time in zip(events, happened_at, strict=True):
            if time != last:
                last, last_ms = time, _ms(time)
            written = event.get("originalTimestamp")
            at_ms = last_ms
            if written is not None and written != event["timestamp"]:
                at_ms = self._written_ms(source, event, last_ms, received_at_ms)
            yield at_ms if earliest_ms <= at_ms <= received_at_ms else records.AT_ACCEPTANCE

    def _written_ms(self, source: str, event: JsonObject, happened_at_ms: int, received_at_ms: int) -> int:
        """Return when an event happened whose client wrote another time, AT_ACCEPTANCE if its clock is not believed.

        `timestamp` is the client's own time, moved by whole seconds where its clock is wrong. Segment moves each
        request by another difference, so of what it passed on the time counts that the client wrote.
        """
        written_ms = milliseconds(event["originalTimestamp"]) or received_at_ms
        if abs(written_ms - happened_at_ms) > _MAX_CLOCK_ERROR_MS:
            if happened_at_ms != received_at_ms:
                self._counters.add(source, "clock_off")
            return records.AT_ACCEPTANCE
        return written_ms if _was_passed_on(event) else happened_at_ms


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def _client(source: str, event: JsonObject) -> bytes:
    """Return the digest of the client: a device, else the source, as a server has one clock.

    A browser is known by its address and user agent, since analytics.js takes another anonymous id when the user
    changes. Two browsers that share both matter only where their events share an ordering key.
    """
    anonymous_id, context = event.get("anonymousId"), event.get("context")
    if not (anonymous_id and context and (is_of_device(context) or event.get("channel") in _DEVICE_CHANNELS)):
        return _digest(source)
    user_agent = context.get("userAgent")
    client = f"{source}:{context.get('ip')}:{user_agent}" if user_agent else f"{source}:{anonymous_id}"
    return _digest(client[:_MOST_CHARACTERS])


_digest = lru_cache(maxsize=4096)(digest)  # a client sends many events


def _was_passed_on(event: JsonObject) -> bool:
    """Whether Segment passed the event on: it adds members of its own."""
    return event.get("version") is not None or event.get("projectId") is not None
