"""Where two destinations did other things for the same events: operation by operation, field by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from dead_letters.changes import Change, changes
from mapping.envelope import JsonObject

Kind = Literal["equal", "changed", "only_ours", "only_theirs"]
KINDS: Final[tuple[Kind, ...]] = ("changed", "only_ours", "only_theirs")
Operations = Mapping[str, list[JsonObject]]  # by message id
_MOST_EXAMPLES = 3


class Difference(NamedTuple):
    """What became of one operation: `what` names it, such as `person identify` or `person event Order Placed`.

    The name of a page is often its address, so it is no part of `what`: one difference of all pages is one group.
    """

    kind: Kind
    what: str
    changes: tuple[Change, ...] = ()


@dataclass(slots=True)
class Group:
    """Equal differences: of one kind of operation, in the same fields."""

    kind: Kind
    what: str
    fields: tuple[str, ...]
    count: int = 0
    examples: list[JsonObject] = field(default_factory=list)

    def add(self, message_id: str, difference: Difference) -> None:
        """Count a difference; keep it as an example while there are few."""
        self.count += 1
        if len(self.examples) < _MOST_EXAMPLES:
            found = [change._asdict() for change in difference.changes]
            self.examples.append({"message_id": message_id, "changes": found})


@dataclass(slots=True)
class Differences:
    """The result for many events."""

    events: int = 0  # with operations on both sides, or on one of them
    counts: Counter[Kind] = field(default_factory=Counter)
    groups: dict[tuple[Any, ...], Group] = field(default_factory=dict)

    def json(self) -> JsonObject:
        """Return `{"events", "operations": {"equal", "changed", "only_ours", "only_theirs"}, "differences": [{"kind",
        "what", "fields", "count", "examples": [{"message_id", "changes": [{"field", "before", "after"}]}]}]}`.

        `before` is theirs, `after` ours.
        """
        return {
            "events": self.events,
            "operations": {kind: self.counts[kind] for kind in ("equal", *KINDS)},
            "differences": [
                {name: getattr(group, name) for name in Group.__slots__}
                for group in sorted(self.groups.values(), key=lambda group: (KINDS.index(group.kind), -group.count))
            ],
        }


def compared(ours: Operations, theirs: Operations) -> Differences:
    """Return the differences of the events that either side has."""
    result = Differences()
    for message_id in dict.fromkeys([*ours, *theirs]):
        result.events += 1
        for difference in _of_event(ours.get(message_id, []), theirs.get(message_id, [])):
            result.counts[difference.kind] += 1
            if difference.kind != "equal":
                fields = tuple(change.field for change in difference.changes)
                key = difference.kind, difference.what, fields
                result.groups.setdefault(key, Group(*key)).add(message_id, difference)
    return result


def without_repetitions(theirs: Operations, ours: Operations) -> tuple[Operations, int]:
    """Return their operations without those that repeat another one of the same event, and the number of the others.

    A destination repeats a request after a failure. An operation that we make several times stays as often.
    """
    result, repeated = {}, 0
    for message_id, operations in theirs.items():
        own = [_comparable(operation) for operation in ours.get(message_id, [])]
        kept: list[JsonObject] = []
        for operation in map(_comparable, operations):
            if kept.count(operation) < max(1, own.count(operation)):
                kept.append(operation)
        result[message_id] = kept
        repeated += len(operations) - len(kept)
    return result, repeated


def _of_event(ours: Iterable[JsonObject], theirs: Iterable[JsonObject]) -> Iterator[Difference]:
    """Yield what became of each operation of an event. Operations of one kind and name are compared."""
    left = [_comparable(operation) for operation in theirs]
    others = []
    for operation in map(_comparable, ours):
        if operation in left:
            left.remove(operation)
            yield Difference("equal", _what(operation))
        else:
            others.append(operation)
    for operation in others:
        same = next((each for each in left if _what(each) == _what(operation)), None)
        if same is None:
            yield Difference("only_ours", _what(operation))
        else:
            left.remove(same)
            yield Difference("changed", _what(operation), tuple(changes(same, operation)))
    yield from (Difference("only_theirs", _what(operation)) for operation in left)


def _comparable(operation: JsonObject) -> JsonObject:
    """Return the operation without what differs each time: the id of an event, and the time of an update."""
    skipped = {"id", "timestamp"} if operation.get("action") == "identify" else {"id"}
    return {name: value for name, value in operation.items() if name not in skipped}


def _what(operation: JsonObject) -> str:
    names = ("type", "action", "name") if operation.get("action") == "event" else ("type", "action")
    return " ".join(str(operation[name]) for name in names if operation.get(name)) or "metric of a delivery"
