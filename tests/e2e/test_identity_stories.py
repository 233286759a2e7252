"""A thousand stories of identities, delivered to a service that applies at once, late, or late and shuffled: everybody
must be who the story makes them.

STORIES sets how many are told.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
import redis

from simulator.options import Faults, Options
from tests.stories import delivery
from tests.stories.delivery import LAG_MS, SETTLE_S
from tests.stories.oracle import World
from tests.stories.telling import Story, stories

COUNT = int(os.environ.get("STORIES", "1000"))

# An identifier pair, the attributes, and what was done, in no order.
Known = tuple[str | None, str | None, str, tuple[str, ...]]

Apply = Literal["at_once", "in_order", "shuffled"]
Conflict = Literal["fail", "reassign"]
Stale = Literal["attribute", "profile"]


@pytest.fixture(scope="module")
def told() -> list[Story]:
    return stories(COUNT, seed=1, start=datetime.now(UTC) - timedelta(seconds=2400))


@pytest.mark.parametrize("apply", ["at_once", "in_order"])
@pytest.mark.parametrize("id_conflict", ["fail", "reassign"])
@pytest.mark.parametrize("stale_updates", ["attribute", "profile"])
def test_everybody_is_right_where_what_is_accepted_is_applied_in_order(
    redis_client: redis.Redis, told: list[Story], apply: Apply, id_conflict: Conflict, stale_updates: Stale
) -> None:
    options = Options(id_conflict=id_conflict, stale_updates=stale_updates, keep_journal=False)
    wrong = differing(redis_client, told, options, apply, "acknowledged", SETTLE_S)
    assert not wrong


def differing(
    client: redis.Redis, told: list[Story], options: Options, apply: Apply, order: str, settle_s: float
) -> dict[int, tuple[list[str], list[Known], list[Known]]]:
    """Return the stories that ended with other people than the oracle's, each with its chapters and both."""
    faults = Faults(apply=apply, shuffle_batches=apply == "shuffled", lag_ms=LAG_MS, lag_tail=0)
    found = by_story(map(delivered, delivery.people(client, told, options, faults, order, settle_s)))
    differing = {}
    for story in told:
        wanted = expected(story, options)
        if found[story.number] != wanted:
            differing[story.number] = (story.chapters, found[story.number], wanted)
    return differing


def expected(story: Story, options: Options) -> list[Known]:
    world = World(reassign=options.id_conflict == "reassign")
    world.tell(story.phases)
    return sorted(
        (known(one.names.get("id"), one.names.get("email"), one.attributes, one.deeds) for one in world.people), key=str
    )


def delivered(person: dict[str, Any]) -> Known:
    attributes = {name: value for name, value in person["attributes"].items() if name != "created_at"}
    return known(person["id"], person["email"], attributes, [one["attributes"]["deed"] for one in person["events"]])


def known(user_id: str | None, email: str | None, attributes: dict[str, Any], deeds: list[str]) -> Known:
    return user_id, email, str(sorted(attributes.items())), tuple(sorted(deeds))


def by_story(people: Iterable[Known]) -> dict[int, list[Known]]:
    """The people by the number that their names begin with."""
    found: defaultdict[int, list[Known]] = defaultdict(list)
    for person in people:
        name = person[0] or person[1] or ""
        found[int(name.partition("-")[0].removeprefix("s"))].append(person)
    return defaultdict(list, {number: sorted(those, key=str) for number, those in found.items()})
