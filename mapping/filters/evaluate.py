"""Evaluate expressions of destination filters: compiled to a predicate.

    internal = parse_filter("match(traits.email, '*@example.com') or context.ip in ['10.0.0.1']")
    internal(event)                      # True or False, never an error

The semantics are those of Segment's public documentation ("Destination Filter Query Language"). Comparisons are strict.
Only numbers are less or greater. An absent value is null, and functions accept null.

The documentation leaves some cases undefined. Here `!x` is true unless x is true. `length` and the functions of case
are null for values that they do not support. The `typeof` an object is "object". A key looks into objects only. The
conversions (`bool`, `string`, `number`) are refused, because the documentation does not describe them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mapping.filters.parser import And, Call, Compare, Expression, ListOf, Literal, Not, Or, Path, parse

JsonObject = dict[str, Any]
Value = Callable[[JsonObject], Any]
Predicate = Callable[[JsonObject], bool]

_TYPES = {str: "string", bool: "bool", int: "number", float: "number", list: "list", type(None): "null"}


@dataclass(frozen=True, slots=True, eq=False)
class FilterCondition:
    """The condition of a filter: call it with an event. Pure; never raises for a JSON event."""

    source: str
    expression: Expression
    _predicate: Predicate

    def __call__(self, event: JsonObject) -> bool:
        return self._predicate(event)


def parse_filter(source: str) -> FilterCondition:
    """Return the condition of `source`. Raises FqlError with the position of the fault."""
    expression = parse(source)
    return FilterCondition(source, expression, predicate(expression))


def predicate(expression: Expression) -> Predicate:
    """Compile an expression as a predicate: every value but true counts as false."""
    match expression:
        case And(operands):
            return _all_of([predicate(operand) for operand in operands])
        case Or(operands):
            return _any_of([predicate(operand) for operand in operands])
        case Not(operand):
            negated = predicate(operand)
            return lambda event: not negated(event)
        case Compare(left, operator, right):
            return _comparison(left, operator, right)
        case _:
            evaluate = value(expression)
            return lambda event: evaluate(event) is True


def value(expression: Expression) -> Value:
    """Compile an expression as a function to its value."""
    match expression:
        case Literal(constant):
            return lambda _event: constant
        case Path(keys):
            return _path(keys)
        case ListOf(items):
            values = [value(item) for item in items]
            return lambda event: [item(event) for item in values]
        case Call("match", (text, Literal(str(pattern)))):
            return _applied(_matches(_glob(pattern)), value(text))
        case Call(function, arguments):
            return _applied(_FUNCTIONS[function], *(value(argument) for argument in arguments))
        case _:
            return predicate(expression)


def _path(keys: tuple[str, ...]) -> Value:
    if len(keys) == 1:
        return lambda event: event.get(keys[0])

    def look(event: JsonObject) -> Any:
        found: Any = event
        for key in keys:
            if type(found) is not dict:
                return None
            found = found.get(key)
        return found

    return look


def _comparison(left: Expression, operator: str, right: Expression) -> Predicate:
    a, b = value(left), value(right)
    match operator, right:
        case "=", Literal(str(text)):
            return lambda event: a(event) == text
        case "!=", Literal(str(text)):
            return lambda event: a(event) != text
        case "in", ListOf(items) if all(isinstance(item, Literal) and isinstance(item.value, str) for item in items):
            texts = frozenset(item.value for item in items if isinstance(item, Literal))
            return lambda event: type(found := a(event)) is str and found in texts
    compare = _COMPARISONS[operator]
    return lambda event: compare(a(event), b(event))


def _all_of(predicates: list[Predicate]) -> Predicate:
    def every(event: JsonObject) -> bool:
        for test in predicates:  # noqa: SIM110 - all() with a generator takes twice the time
            if not test(event):
                return False
        return True

    return every


def _any_of(predicates: list[Predicate]) -> Predicate:
    def some(event: JsonObject) -> bool:
        for test in predicates:  # noqa: SIM110
            if test(event):
                return True
        return False

    return some


def _applied(function: Callable[..., Any], *arguments: Value) -> Value:
    if len(arguments) == 1:
        (only,) = arguments
        return lambda event: function(only(event))
    first, second = arguments
    return lambda event: function(first(event), second(event))


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values have the same type and are equal, at every depth: `1` is `1.0`, `true` is not `1`."""
    pairs = [(left, right)]
    while pairs:
        a, b = pairs.pop()
        if typeof(a) != typeof(b):
            return False
        if type(a) is list:
            if len(a) != len(b):
                return False
            pairs.extend(zip(a, b, strict=True))
        elif type(a) is dict:
            if a.keys() != b.keys():
                return False
            pairs.extend((a[key], b[key]) for key in a)
        elif a != b:
            return False
    return True


