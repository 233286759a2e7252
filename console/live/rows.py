"""The rows of the live tail: one for each event at one destination, joined of what ingest and workers copied."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

import orjson
import redis

import lanes
import mapping
from lanes import keys
from lanes.taps import streams
from lanes.taps.tap import Copy
from mapping.envelope import name_of, readable, type_of

# What may become of an event, in the order of its way. `released`: it returned to the queue, and will be claimed again.
FATES: Final = (
    *("refused", "duplicate", "suppressed", "accepted", "released"),
    *("sent", "shadowed", "filtered", "unmatched", "dropped", "dead"),
)
_OF_INGEST: Final = {"duplicates": "duplicate", "reordered": "accepted"}  # results of an append under other names
_MOST_ROWS: Final = 2 * streams.MOST
_LONGEST_NAME: Final = 200
Id = tuple[int, int]


class Position(NamedTuple):
    """How far a reader is in the streams: the last ids of ingest and of the workers."""

    ingest: Id = (0, 0)
    workers: Id = (0, 0)

    @classmethod
    def read(cls, text: str) -> Position:
        """Return the position that `str` wrote; the beginning for another text."""
        with suppress(ValueError):
            ingest, workers = ((int(ms), int(n)) for ms, _, n in (each.partition("-") for each in text.split("_")))
            return cls(ingest, workers)
        return cls()

    def __str__(self) -> str:
        return "_".join(f"{milliseconds}-{number}" for milliseconds, number in self)


_BEGINNING: Final = Position()


@dataclass(frozen=True)
class Wanted:
    """Conditions on rows, all of which must hold. A refused event has no destination."""

    source: str | None = None
    destination: str | None = None
    type: str | None = None
    event: str | None = None  # its name or its type
    fate: str | None = None
    person: bytes | None = None  # digest of an ordering key

    def matches(self, row: Row) -> bool:
        """Whether all conditions hold for the row. Its event is unpacked only for a condition on it."""
        return (
            (self.source is None or self.source == row.source)
            and (self.destination is None or self.destination == row.destination)
            and (self.fate is None or self.fate == row.fate)
            and (self.type is None or self.type == row.type)
            and (self.event is None or self.event in (row.name, row.type))
            and (self.person is None or self.person in map(lanes.digest, row.keys))
        )


@dataclass
class Row:
    """One event at one destination: the copies of it, the oldest first."""

    id: str
    destinations: Mapping[str, mapping.Destination]
    copies: list[Copy] = field(default_factory=list)

    @property
    def destination(self) -> str | None:
        """The name of the destination; None of a refused event."""
        name: str | None = self.copies[0].facts["destination"]
        return name

    @property
    def source(self) -> str:
        """The name of the source; empty when no source is known."""
        return str(self.copies[0].facts["source"])

    @property
    def fate(self) -> str:
        """What became of the event so far, of FATES."""
        return _fate(self.copies[-1])

    @property
    def type(self) -> str:
        """The type of the event; empty when the event was not copied."""
        return type_of(self.event or {}) or ""

    @property
    def name(self) -> str:
        """The name of a track, a page or a screen; empty without one."""
        return name_of(self.event or {})[:_LONGEST_NAME]

    @cached_property
    def event(self) -> dict[str, Any] | None:
        """The event as ingest stored it; None when it cannot be read, is too long for a copy, or none was refused."""
        body = self.copies[0].event
        if not body:
            return None
        event: dict[str, Any] = orjson.loads(body) if self.fate == "refused" else readable(body)[1]
        return event or None

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The ordering keys of the event; of a refused one, its ids."""
        destination = self.destinations.get(self.destination or "")
        if self.event is None:
            return ()
        if destination is not None:
            return mapping.ordering_info(self.event, destination).keys
        found = [("id", self.event.get("userId")), ("anonymous_id", self.event.get("anonymousId"))]
        return tuple(f"{kind}:{value}" for kind, value in found if isinstance(value, str) and value)

    def json(self) -> dict[str, Any]:
        """Return `{"id", "at_ms", "destination", "sequence", "source", "type", "name", "message_id", "keys", "person",
        "fate", "reason", "text", "actions", "steps": [{"at_ms", "fate", "reason", "text", "worker"}], "requests":
        [{"action", "path", "outcome", "reason", "unapplied", "body"}], "event"}`.

        `reason` is of Segue, such as the name of a filter; `text` may quote the event or Customer.io. `person` is the
        digest of the first ordering key.
        """
        requests = [request for copy in self.copies for request in _requests(copy)]
        steps = [_step(copy) for copy in self.copies]
        return {
            "id": self.id,
            "at_ms": self.copies[0].facts.get("accepted_ms") or self.copies[0].facts["at_ms"],
            "destination": self.destination,
            "sequence": self.copies[0].facts["sequence"],
            "source": self.source,
            "type": self.type,
            "name": self.name,
            "message_id": self.event.get("messageId") if self.event else None,
            "keys": list(self.keys),
            "person": lanes.digest(self.keys[0]).hex() if self.keys else None,
            **{name: steps[-1][name] for name in ("fate", "reason", "text")},
            "actions": list(dict.fromkeys(request["action"] for request in requests)),
            "steps": steps,
            "requests": requests,
            "event": self.event,
        }


