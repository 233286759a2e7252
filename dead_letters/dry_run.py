"""What a replay would do, without doing it: each letter mapped with the present configuration, compared with the
request that was refused, and what is risky."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import lanes
import mapping
from dead_letters.query import Grave
from delivery.identity_memory import TIMES_KEPT_S, last_updates_s
from mapping.envelope import JsonObject

_CAMPAIGNS_S = 72 * 3600
_ADDED_ON_THE_WIRE = frozenset({"id", "timestamp"})
_NOTHING = object()
# Fields of which a plan says that they change.
_MOST_FIELDS = 50


class Change(NamedTuple):
    """A value that the new request has otherwise than the refused one; None where there is none."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What one letter would come to."""

    operations: tuple[JsonObject, ...]
    failures: tuple[str, ...]  # why it would be set aside again
    changes: tuple[Change, ...]  # against the requests that were refused
    risks: tuple[str, ...]

    def json(self) -> JsonObject:
        return {
            "operations": self.operations,
            "failures": self.failures,
            "changes": [change._asdict() for change in self.changes],
            "risks": self.risks,
        }


def rehearse(
    queue: lanes.Queue, graves: Sequence[Grave], destination: mapping.Destination, now_s: float
) -> list[Rehearsal]:
    """Return what sending each letter now would do."""
    updates_s = last_updates_s(queue, [grave.letter.keys for grave in graves])
    return [_rehearsal(grave, destination, now_s, last_s) for grave, last_s in zip(graves, updates_s, strict=True)]


def figures(rehearsals: Sequence[Rehearsal]) -> Counter[str]:
    """Return how many letters would fail again, how many would send another request, and how many operations, changes
    and risks of each kind there are: `operation:person identify`, `change:attributes.bio`, `risk:…`."""
    counted: Counter[str] = Counter()
    for one in rehearsals:
        counted["fail_again"] += bool(one.failures)
        counted["changed"] += bool(one.changes)
        counted.update(f"operation:{_kind(body)}" for body in one.operations)
        counted.update(f"change:{field}" for field in {change.field for change in one.changes})
        counted.update(f"risk:{risk}" for risk in one.risks)
    return counted


def _kind(body: JsonObject) -> str:
    return f"{body.get('type', 'metric')} {body.get('action', '')}".strip()


def _rehearsal(grave: Grave, destination: mapping.Destination, now_s: float, last_update_s: int) -> Rehearsal:
    translation = mapping.translate(grave.event, destination, now_s)
    bodies = tuple(operation.body for operation in translation.operations)
    failures = tuple(f"{failure.name}: {failure.message}" for failure in translation.failures)
    names = {one.index: one.name for one in destination.subscriptions}
    now = {names[operation.subscription]: operation.body for operation in translation.operations}
    refused = [fault for fault in grave.why["faults"] if "request" in fault]
    changes = [change for fault in refused for change in _changes(fault["request"], now.get(fault["subscription"], {}))]
    risks = tuple(_risks(grave, destination, translation.operations, now_s, last_update_s))
    return Rehearsal(bodies, failures, tuple(changes[:_MOST_FIELDS]), risks)


def _changes(before: Any, after: Any, at: str = "") -> Iterator[Change]:
    """Yield what differs, member by member. What only the wire adds to an operation is no difference."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            if at or name not in _ADDED_ON_THE_WIRE:
                inner = f"{at}.{name}" if at else name
                yield from _changes(before.get(name, _NOTHING), after.get(name, _NOTHING), inner)
    elif before != after:
        yield Change(at, *(None if value is _NOTHING else value for value in (before, after)))


def _risks(
    grave: Grave,
    destination: mapping.Destination,
    operations: tuple[mapping.Operation, ...],
    now_s: float,
    last_update_s: int,
) -> Iterator[str]:
    accepted_at_ms = grave.why.get("accepted_at_ms", grave.letter.accepted_at_ms)
    happened_at_s = _seconds(grave.event.get("timestamp"), accepted_at_ms / 1000)
    effects = {operation.effect for operation in operations}
    if effects & {"update", "object"} and destination.delivery.identify_times == "rising":
        if max(happened_at_s, _tried_as_s(grave)) < last_update_s:
            yield "older than an update that was sent since: it would overwrite newer values"
        elif now_s - happened_at_s > TIMES_KEPT_S:
            yield "older than the hours for which updates are remembered: it may overwrite newer values"
    if "event" in effects and now_s - happened_at_s > _CAMPAIGNS_S:
        yield "more than 72 h old: it triggers no campaign"
    irreversible = {operation.body["action"] for operation in operations if operation.effect in mapping.IRREVERSIBLE}
    for action in sorted(irreversible):
        yield f"a {action} cannot be taken back"


def _tried_as_s(grave: Grave) -> float:
    """Return the latest time that a refused update of the letter had: it is remembered like one that was sent."""
    refused = [fault for fault in grave.why["faults"] if "request" in fault]
    updates = (fault["request"] for fault in refused if mapping.effect_of(fault["action"]) == "update")
    return max((float(update["timestamp"]) for update in updates), default=0.0)


def _seconds(timestamp: object, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(str(timestamp)).timestamp()
    except ValueError:
        return otherwise
