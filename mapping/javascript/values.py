"""Rules of JavaScript that are visible in the results of the reference, for values parsed from JSON.

A value is None, bool, int, float, str, list or dict; UNDEFINED stands for an absent value. Section numbers are those of
ECMA-262.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

# 12.2 White Space and 12.3 Line Terminators: the characters that trim() removes and \s matches.
WHITE_SPACE: Final = "".join(
    map(
        chr, (*range(9, 14), 0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF)
    )
)

_LARGEST_EXACT_INTEGER = 2**53
_ARRAY_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_NUMERIC_TEXT = re.compile(r"[+-]?(?:Infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\Z")
_RADIX_TEXT = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)\Z")
_RADIX = {"x": 16, "o": 8, "b": 2}


class _Undefined:
    """The class of UNDEFINED, its only instance; false, as in JavaScript."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNDEFINED"

    def __copy__(self) -> _Undefined:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _Undefined:
        return self


UNDEFINED: Final = _Undefined()


def truthy(value: Any) -> bool:
    """Return 7.1.2 ToBoolean: empty objects and lists are true, NaN is false."""
    if type(value) is dict or type(value) is list:
        return True
    return bool(value) and value == value


def type_name(value: Any) -> str:
    """Return the name that `Object.prototype.toString` gives a value, in lower case: "null", "array", "object" …"""
    if value is None:
        return "null"
    if value is UNDEFINED:
        return "undefined"
    return {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}.get(type(value), "object")


def article(noun: str) -> str:
    """Return the indefinite article of a noun."""
    return "an" if noun[:1] in ("a", "e", "i", "o", "u") else "a"


def to_float(number: int | float) -> float:
    """Return the double of a number as in JSON.parse: infinite if it is too large."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def number_text(number: int | float) -> str:
    """Return 6.1.6.1.20 Number::toString, radix 10: `1e21` is "1e+21", `1.0` is "1"."""
    if isinstance(number, int) and -_LARGEST_EXACT_INTEGER <= number <= _LARGEST_EXACT_INTEGER:
        return str(number)
    double = to_float(number)
    if double != double:
        return "NaN"
    if math.isinf(double):
        return "Infinity" if double > 0 else "-Infinity"
    if double == 0:
        return "0"
    sign = "-" if double < 0 else ""
    mantissa, _, exponent = repr(abs(double)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = point - 1
    tail = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if power >= 0 else '-'}{abs(power)}"


def text(value: Any) -> str:
    """Return 7.1.17 ToString: items of a list are joined by commas; an object is "[object Object]"."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number_text(value)
        case None:
            return "null"
        case list():
            return ",".join("" if item is None or item is UNDEFINED else text(item) for item in value)
        case dict():
            return "[object Object]"
    return "undefined"


def to_number(value: str) -> float:
    """Return 7.1.4.1.1 StringToNumber: white space around is ignored, the empty text is 0, other texts are NaN."""
    stripped = value.strip(WHITE_SPACE)
    if not stripped:
        return 0.0
    if _NUMERIC_TEXT.match(stripped):
        return float(stripped)
    if _RADIX_TEXT.match(stripped):
        return to_float(int(stripped[2:], _RADIX[stripped[1].lower()]))
    return math.nan


def number_of(value: Any) -> float:
    """Return `Number(value)`, with which the reference compares numbers; NaN for values that are not numbers."""
    match value:
        case bool() | int() | float():
            return to_float(value)
        case None:
            return 0.0
        case str() | list():
            return to_number(text(value))
        case _:
            return math.nan


def keys(mapping: dict[str, Any]) -> list[str]:
    """Return 10.1.11 OrdinaryOwnPropertyKeys: array indices first, in ascending order, then the others in theirs."""
    indices = [key for key in mapping if is_array_index(key)]
    if not indices:
        return list(mapping)
    return sorted(indices, key=int) + [key for key in mapping if not is_array_index(key)]


def is_array_index(key: str) -> bool:
    """Whether a key is an array index (6.1.7): a whole number below 2**32 - 1 without leading zeros."""
    return key[:1].isdigit() and _ARRAY_INDEX.match(key) is not None and int(key) < 2**32 - 1


def entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield 20.1.2.5 Object.entries of objects, lists and texts; other values have none."""
    if type(value) is dict:
        for key in keys(value):
            yield key, value[key]
    elif type(value) is list or type(value) is str:
        for index, item in enumerate(value):
            yield str(index), item


def length(value: str) -> int:
    """Return the length of a text in UTF-16 code units."""
    return len(value) if value.isascii() else len(value.encode("utf-16-le", "surrogatepass")) // 2


def json_text(value: Any) -> Any:
    """Return 25.5.2 JSON.stringify without white space; UNDEFINED for UNDEFINED."""
    if value is UNDEFINED:
        return UNDEFINED
    return _json_text(value)


def _json_text(value: Any) -> str:
    match value:
        case None | _Undefined():
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            written = number_text(value)
            return "null" if written[-1] in "Ny" else written
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{','.join(map(_json_text, value))}]"
    members = ((key, item) for key, item in entries(value) if item is not UNDEFINED)
    pairs = (f"{json.dumps(key, ensure_ascii=False)}:{_json_text(item)}" for key, item in members)
    return f"{{{','.join(pairs)}}}"


def parse_json(source: str) -> Any:
    """Return 25.5.1 JSON.parse; raises ValueError. Integers that a double cannot represent become doubles."""
    return json.loads(source, parse_constant=_refuse_constant, parse_int=_parse_int)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parse_int(digits: str) -> int | float:
    if len(digits) < 16:
        return int(digits)
    return float(digits)


def strip_undefined(value: Any) -> Any:
    """Return the value without UNDEFINED members, at every depth; in lists they become None, as in JSON."""
    if type(value) is dict:
        return {key: strip_undefined(item) for key, item in value.items() if item is not UNDEFINED}
    if type(value) is list:
        return [None if item is UNDEFINED else strip_undefined(item) for item in value]
    return value
