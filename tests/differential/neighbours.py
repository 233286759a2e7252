"""Cases beside the recorded ones: a vector of which a few things are changed, taken away or borrowed from another.

So every kind of case that was ever recorded is asked about again, with values that were not.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.conformance.suite import read

Json = dict[str, Any]
Place = tuple[Any, Any]  # a list or an object, and an index or a key of it

VECTORS = Path(__file__).parents[1] / "conformance" / "vectors"
FILES = ("actions", "fql", "mapping", "sequences")

# Not part of the question.
_ANSWERS = frozenset({"id", "group", "note", "expected", "clock_dependent", "engine_date", "library_dependent"})
# Parts of a case in which something is changed, besides lists of such parts; a script of answers is only borrowed.
_PARTS = ("event", "settings", "mapping", "fql")
_PIECES = (
    "(", ")", " ", "and", "or", "!", "=", "!=", "<", ">=", ".", ",", '"', "'", "\\", "*", "contains(", "match(", "null",
    "true", "5", "-1.5", "type", "event", "properties.", "context.", "traits.", "userId", "x", "{{", "}}", "$.", "[0]",
    "|", "@", "\u00a0", "é", "🎉", "2024-03-05", "\n",
)  # fmt: skip


class Neighbours:
    """Neighbours of the recorded cases; every choice comes from the given source."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._recorded: dict[str, dict[str, list[Json]]] = {}  # by file and group
        self._scalars: dict[str, list[Any]] = {}  # everything said anywhere in the questions of a file
        for file in FILES:
            groups: dict[str, list[Json]] = {}
            for vector in read(VECTORS / f"{file}.jsonl"):
                if "javascript_only" not in vector:
                    question = {name: value for name, value in vector.items() if name not in _ANSWERS}
                    groups.setdefault(vector["group"], []).append(question)
            self._recorded[file] = groups
            questions = [question for group in groups.values() for question in group]
            self._scalars[file] = list(_scalars(questions))

    def case(self) -> Json:
        """Return a neighbour; each group of each file is as likely as any other of its file."""
        file = self.random.choices(FILES, weights=(10, 6, 6, 1))[0]
        group = self.random.choice(list(self._recorded[file].values()))
        case = copy.deepcopy(self.random.choice(group))
        for _ in range(self.random.randint(1, 3)):
            self._change(case, file, group)
        return case

    def _change(self, case: Json, file: str, group: list[Json]) -> None:
        if self.random.random() < 0.15:
            return self._borrow(case, self.random.choice(group))
        places = list(_changeable(case))
        if not places:
            return None
        holder, at = self.random.choice(places)
        shape = self.random.random()
        if holder is case or (isinstance(holder[at], str) and shape < 0.5):
            holder[at] = self._respelled(holder[at])
        elif shape < 0.85:
            holder[at] = self._another(holder[at], file)
        else:
            del holder[at]
        return None

    def _borrow(self, case: Json, other: Json) -> None:
        """Take a whole part of a case of the same group."""
        part = self.random.choice(sorted(case.keys() & other.keys() - {"mode"}))
        case[part] = copy.deepcopy(other[part])

    def _respelled(self, text: str) -> str:
        first = self.random.randint(0, len(text))
        last = self.random.randint(first, min(len(text), first + 3))
        return text[:first] + self.random.choice((*_PIECES, "")) + text[last:]

    def _another(self, value: Any, file: str) -> Any:
        scalar = self.random.choice(self._scalars[file])
        return self.random.choice((scalar, scalar, scalar, [scalar], {"a": scalar}, [value], [], {}, None))


def _changeable(case: Json) -> Iterator[Place]:
    """Yield every place whose value may be another: an event stays an object, a list of subscriptions a list."""
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


def _below(value: Any) -> Iterator[Place]:
    for at in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, at
        yield from _below(value[at])


def _comparisons(ast: Any) -> Iterator[Json]:
    if isinstance(ast, dict):
        yield from [ast] if "children" not in ast else (one for child in ast["children"] for one in _comparisons(child))


def _scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _scalars(member)
    else:
        yield value