class Tail:
    """Reads the taps, and joins what they have of each event."""

    def __init__(
        self, client: redis.Redis, destinations: Mapping[str, mapping.Destination], after: Position = _BEGINNING
    ) -> None:
        """Return what is behind `after`; what is before it completes these rows."""
        self._client = client
        self._destinations = destinations
        self._rows: dict[str, Row] = {}
        self._returned = after
        self.position = _BEGINNING  # how far it has read

    def read(self) -> list[Row]:
        """Return the rows that are new, or that have changed since the last call, the oldest first."""
        changed: dict[str, Row] = {}
        ends = []
        for stream, start, known in zip(streams.STREAMS, self.position, self._returned, strict=True):
            for entry_id, copy in streams.read(self._client, stream, start):
                row = self._join(stream, entry_id, copy)
                if entry_id > known:
                    changed[row.id] = row
                start = entry_id
            ends.append(start)
        self.position = self._returned = Position(*ends)
        while len(self._rows) > _MOST_ROWS:
            del self._rows[next(iter(self._rows))]
        return sorted(changed.values(), key=_at)

    def _join(self, stream: keys.Key, entry_id: Id, copy: Copy) -> Row:
        sequence, destination = copy.facts["sequence"], copy.facts["destination"]
        name = f"{destination}-{sequence}" if sequence is not None else f"{stream.name}-{entry_id[0]}-{entry_id[1]}"
        row = self._rows.setdefault(name, Row(name, self._destinations))
        row.copies.append(copy)
        row.copies.sort(key=_order)
        return row


def _at(row: Row) -> int:
    return int(row.copies[0].facts["at_ms"])


def _order(copy: Copy) -> tuple[bool, int]:
    """Return by what the copies of an event are ordered: ingest was first, whatever the clocks of the machines say."""
    return "worker" in copy.facts, copy.facts["at_ms"]


def _fate(copy: Copy) -> str:
    fate = str(copy.facts["fate"])
    return _OF_INGEST.get(fate, fate)


def _step(copy: Copy) -> dict[str, Any]:
    facts = copy.facts
    return {
        "at_ms": facts["at_ms"],
        "fate": _fate(copy),
        "reason": facts["reason"],
        "text": facts["text"],
        "worker": facts.get("worker"),
    }


def _requests(copy: Copy) -> list[dict[str, Any]]:
    items = copy.facts.get("items", ())
    bodies = orjson.loads(copy.requests) if copy.requests else [None] * len(items)
    return [{**item, "body": body} for item, body in zip(items, bodies, strict=True)]
