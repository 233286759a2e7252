"""Look-up of paths such as `$.a.b[0]`, with the quirks of the reference."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.javascript import UNDEFINED
from mapping.paths import compile_path

EVENT: dict[str, Any] = {
    "userId": "u",
    "zero": 0,
    "none": None,
    "empty": "",
    "properties": {"first name": "Jo", "list": [1, {"a": "x"}], "a.b": "dotted", "text": "é🎉"},
}


def found(path: str, event: Any = EVENT) -> Any:
    return compile_path(path)(event)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.userId", "u"),
        ("userId", "u"),
        ("$.properties.list[1].a", "x"),
        ("$.properties['first name']", "Jo"),
        ("$.properties.list.0", 1),
        ("$.properties.list.length", 2),
    ],
)
def test_a_path_traverses_objects_and_lists(path: str, value: Any) -> None:
    assert found(path) == value


@pytest.mark.parametrize("path", ["", ".", "$."])
def test_an_empty_path_is_the_whole_event(path: str) -> None:
    assert found(path) is EVENT


@pytest.mark.parametrize(
    "path", ["$.nothing", "$.properties.nothing.at.all", "$.properties.list[7]", "$.properties.a.b"]
)
def test_an_absent_value_is_undefined(path: str) -> None:
    assert found(path) is UNDEFINED


@pytest.mark.parametrize(("name", "value"), [("zero", 0), ("none", None), ("empty", "")])
def test_a_falsy_value_on_the_way_is_the_result(name: str, value: Any) -> None:
    assert found(f"$.{name}.deeper.still") == value


def test_a_text_has_members_by_index_and_a_length_in_utf_16_units() -> None:
    assert found("$.properties.text[0]") == "é"
    assert found("$.properties.text.length") == 3


def test_only_the_first_dollar_and_dot_is_removed() -> None:
    assert found("user$.Id") == "u"
    assert found("$.$.userId") is UNDEFINED


def test_a_number_with_leading_zeros_is_not_an_index() -> None:
    assert found("$.properties.list.01") is UNDEFINED


def test_members_that_only_javascript_objects_have_are_absent() -> None:
    assert found("$.properties.constructor") is UNDEFINED


def test_an_event_that_is_not_an_object_has_no_members() -> None:
    assert found("$.a", 5) is UNDEFINED
    assert found("$.a", None) is None
