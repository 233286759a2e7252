"""Ranks: by when its events happened, a request says before which events of others its own go.

An event waits for earlier ones as long as its source says (`reorder_ms`); lanes/lua/append.lua puts it into its lanes
by its rank. The rank is the event's own time as its client wrote it. A time is believed when it is not later than the
receipt, and not earlier by more than SEGUE_REORDER_LATE_S; otherwise the time of receipt counts. Events of one request
keep their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from ingest.clocks import Clocks
from ingest.counters import Counters
from ingest.lateness import Lateness
from ingest.times import milliseconds
from lanes import digest, records

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
        self._clocks = Clocks()
        self._lateness = Lateness(counters)

    def of(
        self, source: str, events: Sequence[Any], common: Mapping[str, Any], received_at_ms: int, wait_ms: int
    ) -> list[bytes]:
        """Return the rank of each event of a request, as `lanes.NewEvent` has it. Without a wait there are none.

        `events` may be invalid; `common` holds the members of the batch that apply to all of them.
        """
        if wait_ms == 0:
            return [b""] * len(events)
        sent_at_ms = _sent_at_ms(events, common)
        clients, times, previous_ms = [], [], 0
        for event in events:
            client, person, own_ms = _sender(source, event, common)
            offset_ms = self._clocks.offset_ms(client, sent_at_ms, received_at_ms)
            previous_ms = max(previous_ms, self._believed_ms(source, own_ms, offset_ms, received_at_ms))
            self._lateness.note(source, person, previous_ms, received_at_ms, wait_ms)
            clients.append(client)
            times.append(previous_ms)
        tie = records.tie(times[0], times[-1], sent_at_ms or 0)
        return [
            records.rank(wait_ms, _digest(client), happened_at_ms, tie)
            for client, happened_at_ms in zip(clients, times, strict=True)
        ]

    def _believed_ms(self, source: str, own_ms: int | None, offset_ms: int | None, received_at_ms: int) -> int:
        if own_ms is None:
            return received_at_ms
        if offset_ms is None:
            self._counters.add(source, "clock_off")
            return received_at_ms
        happened_at_ms = own_ms + offset_ms
        return happened_at_ms if received_at_ms - self._late_ms <= happened_at_ms <= received_at_ms else received_at_ms


def _sent_at_ms(events: Sequence[Any], common: Mapping[str, Any]) -> int | None:
    sent_at = common.get("sentAt") or (events[0].get("sentAt") if isinstance(events[0], dict) else None)
    return milliseconds(sent_at) if sent_at else None


def _sender(source: str, event: Any, common: Mapping[str, Any]) -> tuple[str, str, int | None]:
    """Return the client of an event, the person that it names, and its own time (Unix ms)."""
    if not isinstance(event, dict):
        return source, "", None
    anonymous_id = event.get("anonymousId")
    client = f"{source}:{anonymous_id}" if anonymous_id and _is_of_a_device(event, common) else source
    own = event.get("originalTimestamp") or event.get("timestamp")
    return client, f"{source}:{event.get('userId') or anonymous_id}", milliseconds(own) if own else None


def _is_of_a_device(event: Mapping[str, Any], common: Mapping[str, Any]) -> bool:
    if event.get("channel") in _DEVICE_CHANNELS:
        return True
    context = event.get("context") or common.get("context")
    library = context.get("library") if isinstance(context, dict) else None
    name = library.get("name") if isinstance(library, dict) else None
    return isinstance(name, str) and name.startswith(_DEVICE_LIBRARIES)


@lru_cache(maxsize=10_000)
def _digest(client: str) -> bytes:
    return digest(client)
