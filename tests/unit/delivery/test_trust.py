"""Redirects after merges, and the sources that make and end them."""

from __future__ import annotations

from typing import Any

import fakeredis
import orjson
import pytest
import redis

import lanes
import mapping
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome
from delivery.prepare import Trust
from mapping.envelope import pack
from tests.claims import deliver_one
from tests.queues import queue_of
from tests.secrets import CREDENTIALS

QUEUE = "demo"
DESTINATION = mapping.destinations({"destinations": {QUEUE: CREDENTIALS}})[QUEUE]
TRUST = Trust(trusted=frozenset({"server"}), merging=frozenset({"server", "widget"}))


class World:
    """Sources that send events, and a worker that delivers each at once."""

    def __init__(self, client: redis.Redis) -> None:
        self.queue = queue_of(client, QUEUE)
        self.count = 0

    def happens(self, source: str, **event: Any) -> str | None:
        """Return the id of the person that the operation of the event names; for a merge, its primary."""
        self.count += 1
        whole = {"messageId": f"m{self.count}", "traits": {}, **event}
        info = mapping.ordering_info(whole, DESTINATION)
        lanes.append(self.queue, [lanes.NewEvent(pack(source, whole), info.keys, f"m{self.count}", 0, info.join)])
        bodies: list[dict[str, Any]] = []

        def send(request: Request) -> list[Outcome]:
            bodies.extend(orjson.loads(item.data) for item in request.items)
            return [Delivered()] * len(request.items)

        deliver_one(self.queue, DESTINATION, send, trust=TRUST)
        named = bodies[0].get("identifiers") or bodies[0]["primary"]
        found: str | None = named.get("id")
        return found

    def merges(self, source: str, secondary: str, primary: str) -> None:
        self.happens(source, type="alias", previousId=secondary, userId=primary)

    def identifies(self, source: str, user: str) -> str | None:
        return self.happens(source, type="identify", userId=user)

    def tracks(self, source: str, user: str) -> str | None:
        return self.happens(source, type="track", event="Viewed", userId=user)


@pytest.fixture(params=["fakeredis", "server"])
def world(request: pytest.FixtureRequest) -> World:
    return World(
        fakeredis.FakeStrictRedis() if request.param == "fakeredis" else request.getfixturevalue("redis_client")
    )


def test_an_id_that_does_not_exist_yet_cannot_be_claimed(world: World) -> None:
    world.merges("website", "future", "mallory")
    world.merges("website", "future", "mallory")  # the first one is no evidence

    assert world.tracks("website", "future") == "future"
    assert world.identifies("website", "future") == "future"


def test_the_person_of_a_merge_that_was_known_before_is_the_primary(world: World) -> None:
    world.identifies("website", "lead")
    world.merges("website", "lead", "jo")

    assert world.tracks("website", "lead") == "jo"
    assert world.identifies("website", "lead") == "jo", "the source is not trusted to know better"


@pytest.mark.parametrize("source", ["server", "widget"])
def test_a_source_that_may_merge_needs_no_evidence(world: World, source: str) -> None:
    world.merges(source, "lead", "jo")

    assert world.tracks("website", "lead") == "jo"


@pytest.mark.parametrize("source", ["website", "widget"])
def test_an_update_of_a_trusted_source_ends_the_redirect_that_another_one_made(world: World, source: str) -> None:
    world.identifies("website", "lead")
    world.merges(source, "lead", "mallory")
    assert world.tracks("server", "lead") == "mallory", "an event is no update"

    assert world.identifies("server", "lead") == "lead"

    assert world.tracks("website", "lead") == "lead"


def test_a_late_update_of_a_person_that_a_trusted_source_merged_recreates_no_person(world: World) -> None:
    world.merges("server", "lead", "jo")

    assert world.identifies("server", "lead") == "jo"


def test_a_person_whose_redirect_ended_is_joined_no_more(world: World) -> None:
    world.merges("widget", "lead", "mallory")
    world.identifies("server", "lead")

    lanes.append(world.queue, [lanes.NewEvent(b"{}", ("id:lead",), "later")])

    assert lanes.inspect(world.queue, "id:mallory") is None
