"""A thousand stories of identities, delivered to a service that applies at once, late, or late and shuffled. The people
at its end must be those of the oracle.

STORIES sets how many are delivered.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import pytest
import redis

from simulator.options import Faults, Options
from tests.stories import delivery
from tests.stories.delivery import LAG_MS, SETTLE_S
from tests.stories.generator import Story, stories
from tests.stories.oracle import World

COUNT = int(os.environ.get("STORIES", "1000"))

Apply = Literal["at_once", "in_order", "shuffled"]
Conflict = Literal["fail", "reassign"]
Stale = Literal["attribute", "profile"]


class Summary(NamedTuple):
    """A person as the tests compare them."""

    id: str | None
    email: str | None
    deeds: tuple[str, ...]  # in no order
    attributes: str


@dataclass(frozen=True)
class Difference:
    """A story that ended with other people than the oracle's."""

    story: Story
    found: list[Summary]
    expected: list[Summary]


@pytest.fixture(scope="module")
def generated() -> list[Story]:
    return stories(COUNT, seed=1, start=datetime.now(UTC) - timedelta(seconds=2400))


# Both modes of either switch; where all is applied in its order they have nothing to do with each other.
both_modes = pytest.mark.parametrize(("id_conflict", "stale_updates"), [("fail", "attribute"), ("reassign", "profile")])


@both_modes
@pytest.mark.parametrize("apply", ["at_once", "in_order"])
def test_people_are_right_where_operations_are_applied_in_the_order_of_their_acceptance(
    redis_client: redis.Redis, generated: list[Story], apply: Apply, id_conflict: Conflict, stale_updates: Stale
) -> None:
    options = Options(id_conflict=id_conflict, stale_updates=stale_updates, keep_journal=False)
    assert not differing(redis_client, generated, options, apply, "acknowledged", SETTLE_S)


@both_modes
def test_people_are_right_after_a_shuffle_where_each_operation_waits_until_the_one_before_is_applied(
    redis_client: redis.Redis, generated: list[Story], id_conflict: Conflict, stale_updates: Stale
) -> None:
    options = Options(id_conflict=id_conflict, stale_updates=stale_updates, keep_journal=False)
    assert not differing(redis_client, generated, options, "shuffled", "applied", SETTLE_S)


@pytest.mark.parametrize("id_conflict", ["fail", "reassign"])
@pytest.mark.parametrize("stale_updates", ["attribute", "profile"])
def test_people_are_right_after_a_shuffle_by_default(
    redis_client: redis.Redis, generated: list[Story], id_conflict: Conflict, stale_updates: Stale
) -> None:
    options = Options(id_conflict=id_conflict, stale_updates=stale_updates, keep_journal=False)
    assert not differing(redis_client, generated, options, "shuffled", "acknowledged", SETTLE_S)


def test_people_are_wrong_after_a_shuffle_without_the_settle_time(
    redis_client: redis.Redis, generated: list[Story]
) -> None:
    wrong = differing(
        redis_client, generated[:200], Options(keep_journal=False), "shuffled", "acknowledged", settle_s=0
    )

    assert {difference.story.conflicts for difference in wrong} == {True, False}


def differing(
    client: redis.Redis, generated: list[Story], options: Options, apply: Apply, order: str, settle_s: float
) -> list[Difference]:
    """Return the stories that ended with other people than the oracle's."""
    faults = Faults(apply=apply, shuffle_batches=apply == "shuffled", lag_ms=LAG_MS, lag_tail=0)
    found = by_story(map(delivered, delivery.people(client, generated, options, faults, order, settle_s)))
    compared = [Difference(story, found[story.number], expected(story, options)) for story in generated]
    return [each for each in compared if each.found != each.expected]


def expected(story: Story, options: Options) -> list[Summary]:
    world = World(reassign=options.id_conflict == "reassign")
    world.apply_all(story.phases)
    return in_order(
        summary(person.identifiers.get("id"), person.identifiers.get("email"), person.attributes, person.deeds)
        for person in world.people
    )


def delivered(person: dict[str, Any]) -> Summary:
    attributes = {name: value for name, value in person["attributes"].items() if name != "created_at"}
    return summary(
        person["id"], person["email"], attributes, [event["attributes"]["deed"] for event in person["events"]]
    )


def summary(user_id: str | None, email: str | None, attributes: dict[str, Any], deeds: list[str]) -> Summary:
    return Summary(user_id, email, tuple(sorted(deeds)), str(sorted(attributes.items())))


def in_order(people: Iterable[Summary]) -> list[Summary]:
    return sorted(people, key=str)


def by_story(people: Iterable[Summary]) -> dict[int, list[Summary]]:
    """Return the people by the number that their identifiers begin with."""
    found: defaultdict[int, list[Summary]] = defaultdict(list)
    for person in people:
        name = person.id or person.email or ""
        found[int(name.partition("-")[0].removeprefix("s"))].append(person)
    return defaultdict(list, {number: in_order(those) for number, those in found.items()})
