"""JavaScript's `String(x)` and `Number(x)` for JSON values, in which the reference compares.

Source: ECMA-262, sections 6.1.6.1.20 (Number::toString) and 7.1.4 (ToNumber).
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from enum import Enum
from typing import Any, Final


class Undefined(Enum):
    """JavaScript's undefined: a member that is not there, as opposed to null."""

    UNDEFINED = "undefined"


UNDEFINED: Final = Undefined.UNDEFINED

_SPACE = " \t\n\v\f\r\xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_DECIMAL = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|Infinity)")
_RADIX = re.compile(r"0(?:[xX](?P<hex>[0-9a-fA-F]+)|[oO](?P<oct>[0-7]+)|[bB](?P<bin>[01]+))")


def text_of(value: Any) -> str:
    """Return `String(value)`: `1e21` is `1e+21`, lists join with commas, objects are `[object Object]`."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number_text(value)
        case None:
            return "null"
        case list():
            return ",".join("" if item is None else text_of(item) for item in value)
        case Undefined():
            return "undefined"
        case _:
            return "[object Object]"


def _number_text(value: float) -> str:
    number = _float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    if 1e-6 <= abs(number) < 1e21:
        text = f"{Decimal(repr(number)):f}"
        return text.removesuffix(".0")
    mantissa, _, exponent = f"{Decimal(repr(number)):e}".partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def number_of(value: Any) -> float:
    """Return `Number(value)`; NaN for what is no number."""
    match value:
        case bool() | int() | float():
            return _float(value)
        case None:
            return 0.0
        case str():
            return _parsed(value.strip(_SPACE))
        case list():
            return _parsed(text_of(value).strip(_SPACE))
        case _:
            return math.nan


def _parsed(text: str) -> float:
    if not text:
        return 0.0
    if radix := _RADIX.fullmatch(text):
        digits = {"hex": 16, "oct": 8, "bin": 2}
        return next(_float(int(radix[name], base)) for name, base in digits.items() if radix[name])
    return float(text) if _DECIMAL.fullmatch(text) else math.nan


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
