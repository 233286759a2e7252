"""Patches as operators type them: both kinds, the rules of the RFCs, and an error text that names the step."""

from __future__ import annotations

import json
from typing import Any

import pytest

from console.dead import patching
from console.errors import CommandError


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ('{"a": null, "c": {"d": 1}}', {"b": [1, 2], "c": {"d": 1}}),
        ('[{"op": "add", "path": "/b/-", "value": 3}]', {"a": 1, "b": [1, 2, 3]}),
        ('[{"op": "add", "path": "/b/0", "value": 0}]', {"a": 1, "b": [0, 1, 2]}),
        ('[{"op": "replace", "path": "/b/0", "value": 9}]', {"a": 1, "b": [9, 2]}),
        ('[{"op": "move", "from": "/a", "path": "/x"}]', {"b": [1, 2], "x": 1}),
        ('[{"op": "copy", "from": "/b", "path": "/c"}]', {"a": 1, "b": [1, 2], "c": [1, 2]}),
        ('[{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/a"}]', {"b": [1, 2]}),
        ('[{"op": "add", "path": "/a~1b", "value": 1}]', {"a": 1, "b": [1, 2], "a/b": 1}),
    ],
)
def test_patches_of_both_kinds(patch: str, result: dict[str, Any]) -> None:
    event = {"a": 1, "b": [1, 2]}

    assert patching.patched(event, patch) == result
    assert event == {"a": 1, "b": [1, 2]}


def test_a_value_cannot_be_moved_into_itself() -> None:
    """RFC 6902, section 4.4: `from` must not be a proper prefix of `path`. The value landed in the next item."""
    step = {"op": "move", "from": "/b/0", "path": "/b/0/x"}

    with pytest.raises(CommandError, match="step 1"):
        patching.patched({"b": [{}, {"next": 1}]}, json.dumps([step]))


@pytest.mark.parametrize(
    ("value", "tested"),
    [(1, True), (0, False), (True, 1), ([1], [True]), ({"n": 1}, {"n": True}), ("1", 1), (None, False)],
)
def test_values_of_different_json_types_are_not_equal(value: Any, tested: Any) -> None:
    """RFC 6902, section 4.6: both must be of the same JSON type. Python takes True for 1."""
    with pytest.raises(CommandError, match="step 1"):
        patching.patched({"a": value}, json.dumps([{"op": "test", "path": "/a", "value": tested}]))


def test_numbers_are_compared_by_value() -> None:
    """RFC 6902, section 4.6: numbers are equal if their values are numerically equal."""
    assert patching.patched({"a": 1}, '[{"op": "test", "path": "/a", "value": 1.0}]') == {"a": 1}


@pytest.mark.parametrize("index", ["01", "00", "-1", "1e0", "٠"])
@pytest.mark.parametrize("operation", ["add", "replace", "remove", "test"])
def test_an_index_has_no_leading_zero_and_only_ascii_digits(operation: str, index: str) -> None:
    """RFC 6901, section 4: `%x30 / ( %x31-39 *(%x30-39) )`."""
    step = {"op": operation, "path": f"/b/{index}", "value": 1}

    with pytest.raises(CommandError, match="step 1"):
        patching.patched({"b": [1, 1]}, json.dumps([step]))


def test_the_failing_step_is_named_and_the_event_is_not_changed() -> None:
    event = {"a": {"b": 1}}
    patch = [
        {"op": "remove", "path": "/a/b"},
        {"op": "add", "path": "/a/c", "value": 2},
        {"op": "remove", "path": "/z"},
    ]

    with pytest.raises(CommandError, match=r"^step 3 of the patch \(remove /z\): .*; nothing was changed$"):
        patching.patched(event, json.dumps(patch))

    assert event == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ({"op": "test", "path": "/a", "value": 2}, "step 1 of the patch (test /a): the test failed"),
        ({"op": "replace", "path": "/z", "value": 2}, "a non-existent object 'z'"),
        ({"op": "add", "path": "/b/9", "value": 2}, "can't insert outside of list"),
        ({"op": "add", "path": "/b/x", "value": 2}, "'x' is not a valid sequence index"),
        ({"op": "add", "path": "a", "value": 2}, "Location must start with /"),
        ({"op": "add", "path": "/a"}, "does not contain a 'value' member"),
        ({"op": "add", "path": "/z/c", "value": 1}, "(add /z/c): member 'z' not found; nothing was changed"),
        ({"op": "increase", "path": "/a"}, "Unknown operation 'increase'"),
        ({"op": "remove", "path": ""}, "can't remove the whole document"),
        ({"op": "replace", "path": "", "value": 1}, "an event must be a JSON object"),
        (7, "step 1 of the patch: Operation must be an object"),
        ({"op": "remove", "path": 7}, "Invalid 'path'"),
    ],
)
def test_a_failing_step_is_an_error_with_its_reason(step: Any, text: str) -> None:
    with pytest.raises(CommandError) as caught:
        patching.patched({"a": 1, "b": [1, 2]}, json.dumps([step]))

    assert text in str(caught.value)
