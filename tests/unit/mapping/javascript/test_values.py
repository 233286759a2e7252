"""Rules of JavaScript: numbers as texts, texts as numbers, truth, the order of keys."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mapping import javascript
from mapping.javascript import UNDEFINED


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (-0.0, "0"), (1.0, "1"), (1.5, "1.5"), (-2.25, "-2.25"), (1e21, "1e+21"),
        (1e20, "100000000000000000000"), (2**53, "9007199254740992"),
        (1e-6, "0.000001"), (1e-7, "1e-7"), (1.5e-10, "1.5e-10"), (123456789.125, "123456789.125"),
        (2**53 + 1, "9007199254740992"), (10**400, "Infinity"), (-(10**400), "-Infinity"), (math.nan, "NaN"),
    ],
)  # fmt: skip
def test_a_number_has_the_text_of_javascript(number: float, text: str) -> None:
    assert javascript.number_text(number) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("  12  ", 12),
        ("\ufeff1\u00a0", 1),
        ("1e3", 1000),
        (".5", 0.5),
        ("5.", 5),
        ("0x1F", 31),
        ("0b11", 3),
        ("+1", 1),
    ],
)
def test_a_text_is_converted_to_a_number(text: str, number: float) -> None:
    assert javascript.to_number(text) == number


@pytest.mark.parametrize("text", ["x", "1,5", "1_000", "-0x1f", "infinity", "١"])
def test_other_texts_are_nan(text: str) -> None:
    assert math.isnan(javascript.to_number(text))


@pytest.mark.parametrize("value", [{}, [], "0", -1, True])
def test_truthy_values(value: Any) -> None:
    assert javascript.truthy(value)


@pytest.mark.parametrize("value", [None, UNDEFINED, "", 0, 0.0, math.nan, False])
def test_falsy_values(value: Any) -> None:
    assert not javascript.truthy(value)


def test_array_indices_come_first_among_keys_in_ascending_order() -> None:
    assert javascript.keys({"b": 1, "10": 1, "2": 1, "01": 1}) == ["2", "10", "b", "01"]


def test_the_length_of_a_text_is_in_utf_16_units() -> None:
    assert javascript.length("a🎉é") == 4


def test_json_text_has_no_white_space_and_no_undefined_members() -> None:
    assert javascript.json_text({"a": [1.0, UNDEFINED, "é"], "b": UNDEFINED}) == '{"a":[1,null,"é"]}'
    assert javascript.json_text(UNDEFINED) is UNDEFINED


def test_parse_json_refuses_constants_that_are_not_json() -> None:
    with pytest.raises(ValueError, match="NaN"):
        javascript.parse_json("[NaN]")
    assert javascript.parse_json("12345678901234567890") == 12345678901234567890.0


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (UNDEFINED, "undefined"), (True, "true"), ([1, [2, None], {}], "1,2,,[object Object]")],
)
def test_every_value_has_a_text(value: Any, text: str) -> None:
    assert javascript.text(value) == text
