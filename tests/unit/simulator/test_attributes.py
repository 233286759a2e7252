"""Which update of an attribute wins, and the meaning of values."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.simulator.saying import World, identify, merge

ADA = {"id": "ada"}


def test_an_older_update_loses_attribute_by_attribute() -> None:
    world = World()
    world.apply(identify(ADA, 200, plan="pro"), identify(ADA, 100, plan="free", city="Oslo"))
    assert {"plan": "pro", "city": "Oslo"}.items() <= world.get(**ADA).attributes.items()
    assert world.noted("skipped_update") == 1


def test_an_older_update_can_be_skipped_as_a_whole() -> None:
    world = World(stale_updates="profile")
    world.apply(identify(ADA, 200, plan="pro"), identify(ADA, 100, plan="free", city="Oslo"))
    assert "city" not in world.get(**ADA).attributes


def test_of_updates_with_equal_times_the_one_applied_later_wins() -> None:
    world = World()
    world.apply(identify(ADA, 200, plan="pro"), identify(ADA, 200, plan="free"))
    assert world.get(**ADA).attributes["plan"] == "free"


@pytest.mark.parametrize("timestamp", [None, "2026-01-01T00:00:00Z", True])
def test_a_timestamp_that_is_not_unix_time_is_replaced_by_the_time_of_receipt(timestamp: Any) -> None:
    world = World()
    world.apply(identify(ADA, world.now - 1, plan="old"), identify(ADA, timestamp, plan="new"))
    world.apply(identify(ADA, world.now - 1, plan="stale"))
    assert world.get(**ADA).attributes["plan"] == "new"


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_value_removes_the_attribute_and_older_updates_do_not_restore_it(empty: Any) -> None:
    world = World()
    world.apply(identify(ADA, 100, plan="pro"), identify(ADA, 200, plan=empty), identify(ADA, 150, plan="free"))
    assert "plan" not in world.get(**ADA).attributes


def test_an_empty_value_can_be_kept() -> None:
    world = World(empty_removes=False)
    world.apply(identify(ADA, plan=""))
    assert world.get(**ADA).attributes["plan"] == ""


def test_created_at_is_set_unless_the_operation_has_one() -> None:
    world = World()
    world.apply(identify(ADA), identify({"id": "bob"}, 100, created_at=50))
    assert (world.get(**ADA).attributes["created_at"], world.get(id="bob").attributes["created_at"]) == (1_000_000, 50)


@pytest.mark.parametrize(("value", "expected"), [(True, True), ("TRUE", True), (1, True), ("1", True), ("yes", False)])
def test_some_values_mean_unsubscribed(value: Any, expected: bool) -> None:
    world = World()
    world.apply(identify(ADA, unsubscribed=value))
    assert world.get(**ADA).attributes["unsubscribed"] is expected


def test_one_topic_of_the_preferences_is_updated_by_its_dotted_name() -> None:
    world = World()
    world.apply(identify(ADA, cio_subscription_preferences={"topics": {"topic_1": True}}))
    world.apply(identify(ADA, **{"cio_subscription_preferences.topics.topic_2": False}))
    topics = world.get(**ADA).attributes["cio_subscription_preferences"]["topics"]
    assert topics == {"topic_1": True, "topic_2": False}


def test_an_operation_that_was_applied_is_not_changed_by_later_ones() -> None:
    world = World()
    first = identify(ADA, cio_subscription_preferences={"topics": {"topic_1": True}})
    world.apply(first, identify(ADA, **{"cio_subscription_preferences.topics.topic_1": False}))
    assert first["attributes"]["cio_subscription_preferences"]["topics"]["topic_1"] is True


def test_a_stale_value_that_wins_is_counted_by_the_trace_and_the_trace_is_not_kept() -> None:
    world = World()
    world.apply(identify(ADA, plan="new", segue_trace="s:2"), identify(ADA, plan="old", segue_trace="s:1"))
    world.apply(identify(ADA, plan="other", segue_trace="another:1"))
    assert world.noted("stale_attribute_won") == 1
    assert "segue_trace" not in world.get(**ADA).attributes


def test_an_inherited_attribute_keeps_its_time() -> None:
    world = World()
    world.apply(identify(ADA), identify({"id": "bob"}, 200, plan="pro"), merge(ADA, {"id": "bob"}))
    world.apply(identify(ADA, 100, plan="stale"))
    assert world.get(**ADA).attributes["plan"] == "pro"
