"""A thousand generated stories of identities, with a service that applies at once, late, or late and shuffled.

The people of the workspace must be those of an oracle. The environment variable STORIES sets the number of stories.
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
from tests.stories import arrival, delivery
from tests.stories.delivery import LAG_MS, SETTLE_S
from tests.stories.generator import Story, stories
from tests.stories.oracle import World

COUNT = int(os.environ.get("STORIES", "1000"))

ARRIVING = 150  # stories of which the requests overtake each other
WINDOW_MS = 9_000  # a busy machine delays more than a network

Apply = Literal["at_once", "in_order", "shuffled"]
Conflict = Literal["fail", "reassign"]
Stale = Literal["attribute", "profile"]


class Known(NamedTuple):
    """A person, in the form that is compared."""

    id: str | None
    email: str | None
    deeds: tuple[str, ...]  # names of events, sorted
    attributes: str


@dataclass(frozen=True)
class Difference:
    """A story whose people differ from those of the oracle."""

    story: Story
    found: list[Known]
    wanted: list[Known]


@pytest.fixture(scope="module")
def generated() -> list[Story]:
    return stories(COUNT, seed=1, start=datetime.now(UTC) - timedelta(seconds=2400))


# Both values of both options. They are independent of each other when operations are applied in order.
both_modes = pytest.mark.parametrize(("id_conflict", "stale_updates"), [("fail", "attribute"), ("reassign", "profile")])


@both_modes
@pytest.mark.parametrize("apply", ["at_once", "in_order"])
def test_people_are_right_when_operations_are_applied_in_order(
    socket_client: redis.Redis, generated: list[Story], apply: Apply, id_conflict: Conflict, stale_updates: Stale
) -> None:
    options = Options(id_conflict=id_conflict, stale_updates=stale_updates, keep_journal=False)
    assert not differing(socket_client, generated, options, apply, "acknowledged", SETTLE_S)


@both_modes
def test_people_are_right_after_a_shuffle_when_each_dependent_operation_waits(
    socket_client: redis.Redis, generated: list[Story], id_conflict: Conflict, stale_updates: Stale
) -> None:
    options = Options(id_conflict=id_conflict, stale_updates=stale_updates, keep_journal=False)
    assert not differing(socket_client, generated, options, "shuffled", "applied", SETTLE_S)


@pytest.mark.parametrize("id_conflict", ["fail", "reassign"])
@pytest.mark.parametrize("stale_updates", ["attribute", "profile"])
def test_people_are_right_after_a_shuffle_by_default(
    socket_client: redis.Redis, generated: list[Story], id_conflict: Conflict, stale_updates: Stale
) -> None:
    options = Options(id_conflict=id_conflict, stale_updates=stale_updates, keep_journal=False)
    assert not differing(socket_client, generated, options, "shuffled", "acknowledged", SETTLE_S)


def test_people_are_wrong_after_a_shuffle_without_the_settle_time(
    socket_client: redis.Redis, generated: list[Story]
) -> None:
    options = Options(keep_journal=False)

    wrong = differing(socket_client, generated[:200], options, "shuffled", "acknowledged", settle_s=0)

    assert {difference.story.conflicts for difference in wrong} == {True, False}


@pytest.mark.parametrize("reorder_ms", [WINDOW_MS, 0])
def test_people_are_right_when_requests_overtake_each_other_within_the_window(
    socket_client: redis.Redis, generated: list[Story], reorder_ms: int
) -> None:
    """The requests do overtake each other: with a window of 0 the people of 41 of the 150 stories are wrong."""
    moments = arrival.in_moments(generated[:ARRIVING], datetime.now(UTC) - timedelta(seconds=2400))
    options = Options(keep_journal=False)

    found = by_story(map(delivered, arrival.people(socket_client, moments, options, Faults(), SETTLE_S, reorder_ms)))
    wrong = [story for story in moments if found[story.number] != expected(story, options)]

    assert not wrong if reorder_ms else len(wrong) > ARRIVING / 10


def differing(
    client: redis.Redis, generated: list[Story], options: Options, apply: Apply, order: str, settle_s: float
) -> list[Difference]:
    """Return the stories whose people differ from those of the oracle."""
    faults = Faults(apply=apply, shuffle_batches=apply == "shuffled", lag_ms=LAG_MS, lag_tail=0)
    found = by_story(map(delivered, delivery.people(client, generated, options, faults, order, settle_s)))
    compared = [Difference(story, found[story.number], expected(story, options)) for story in generated]
    return [difference for difference in compared if difference.found != difference.wanted]


def expected(story: Story, options: Options) -> list[Known]:
    world = World(reassign=options.id_conflict == "reassign")
    world.apply_all(story.phases)
    return in_order(
        known(person.identifiers.get("id"), person.identifiers.get("email"), person.attributes, person.deeds)
        for person in world.people
    )


def delivered(person: dict[str, Any]) -> Known:
    attributes = {name: value for name, value in person["attributes"].items() if name != "created_at"}
    return known(person["id"], person["email"], attributes, [event["attributes"]["deed"] for event in person["events"]])


def known(user_id: str | None, email: str | None, attributes: dict[str, Any], deeds: list[str]) -> Known:
    return Known(user_id, email, tuple(sorted(deeds)), str(sorted(attributes.items())))


def in_order(people: Iterable[Known]) -> list[Known]:
    return sorted(people, key=str)


def by_story(people: Iterable[Known]) -> dict[int, list[Known]]:
    """Return the people by story: the number at the start of their identifiers."""
    found: defaultdict[int, list[Known]] = defaultdict(list)
    for person in people:
        name = person.id or person.email or ""
        found[int(name.partition("-")[0].removeprefix("s"))].append(person)
    return defaultdict(list, {number: in_order(group) for number, group in found.items()})
