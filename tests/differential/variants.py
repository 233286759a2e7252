"""Variants of recorded cases: a vector with one to three values changed, removed or copied from another vector.

They test every kind of recorded case with values that were not recorded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.conformance.suite import read

Json = dict[str, Any]
Slot = tuple[Any, Any]  # a list or an object, and an index or a key of it

VECTORS = Path(__file__).parents[1] / "conformance" / "vectors"
FILES = ("actions", "fql", "mapping", "sequences")

# Members of a vector that are not input.
_NOT_INPUT = frozenset({"id", "group", "note", "expected", "clock_dependent", "engine_date", "library_dependent"})
# Parts of a case in which values are changed, besides lists of such parts; `responses` are only copied as a whole.
_PARTS = ("event", "settings", "mapping", "fql")
_PIECES = (
    "(", ")", " ", "and", "or", "!", "=", "!=", "<", ">=", ".", ",", '"', "'", "\\", "*", "contains(", "match(", "null",
    "true", "5", "-1.5", "type", "event", "properties.", "context.", "traits.", "userId", "x", "{{", "}}", "$.", "[0]",
    "|", "@", "\u00a0", "é", "🎉", "2024-03-05", "\n",
)  # fmt: skip


class Variants:
    """Variants of the recorded cases; `random` makes all choices."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._recorded: dict[str, dict[str, list[Json]]] = {}  # by file and group
        self._scalars: dict[str, list[Any]] = {}  # all scalars in the inputs of a file
        for file in FILES:
            groups: dict[str, list[Json]] = {}
            for vector in read(VECTORS / f"{file}.jsonl"):
                if "javascript_only" not in vector:
                    case = {name: value for name, value in vector.items() if name not in _NOT_INPUT}
                    groups.setdefault(vector["group"], []).append(case)
            self._recorded[file] = groups
            self._scalars[file] = list(_scalars([case for group in groups.values() for case in group]))

    def case(self) -> Json:
        """Return a variant; all groups of a file are equally likely."""
        file = self.random.choices(FILES, weights=(10, 6, 6, 1))[0]
        group = self.random.choice(list(self._recorded[file].values()))
        case = copy.deepcopy(self.random.choice(group))
        for _ in range(self.random.randint(1, 3)):
            self._change(case, file, group)
        return case

    def _change(self, case: Json, file: str, group: list[Json]) -> None:
        if self.random.random() < 0.15:
            return self._copy_part(case, self.random.choice(group))
        slots = list(_changeable(case))
        if not slots:
            return None
        container, key = self.random.choice(slots)
        shape = self.random.random()
        if container is case or (isinstance(container[key], str) and shape < 0.5):
            container[key] = self._edited(container[key])
        elif shape < 0.85:
            container[key] = self._another(container[key], file)
        else:
            del container[key]
        return None

    def _copy_part(self, case: Json, other: Json) -> None:
        """Copy a whole part from a case of the same group."""
        part = self.random.choice(sorted(case.keys() & other.keys() - {"mode"}))
        case[part] = copy.deepcopy(other[part])

    def _edited(self, text: str) -> str:
        first = self.random.randint(0, len(text))
        last = self.random.randint(first, min(len(text), first + 3))
        return text[:first] + self.random.choice((*_PIECES, "")) + text[last:]

    def _another(self, value: Any, file: str) -> Any:
        scalar = self.random.choice(self._scalars[file])
        return self.random.choice((scalar, scalar, scalar, [scalar], {"a": scalar}, [value], [], {}, None))


def _changeable(case: Json) -> Iterator[Slot]:
    """Yield every slot whose value may change: an event stays an object, a list of subscriptions a list."""
    for part in _PARTS:
        if isinstance(case.get(part), str):
            yield case, part
        else:
            yield from _below(case.get(part))
    for event in case.get("events", ()):
        yield from _below(event)
    for subscription in case.get("subscriptions", ()):
        if "subscribe" in subscription:
            yield subscription, "subscribe"
        yield from _below(subscription.get("mapping"))
    for comparison in _comparisons(case.get("ast")):
        if "value" in comparison:
            yield comparison, "value"


def _below(value: Any) -> Iterator[Slot]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _below(value[key])


def _comparisons(ast: Any) -> Iterator[Json]:
    if isinstance(ast, dict):
        if "children" not in ast:
            yield ast
        else:
            for child in ast["children"]:
                yield from _comparisons(child)


def _scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _scalars(member)
    else:
        yield value
