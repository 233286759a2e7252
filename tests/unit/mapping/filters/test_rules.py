"""The effects of destination filters on events, and the faults of invalid ones."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from mapping.errors import ConfigurationError
from mapping.filters.rules import apply, compile_filter, in_order

EVENT = {
    "type": "identify",
    "messageId": "m-1",
    "userId": "u",
    "traits": {"ssn": "1", "name": "Jo", "cards": [{"number": 4, "kind": "visa"}, "x"]},
    "context": {"ip": "1.1.1.1", "device": {"id": "d", "model": "m"}},
}


def filtered(event: dict[str, Any] = EVENT, condition: str = "type = 'identify'", **table: Any) -> Any:
    return compile_filter({"if": condition, **table}).apply(event)


def test_drop_drops_events_that_meet_the_condition() -> None:
    assert filtered(action="drop") is None
    assert filtered(condition="type = 'track'", action="drop") is EVENT


def test_block_removes_fields_in_a_copy_of_the_event() -> None:
    before = deepcopy(EVENT)

    event = filtered(
        action="block", fields={"traits": ["ssn", "absent"], "context.device": ["id"], "properties": ["x"]}
    )

    assert event["traits"] == {"name": "Jo", "cards": EVENT["traits"]["cards"]}
    assert event["context"] == {"ip": "1.1.1.1", "device": {"model": "m"}}
    assert "properties" not in event
    assert before == EVENT


def test_allow_removes_all_other_fields() -> None:
    event = filtered(action="allow", fields={"traits": ["name"]})

    assert event == {**EVENT, "traits": {"name": "Jo"}}


def test_fields_are_removed_from_each_object_of_a_list() -> None:
    event = filtered(action="block", fields={"traits.cards": ["number"]})

    assert event["traits"]["cards"] == [{"kind": "visa"}, "x"]


def test_sample_keeps_its_share_and_always_the_same_events() -> None:
    sampling = compile_filter({"if": "type = 'track'", "action": "sample", "rate": 0.25})
    events = [{"type": "track", "messageId": f"m-{number}"} for number in range(10_000)]

    kept = [event["messageId"] for event in events if sampling.apply(event)]

    assert 2_300 < len(kept) < 2_700
    assert kept == [event["messageId"] for event in events if sampling.apply(dict(event))]


def test_sample_by_a_path_keeps_or_drops_all_events_of_one_value() -> None:
    sampling = compile_filter({"if": "type = 'track'", "action": "sample", "rate": 0.5, "by": "context.device.id"})
    events = [
        {"type": "track", "messageId": f"m-{number}", "context": {"device": {"id": number % 20}}}
        for number in range(200)
    ]

    kept = [event["context"]["device"]["id"] for event in events if sampling.apply(event)]

    assert all(kept.count(device) == 10 for device in kept)
    assert 0 < len(kept) < 200


def test_an_event_without_the_value_is_sampled_by_message_id_and_without_both_is_kept() -> None:
    by_user = compile_filter({"if": "type = 'track'", "action": "sample", "rate": 0.5, "by": "userId"})
    by_message = compile_filter({"if": "type = 'track'", "action": "sample", "rate": 0.5})
    events = [{"type": "track", "messageId": f"m-{number}"} for number in range(50)]

    assert [by_user.apply(event) for event in events] == [by_message.apply(event) for event in events]
    assert by_user.apply({"type": "track", "userId": {"not": "text"}})


@pytest.mark.parametrize("rate", [0, 1])
def test_a_rate_of_one_keeps_all_events_and_zero_none(rate: int) -> None:
    assert (filtered(action="sample", rate=rate) is None) is (rate == 0)


def test_drop_applies_before_fields_are_removed() -> None:
    block = compile_filter({"if": "type = 'identify'", "action": "block", "fields": {"traits": ["ssn"]}})
    drop = compile_filter({"if": "traits.ssn = '1'", "action": "drop"})

    assert apply(in_order([block, drop]), EVENT) is drop
    assert drop.name == "drop if traits.ssn = '1'"
    assert apply(in_order([block]), EVENT) == {**EVENT, "traits": {"name": "Jo", "cards": EVENT["traits"]["cards"]}}
    assert apply((), EVENT) is EVENT


@pytest.mark.parametrize(
    ("table", "faults"),
    [
        ({}, ["if: is missing", "action: is missing; it must be one of drop, sample, block, allow"]),
        ({"if": "type == 'x'", "action": "drop"}, ["if: write `=` for `==`\n    type == 'x'\n         ^"]),
        ({"if": "a", "action": "Drop"}, ["action: is 'Drop', but must be one of"]),
        ({"if": "a", "action": "drop", "rate": 1}, ["rate: a filter with the action drop has no such key"]),
        (
            {"if": "a", "action": "sample"},
            ["rate: is missing; it must be the share of the events to keep, from 0 to 1"],
        ),
        ({"if": "a", "action": "sample", "rate": 10, "by": 5}, ["rate: is 10", "by: is 5"]),
        ({"if": "a", "action": "sample", "rate": True}, ["rate: is True"]),
        ({"if": "a", "action": "block"}, ["fields: is missing; it must be a table"]),
        ({"if": "a", "action": "allow", "fields": {"userId": ["x"]}}, ["fields.userId: must be in one of properties"]),
        ({"if": "a", "action": "block", "fields": {"traits.": ["x"]}}, ["fields.traits.: has an empty name"]),
        ({"if": "a", "action": "block", "fields": {"traits": []}}, ["fields.traits: is [], but must be a list"]),
        ({"if": "a", "action": "block", "fields": {"traits": [""]}}, ["fields.traits: is [''], but must be a list"]),
        ({"if": "a", "action": "sample", "rate": 0.5, "by": "a..b"}, ["by: is 'a..b', but must be a path"]),
        ({"if": "a", "action": "allow", "fields": {"traits": "x"}}, ["fields.traits: is 'x', but must be a list"]),
    ],
)
def test_every_fault_of_a_table_has_its_key(table: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compile_filter(table)

    assert len(caught.value.faults) == len(faults)
    assert all(found.startswith(wanted) for found, wanted in zip(caught.value.faults, faults, strict=True))
