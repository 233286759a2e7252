"""The conditions of a trigger: they compile to a predicate, print as FQL and convert to the AST of the reference.

A predicate is a function for one operator and one path, because it runs for every event. OPERATORS has a function for
each operator; it makes the test for an expected value. The semantics are those of `destination-subscriptions` 3.37.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mapping import javascript
from mapping.fql.errors import NOTHING_THERE, FqlError
from mapping.fql.lookup import Lookup, keys_of, lookup

Ast = dict[str, Any]
Predicate = Callable[[dict[str, Any]], bool]
Test = Callable[[Any], bool]

# The reference's type of a condition to the field of the event that it tests. Those in ROOTS test a path below it.
FIELDS = {
    "event-type": "type",
    "event": "event",
    "name": "name",
    "userId": "userId",
    "event-property": "properties",
    "event-trait": "traits",
    "event-context": "context",
}
ROOTS = frozenset({"event-property", "event-trait", "event-context"})
# A condition type, and a text with which the field of that type is compared.
ComparedText = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with a value: `properties.total > 5`.

    `type` is a key of FIELDS, `name` the path below the field for those in ROOTS, `operator` a key of OPERATORS. With
    another type or operator the condition is never true. `value` is UNDEFINED for operators without one.
    """

    type: str
    operator: str
    name: str | None = None
    value: Any = javascript.UNDEFINED

    def predicate(self) -> Predicate:
        """Return the function that tests whether an event meets the condition. It raises FqlError if `can_fail`."""
        if self.can_fail:
            return _failing(f"{self.name!r} is not a path", "Cannot read properties of null (reading 'reduce')")
        if self.type not in FIELDS or self.operator not in OPERATORS:
            return _constant(False)
        look, test = self.lookup(), OPERATORS[self.operator](self.value)
        return lambda event: test(look(event))

    def lookup(self) -> Lookup:
        """Return the function from an event to the value that is compared."""
        if self.type in ROOTS and not self.name:
            return lambda _event: None
        return lookup(FIELDS[self.type], self._keys())

    @property
    def can_fail(self) -> bool:
        """Whether evaluating raises FqlError: the path consists of separators only (`properties.\\.`)."""
        return self.type in ROOTS and bool(self.name) and not self._keys()

    def only(self, type: str) -> frozenset[str] | None:
        """Return the only values that the field of that condition type has in a matching event; None is any value."""
        if self.can_fail:
            return None
        if self.type not in FIELDS or self.operator not in OPERATORS:
            return frozenset()
        if self.type == type and self.operator == "=":
            return frozenset({javascript.text(self.value)})
        return None

    def compared(self) -> frozenset[ComparedText] | None:
        """Return the texts with which the type and the name of an event are compared; None when anything else decides
        whether it matches."""
        if self.type in ("event-type", "event") and self.operator in ("=", "!="):
            return frozenset({(self.type, javascript.text(self.value))})
        return None

    def to_ast(self) -> Ast:
        """Return the AST node of the reference: `{"type", "operator", "name"?, "value"?}`. Infinite values are null."""
        ast: Ast = {"type": self.type, "operator": self.operator}
        if self.name is not None:
            ast["name"] = self.name
        if self.value is not javascript.UNDEFINED:
            infinite = isinstance(self.value, float) and not math.isfinite(self.value)
            ast["value"] = None if infinite else self.value
        return ast

    def to_fql(self) -> str:
        """Return the FQL as the reference prints it, without escapes. Raises FqlError for an unknown type."""
        if self.type not in FIELDS:
            raise FqlError(f"no condition has the type {self.type!r}", "", 0, "Unknown condition type")
        field = FIELDS[self.type]
        if self.type in ROOTS:
            field += "." + re.sub(r"[^a-zA-Z0-9._-]", r"\\\g<0>", "undefined" if self.name is None else self.name)
        text, number = javascript.text(self.value), javascript.text(javascript.number_of(self.value))
        plain = text if isinstance(self.value, bool | int | float) else f'"{text}"'
        return _PRINTED.get(self.operator, "{field} {operator} {plain}").format(
            field=field, operator=self.operator, text=text, number=number, plain=plain
        )

    def _keys(self) -> tuple[str, ...]:
        return keys_of(self.name or "") if self.type in ROOTS else ()