def _contained(item: Any, items: Any) -> bool:
    return type(items) is list and any(same(item, other) for other in items)


def _ordered(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    return lambda a, b: typeof(a) == typeof(b) == "number" and compare(a, b)


def typeof(value: Any) -> str:
    """Return the documentation's name of the type of a JSON value; "object" for an object, which it does not name."""
    return _TYPES.get(type(value), "object")


def _length(value: Any) -> int | None:
    """Return the number of elements of a list or of UTF-8 bytes of a text; 0 of null; None for other values."""
    match value:
        case None:
            return 0
        case str():
            return len(value.encode("utf-8", "surrogatepass"))
        case list():
            return len(value)
        case _:
            return None


def _contains(text: Any, part: Any) -> bool:
    return type(text) is str and type(part) is str and part in text


def _in_text(change: Callable[[str], str]) -> Callable[[Any], str | None]:
    return lambda text: change(text) if type(text) is str else None


def _match(text: Any, pattern: Any) -> bool:
    return type(pattern) is str and _matches(_glob(pattern))(text)


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda text: type(text) is str and pattern.fullmatch(text) is not None


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": same,
    "!=": lambda a, b: not same(a, b),
    "<": _ordered(lambda a, b: a < b),
    "<=": _ordered(lambda a, b: a <= b),
    ">": _ordered(lambda a, b: a > b),
    ">=": _ordered(lambda a, b: a >= b),
    "in": _contained,
}

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contains": _contains,
    "match": _match,
    "length": _length,
    "typeof": typeof,
    "lowercase": _in_text(str.lower),
    "uppercase": _in_text(str.upper),
    "snakecase": _in_text(lambda text: text.replace(" ", "_")),
    "kebabcase": _in_text(lambda text: text.replace(" ", "-")),
    "titlecase": _in_text(str.title),
}

_GLOB = re.compile(r"\*+|\?|\[(?P<set>[^\]]+)\]|\\(?P<literal>.)|.", re.DOTALL)


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    r"""Return the regular expression of a glob: `*` any text, `?` a character, `[a-z]` one of a set, `\x` x itself.

    The pieces between two `*` are atomic groups: each matches at its first occurrence, without backtracking. A match
    takes at most the length of the pattern times the length of the text.
    """
    pieces = [""]
    for token in _GLOB.finditer(pattern):
        match token.group()[0]:
            case "*":
                pieces.append("")
            case "?":
                pieces[-1] += "."
            case "[" if token["set"]:
                pieces[-1] += _set(token["set"])
            case _:
                pieces[-1] += re.escape(token["literal"] or token.group())
    first, *middle = pieces
    if not middle:
        return re.compile(first, re.DOTALL)
    *middle, last = middle
    return re.compile(first + "".join(f"(?>.*?{piece})" for piece in middle) + ".*" + last, re.DOTALL)


def _set(characters: str) -> str:
    """Return the regular expression of `[…]`: characters and ranges; no other character is special."""
    found = re.findall(r"(.)-(.)|(.)", characters, re.DOTALL)
    parts = [
        f"{re.escape(low)}-{re.escape(high)}" if low else re.escape(single)
        for low, high, single in found
        if single or low <= high
    ]
    return f"[{''.join(parts)}]" if parts else "(?!)"
