"""What two configurations make of many events: counted, and grouped with examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

import mapping
from console.diff.comparison import KINDS, Comparison, Difference, Kind
from console.output import counted
from mapping.envelope import JsonObject, encoded

_MOST_EXAMPLES = 3
_WORDS = {
    "changed": "changed",
    "newly_sent": "newly sent",
    "no_longer_sent": "no longer sent",
    "newly_refused": "newly refused by the mapping",
}


@dataclass(slots=True)
class Group:
    """Equal differences: of one kind and subscription, in the same fields, for the same reason."""

    kind: Kind
    subscription: str
    fields: tuple[str, ...]
    reason: str | None
    count: int = 0
    examples: list[JsonObject] = field(default_factory=list)  # message_id, and changes with field, before and after

    def add(self, event: Any, difference: Difference) -> None:
        """Count a difference; keep it as an example while there are few."""
        self.count += 1
        if len(self.examples) < _MOST_EXAMPLES:
            message_id = event.get("messageId") if isinstance(event, dict) else None
            changes = [change._asdict() for change in difference.changes]
            self.examples.append({"message_id": message_id, "changes": changes})

    def json(self) -> JsonObject:
        """Return `{"kind", "subscription", "fields", "reason", "count", "examples"}`."""
        return {
            "kind": self.kind,
            "subscription": self.subscription,
            "fields": self.fields,
            "reason": self.reason,
            "count": self.count,
            "examples": self.examples,
        }


@dataclass(slots=True)
class Report:
    """The result for one destination."""

    destination: str
    events: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    groups: dict[tuple[Any, ...], Group] = field(default_factory=dict)

    def json(self) -> JsonObject:
        """Return `{"destination", "events", "requests": {"unchanged", "changed", "newly_sent", "no_longer_sent",
        "newly_refused", "refused_as_before"}, "differences": [{"kind", "subscription", "fields", "reason", "count",
        "examples"}]}`."""
        kinds: tuple[Kind, ...] = ("unchanged", *KINDS, "refused_as_before")
        return {
            "destination": self.destination,
            "events": self.events,
            "requests": {kind: self.counts[kind] for kind in kinds},
            "differences": [group.json() for group in self._sorted()],
        }

    def render(self) -> Iterator[Text]:
        """Yield the lines for people."""
        unchanged = f"{counted(self.counts['unchanged'], 'request')} unchanged"
        yield Text.assemble((self.destination, "bold"), f": {counted(self.events, 'event')}, {unchanged}")
        for group in self._sorted():
            head = f"  {_WORDS[group.kind]}: {counted(group.count, 'request')} of {group.subscription}"
            yield Text(head + (f": {group.reason}" if group.reason else ""), style="yellow")
            for change in group.examples[0]["changes"]:
                before, after = (encoded(change[side]).decode() for side in ("before", "after"))
                yield Text(f"    {change['field']}: {before} → {after}")
            ids = [str(example["message_id"]) for example in group.examples if example["message_id"]]
            if ids:
                yield Text(f"    message ids: {', '.join(ids)}", style="dim")

    def _sorted(self) -> list[Group]:
        return sorted(self.groups.values(), key=lambda group: (KINDS.index(group.kind), -group.count))


def report(old: mapping.Destination, new: mapping.Destination, events: Iterable[Any], now_s: float) -> Report:
    """Return what `new` makes of the events in place of `old`."""
    comparison, result = Comparison(old, new), Report(new.name)
    for event in events:
        result.events += 1
        for difference in comparison.of(event, now_s):
            result.counts[difference.kind] += 1
            if difference.kind in KINDS:
                fields = tuple(change.field for change in difference.changes)
                key = difference.kind, difference.subscription, fields, difference.reason
                result.groups.setdefault(key, Group(*key)).add(event, difference)
    return result