@dataclass(frozen=True, slots=True)
class Missing:
    """The empty group `()`, which is *undefined* in the reference. Evaluating or printing it is an error."""

    can_fail = True

    def predicate(self) -> Predicate:
        """Return a function that raises FqlError."""
        return _failing("a group in parentheses is empty", NOTHING_THERE)

    def only(self, type: str) -> frozenset[str] | None:  # noqa: ARG002
        """Return None: any value."""
        return None

    def compared(self) -> None:
        """Return None: it fails for every event."""

    def to_ast(self) -> None:
        """Return None, the AST of *undefined*."""

    def to_fql(self) -> str:
        """Raise FqlError."""
        raise FqlError("a group in parentheses is empty", "", 0)


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions joined by `and` or `or`; with another operator never true. `and` without conditions is true."""

    operator: str
    children: tuple[Condition, ...]

    def predicate(self) -> Predicate:
        """Return the function that tests whether an event meets the condition; it stops as soon as that is decided."""
        if self.operator not in ("and", "or"):
            return _constant(False)
        tests = self._tests()
        if len(tests) == 1:
            return tests[0]
        return _all_of(tests) if self.operator == "and" else _any_of(tests)

    def _tests(self) -> tuple[Predicate, ...]:
        """Return the predicates of the children; `a != "x" and a != "y"` and `a = "x" or a = "y"` are merged."""
        if self.can_fail:  # the order of evaluation decides whether it fails
            return tuple(child.predicate() for child in self.children)
        alike: dict[object, list[Condition]] = {}
        for index, child in enumerate(self.children):
            if isinstance(child, Comparison) and child.operator == ("!=" if self.operator == "and" else "="):
                alike.setdefault((child.type, child.name), []).append(child)
            else:
                alike[index] = [child]
        return tuple(_merged(children) for children in alike.values())

    @property
    def can_fail(self) -> bool:
        """Whether evaluating some event raises FqlError."""
        return self.operator in ("and", "or") and any(child.can_fail for child in self.children)

    def types(self) -> frozenset[str] | None:
        """Return the only values of `type` in events for which this is true or fails; None is any value."""
        return self.only("event-type")

    def events(self) -> frozenset[str] | None:
        """Return the only values of `event` in events for which this is true or fails; None is any value."""
        return self.only("event")

    def compared(self) -> frozenset[ComparedText] | None:
        """Return the texts with which the type and the name of an event are compared; None when anything else decides
        whether it matches."""
        found: frozenset[ComparedText] = frozenset()
        for child in self.children:
            texts = child.compared()
            if texts is None:
                return None
            found |= texts
        return found if self.operator in ("and", "or") else None

    def only(self, type: str) -> frozenset[str] | None:
        """Return the only values that the field of that condition type has in a matching event; None is any value."""
        if self.operator == "and":
            return self._only_of_all(type)
        if self.operator == "or":
            return self._only_of_any(type)
        return frozenset()

    def _only_of_all(self, type: str) -> frozenset[str] | None:
        common = None
        for child in self.children:
            values = child.only(type)
            if values is not None:
                common = values if common is None else common & values
            if child.can_fail:  # it fails before the next conditions are evaluated
                break
        return common

    def _only_of_any(self, type: str) -> frozenset[str] | None:
        union: frozenset[str] = frozenset()
        for child in self.children:
            values = child.only(type)
            if values is None:
                return None
            union |= values
        return union

    def to_ast(self) -> Ast:
        """Return the AST of the reference: `{"type": "group", "operator", "children"}`. Empty groups are null."""
        return {"type": "group", "operator": self.operator, "children": [child.to_ast() for child in self.children]}

    def to_fql(self) -> str:
        """Return the FQL as the reference prints it: an outer pair of parentheses is removed if it is the only one."""
        fql = self._printed()
        if fql.startswith("(") and fql.endswith(")") and fql.count("(") + fql.count(")") == 2:
            return fql[1:-1]
        return fql

    def _printed(self) -> str:
        parts = [f"({child._printed()})" if isinstance(child, Group) else child.to_fql() for child in self.children]
        return f" {self.operator} ".join(parts)


Condition = Comparison | Missing | Group


def from_ast(ast: Ast) -> Group:
    """Return the condition of an AST of the reference, whose root is a group. Raises FqlError for any other shape."""
    condition = _from_ast(ast)
    if not isinstance(condition, Group):
        raise FqlError("the root of an AST is a group", "", 0)
    return condition


def _from_ast(ast: Any) -> Condition:
    match ast:
        case None:
            return Missing()
        case {"type": "group", "operator": str(operator), "children": list(children)}:
            return Group(operator, tuple(_from_ast(child) for child in children))
        case {"type": str(type), "operator": str(operator)} if isinstance(ast.get("name", ""), str):
            return Comparison(type, operator, ast.get("name"), ast.get("value", javascript.UNDEFINED))
        case _:
            raise FqlError(f"no condition has this shape: {ast!r}", "", 0)


def _is_number(actual: Any) -> bool:
    return type(actual) is int or type(actual) is float


def _equals(expected: Any) -> Test:
    text = javascript.text(expected)
    return lambda actual: actual == text


def _differs(expected: Any) -> Test:
    text = javascript.text(expected)
    return lambda actual: actual != text


def _number(compare: Callable[[float, float], bool]) -> Callable[[Any], Test]:
    def make(expected: Any) -> Test:
        number = javascript.number_of(expected)
        return lambda actual: _is_number(actual) and compare(actual, number)

    return make


def _text(wanted: bool, compare: Callable[[str, str], bool]) -> Callable[[Any], Test]:
    def make(expected: Any) -> Test:
        text = javascript.text(expected)
        return lambda actual: type(actual) is str and compare(actual, text) is wanted

    return make


def _is(wanted: Test) -> Callable[[Any], Test]:
    return lambda _expected: wanted


OPERATORS: Mapping[str, Callable[[Any], Test]] = {
    "=": _equals,
    "!=": _differs,
    "number_equals": _number(lambda a, b: a == b),
    "number_not_equals": _number(lambda a, b: a != b),
    "<": _number(lambda a, b: a < b),
    "<=": _number(lambda a, b: a <= b),
    ">": _number(lambda a, b: a > b),
    ">=": _number(lambda a, b: a >= b),
    "contains": _text(True, lambda a, b: b in a),
    "not_contains": _text(False, lambda a, b: b in a),
    "starts_with": _text(True, str.startswith),
    "not_starts_with": _text(False, str.startswith),
    "ends_with": _text(True, str.endswith),
    "not_ends_with": _text(False, str.endswith),
    "exists": _is(lambda actual: actual is not None),
    "not_exists": _is(lambda actual: actual is None),
    "is_true": _is(lambda actual: actual is True),
    "is_false": _is(lambda actual: actual is False),
}

_PRINTED = {
    "contains": "contains({field}, {plain})",
    "not_contains": "!contains({field}, {plain})",
    "exists": "{field} != null",
    "not_exists": "{field} = null",
    "is_true": "{field} = true",
    "is_false": "{field} = false",
    "starts_with": 'match({field}, "{text}*")',
    "not_starts_with": '!match({field}, "{text}*")',
    "ends_with": 'match({field}, "*{text}")',
    "not_ends_with": '!match({field}, "*{text}")',
    "<": "{field} < {number}",
    "<=": "{field} <= {number}",
    ">": "{field} > {number}",
    ">=": "{field} >= {number}",
    "number_equals": "{field} = {number}",
    "number_not_equals": "{field} != {number}",
}


def _merged(children: Sequence[Condition]) -> Predicate:
    """Return a predicate for a condition, or for several that compare the same field with texts by one operator."""
    first = children[0]
    if len(children) == 1 or not isinstance(first, Comparison) or first.type not in FIELDS:
        return first.predicate()
    look = first.lookup()
    texts = frozenset(javascript.text(child.value) for child in children if isinstance(child, Comparison))
    if first.operator == "=":
        return lambda event: type(value := look(event)) is str and value in texts
    return lambda event: type(value := look(event)) is not str or value not in texts


def _constant(result: bool) -> Predicate:
    return lambda _event: result


def _failing(reason: str, message: str) -> Predicate:
    def fail(_event: dict[str, Any]) -> bool:
        raise FqlError(reason, "", 0, message)

    return fail


def _all_of(tests: tuple[Predicate, ...]) -> Predicate:
    def every(event: dict[str, Any]) -> bool:
        for test in tests:  # noqa: SIM110 - all() with a generator takes twice the time
            if not test(event):
                return False
        return True

    return every


def _any_of(tests: tuple[Predicate, ...]) -> Predicate:
    def some(event: dict[str, Any]) -> bool:
        for test in tests:  # noqa: SIM110
            if test(event):
                return True
        return False

    return some
