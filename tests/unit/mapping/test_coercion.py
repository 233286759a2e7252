"""Coercion of values to the types of fields, and the texts of faults."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.actions.action import Field, FieldType
from mapping.coercion import coerce, text_of, without_empty, without_empty_texts
from mapping.errors import InvalidPayload


def coerced(value: Any, kind: FieldType = "string", **rules: Any) -> Any:
    return coerce((Field("f", "The Field", kind, **rules),), {"f": value})["f"]


def refusal(value: Any, kind: FieldType = "string", **rules: Any) -> str:
    with pytest.raises(InvalidPayload) as refused:
        coerced(value, kind, **rules)
    assert refused.value.status == 400
    return str(refused.value)


@pytest.mark.parametrize(("value", "text"), [(42, "42"), (1e21, "1e+21"), (True, "true"), (["x"], "x"), ([None], "")])
def test_a_text_accepts_scalars_and_a_list_of_one_item(value: Any, text: str) -> None:
    assert coerced(value) == text


@pytest.mark.parametrize(
    ("value", "described"), [({}, "an object"), ([], "an array"), (["a", "b"], "an array"), ([["a"]], "an array")]
)
def test_a_text_refuses_objects_and_longer_lists(value: Any, described: str) -> None:
    assert refusal(value) == f"The Field must be a string but it was {described}."


@pytest.mark.parametrize(
    ("value", "number"), [("5", 5), (" 1.5 ", 1.5), ("0x10", 16), (True, 1), (None, 0), (["7"], 7)]
)
def test_a_number_accepts_what_javascript_converts_to_a_number(value: Any, number: float) -> None:
    assert coerced(value, "number") == number


@pytest.mark.parametrize("value", ["", "x", "1e999", {}])
def test_a_number_refuses_all_other_values(value: Any) -> None:
    assert refusal(value, "number").startswith("The Field must be a number but it was")


@pytest.mark.parametrize(("value", "truth"), [("true", True), (1, True), ("false", False), (0, False), (None, False)])
def test_a_boolean_accepts_true_false_one_zero_and_null(value: Any, truth: bool) -> None:
    assert coerced(value, "boolean") is truth


@pytest.mark.parametrize("value", ["yes", 2, "1", {}])
def test_a_boolean_refuses_all_other_values(value: Any) -> None:
    assert refusal(value, "boolean").startswith("The Field must be a boolean but it was")


def test_an_object_refuses_a_list_of_one_object() -> None:
    assert refusal([{}], "object") == "The Field must be an object but it was an array."


def test_a_date_refuses_a_text_in_a_list_and_accepts_a_number_in_one() -> None:
    assert "but it was a string" in refusal(["2024-01-01"], "datetime")
    assert coerced(["5"], "datetime") == 5
    assert refusal("soon", "datetime") == "The Field must be a valid date-like string but it was not."


def test_bounds_are_inclusive_and_apply_after_coercion() -> None:
    assert coerced("100", "number", minimum=2, maximum=100) == 100
    assert refusal("101", "number", maximum=100) == "The Field must be equal to or less than 100."
    assert refusal(1, "number", minimum=2) == "The Field must be equal to or greater than 2."


def test_choices_are_listed_with_commas_and_or() -> None:
    assert refusal("x", choices=("a", "b", "c")) == 'The Field must be one of: "a", "b", or "c".'
    assert refusal("x", choices=("a", "b")) == 'The Field must be one of: "a" or "b".'


def test_missing_fields_come_first_by_key_and_other_faults_follow_by_label() -> None:
    fields = (Field("a", "A"), Field("b", "B", required=True))
    with pytest.raises(InvalidPayload) as refused:
        coerce(fields, {"a": {}})
    missing, wrong = "The root value is missing the required field 'b'.", "A must be a string but it was an object."
    assert str(refused.value) == f"{missing} {wrong}"


def test_unknown_fields_are_removed_silently() -> None:
    assert coerce((Field("f", "F"),), {"f": "x", "g": 1}) == {"f": "x"}


def test_empty_values_are_removed_from_fields_that_are_not_texts() -> None:
    fields = (Field("s", "S"), Field("n", "N", "number"), Field("o", "O", "object"))
    assert without_empty(fields, {"s": "", "n": "", "o": None}) == {"s": ""}
    assert without_empty_texts({"s": "", "x": 0}) == {"x": 0}


def test_text_of_coerces_like_a_field_of_type_string() -> None:
    assert (text_of(42), text_of(["x"]), text_of({}), text_of(None)) == ("42", "x", None, "")
