"""The conditions a trigger is made of: values that compile to a predicate, print as FQL and convert to the
reference's AST.

A predicate is a closure made for its operator and path, because it runs for every event. The operators are a table:
a name to the function that makes a test from the expected value, as `destination-subscriptions` 3.37.0 evaluates them.
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

# The reference's type of a condition: the field of the event it looks at. Those of `ROOTS` look below it.
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field compared with one value: `properties.total > 5`.

    `type` is one of FIELDS, `name` the path below it for those of ROOTS, `operator` one of OPERATORS; with any
    other type or operator it is never true. `value` is UNDEFINED for the operators that need none.
    """

    type: str
    operator: str
    name: str | None = None
    value: Any = javascript.UNDEFINED

    def predicate(self) -> Predicate:
        """Return the function that tells whether an event meets this condition. It raises FqlError if `can_fail`."""
        if self.can_fail:
            return _failing(f"{self.name!r} is no path", "Cannot read properties of null (reading 'reduce')")
        if self.type not in FIELDS or self.operator not in OPERATORS:
            return _constant(False)
        look, test = self.lookup(), OPERATORS[self.operator](self.value)
        return lambda event: test(look(event))

    def lookup(self) -> Lookup:
        """Return the function that takes an event to the value which is compared."""
        if self.type in ROOTS and not self.name:
            return lambda _event: None
        return lookup(FIELDS[self.type], self._keys())

    @property
    def can_fail(self) -> bool:
        """Whether evaluating raises FqlError: the path consists of separators only (`properties.\\.`)."""
        return self.type in ROOTS and bool(self.name) and not self._keys()

    def only(self, type: str) -> frozenset[str] | None:
        """Return the only values which the field of that condition type can have when this is true; None is any."""
        if self.can_fail:
            return None
        if self.type not in FIELDS or self.operator not in OPERATORS:
            return frozenset()
        if self.type == type and self.operator == "=":
            return frozenset({javascript.text(self.value)})
        return None

    def to_ast(self) -> Ast:
        """Return the reference's AST node; a value that is not finite is null, as JSON has it."""
        ast: Ast = {"type": self.type, "operator": self.operator}
        if self.name is not None:
            ast["name"] = self.name
        if self.value is not javascript.UNDEFINED:
            infinite = isinstance(self.value, float) and not math.isfinite(self.value)
            ast["value"] = None if infinite else self.value
        return ast

    def to_fql(self) -> str:
        """Return FQL for this condition as the reference prints it: neither quotes nor backslashes are escaped."""
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
    """Where the reference has *undefined*: the group `()`. To evaluate or print it is an error."""

    can_fail = True

    def predicate(self) -> Predicate:
        return _failing("a group in parentheses is empty", NOTHING_THERE)

    def only(self, type: str) -> frozenset[str] | None:  # noqa: ARG002
        return None

    def to_ast(self) -> None:
        return None

    def to_fql(self) -> str:
        raise FqlError("a group in parentheses is empty", "", 0)


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions joined by one operator: `and`, `or`; with any other it is never true. `and` of nothing is true."""

    operator: str
    children: tuple[Condition, ...]

    def predicate(self) -> Predicate:
        """Return the function that tells whether an event meets this condition; it stops at the first answer."""
        if self.operator not in ("and", "or"):
            return _constant(False)
        tests = self._tests()
        if len(tests) == 1:
            return tests[0]
        return _all_of(tests) if self.operator == "and" else _any_of(tests)

    def _tests(self) -> tuple[Predicate, ...]:
        """Return the children's predicates; those of `a != "x" and a != "y"`, or of `a = "x" or a = "y"`, are one."""
        if self.can_fail:  # then it shows in which order they are asked
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
        """Return the only values of `type` of the events for which this can be true (or fail); None is any."""
        return self.only("event-type")

    def events(self) -> frozenset[str] | None:
        """Return the only values of `event` of the events for which this can be true (or fail); None is any."""
        return self.only("event")

    def only(self, type: str) -> frozenset[str] | None:
        """Return the only values which the field of that condition type can have when this is true; None is any."""
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
            if child.can_fail:  # it fails before what stands behind it is asked
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
        """Return the reference's AST; an empty group in it is null."""
        return {"type": "group", "operator": self.operator, "children": [child.to_ast() for child in self.children]}

    def to_fql(self) -> str:
        """Return FQL as the reference prints it: one outer pair of parentheses goes when there is no other."""
        fql = self._printed()
        if fql.startswith("(") and fql.endswith(")") and fql.count("(") + fql.count(")") == 2:
            return fql[1:-1]
        return fql

    def _printed(self) -> str:
        parts = [f"({child._printed()})" if isinstance(child, Group) else child.to_fql() for child in self.children]
        return f" {self.operator} ".join(parts)


Condition = Comparison | Missing | Group


def from_ast(ast: Ast) -> Group:
    """Return the condition of the reference's AST, whose root is a group. Raises FqlError when it has another shape."""
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
    """Return one predicate for one condition, or for several that compare the same field with texts by one operator."""
    first = children[0]
    if len(children) == 1 or not isinstance(first, Comparison) or first.type not in FIELDS:
        return first.predicate()
    look = first.lookup()
    texts = frozenset(javascript.text(child.value) for child in children if isinstance(child, Comparison))
    if first.operator == "=":
        return lambda event: type(value := look(event)) is str and value in texts
    return lambda event: type(value := look(event)) is not str or value not in texts


def _constant(answer: bool) -> Predicate:
    return lambda _event: answer


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
