"""Ranks: by when its events happened, a request says before which events of others its own go.

An event waits for earlier ones as long as its source says (`reorder_ms`); lanes/lua/append.lua puts it into its lanes
by its rank. The rank is the event's own time as its client wrote it. A time is believed when it is not later than the
receipt, and not earlier by more than SEGUE_REORDER_LATE_S; otherwise the time of receipt counts. Events of one request
keep their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from ingest.counters import Counters
from ingest.lateness import Lateness
from ingest.times import milliseconds
from lanes import digest, records
from mapping.envelope import JsonObject

# A clock that is off by more than this is not believed.
_MAX_CLOCK_ERROR_MS: Final = 3_600_000

# Libraries that run on the device of one person: one clock for each device. A server has one clock for all people.
_DEVICE_LIBRARIES: Final = (
    "analytics.js",
    "analytics-react-native",
    "analytics-ios",
    "analytics-android",
    "analytics-swift",
    "analytics-kotlin",
    "analytics-flutter",
    "@segment/analytics-react-native",
    "RudderLabs JavaScript SDK",
    "rudder-",
)
_DEVICE_CHANNELS: Final = frozenset({"client", "web", "browser", "mobile"})


class Ranks:
    """Ranks the events of requests. `late_s`: how old the time of an event may be to be believed."""

    def __init__(self, counters: Counters, late_s: float) -> None:
        self._counters = counters
        self._late_ms = int(late_s * 1000)
        self._lateness = Lateness(counters)

    def of(self, source: str, events: Sequence[JsonObject], received_at_ms: int, wait_ms: int) -> list[bytes]:
        """Return the rank of each event of a request, as `lanes.NewEvent` has it. Without a wait there are none.

        `events` are completed (`ingest.events`), in their order.
        """
        if wait_ms == 0 or not events:
            return [b""] * len(events)
        times: list[int] = []
        latest_ms = 0
        for event in events:
            latest_ms = max(latest_ms, self._believed_ms(source, event, received_at_ms))
            times.append(latest_ms)
            person = event.get("userId") or event.get("anonymousId")
            self._lateness.note(source, f"{source}:{person}", latest_ms, received_at_ms, wait_ms)
        tie = records.tie(times[0], times[-1], max(milliseconds(events[0].get("sentAt")) or 0, 0))
        return [
            records.rank(wait_ms, _digest(_client(source, event)), happened_at_ms, tie)
            for event, happened_at_ms in zip(events, times, strict=True)
        ]

    def _believed_ms(self, source: str, event: JsonObject, received_at_ms: int) -> int:
        """Return when the event happened, if that can be, else when it was received.

        `timestamp` is the client's own time, moved by whole seconds where its clock is wrong. Segment moves each
        request by another difference, so of what it passed on the time counts that the client wrote.
        """
        own_ms = milliseconds(event["timestamp"])
        written = event.get("originalTimestamp")
        if written is not None and written != event["timestamp"]:
            written_ms = milliseconds(written)
            if written_ms is not None and own_ms is not None:
                if abs(written_ms - own_ms) > _MAX_CLOCK_ERROR_MS:
                    self._counters.add(source, "clock_off")
                    return received_at_ms
                own_ms = written_ms if _was_passed_on(event) else own_ms
        if own_ms is None or not received_at_ms - self._late_ms <= own_ms <= received_at_ms:
            return received_at_ms
        return own_ms


def _client(source: str, event: JsonObject) -> str:
    """Return the client: a device by its anonymous id, else the source, since a server's events have one clock."""
    anonymous_id = event.get("anonymousId")
    return f"{source}:{anonymous_id}" if anonymous_id and _is_of_a_device(event) else source


def _was_passed_on(event: JsonObject) -> bool:
    """Whether Segment passed the event on: it adds the time of its own receipt."""
    return event.get("version") is not None or event.get("projectId") is not None


def _is_of_a_device(event: JsonObject) -> bool:
    if event.get("channel") in _DEVICE_CHANNELS:
        return True
    context = event.get("context")
    library = context.get("library") if isinstance(context, dict) else None
    name = library.get("name") if isinstance(library, dict) else None
    return isinstance(name, str) and name.startswith(_DEVICE_LIBRARIES)


@lru_cache(maxsize=10_000)
def _digest(client: str) -> bytes:
    return digest(client)
