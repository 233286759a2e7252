"""A clock per attribute: whatever the order in which updates come, the newest value of each attribute wins.

The events go through the real delivery code to the simulated workspace, in this process.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import fakeredis
import orjson
import pytest
import redis

import lanes
from dead_letters import query
from dead_letters import replay as replays
from dead_letters.query import Filter
from dead_letters.replay import ReplayContext
from delivery import attribute_clocks, identity_memory
from delivery.batching import Request
from delivery.identifier_changes import identifiers
from delivery.identity_memory import Identities, Update
from delivery.outcomes import Outcome, Rejected, Response, RetryLater, Send
from lanes import keys
from simulator.options import Options
from simulator.service import Service
from tests.claims import deliver_one
from tests.queues import queue_of
from tests.stories.delivery import QUEUE, SETTLE_S, Pipeline
from tests.stories.generator import Event
from workers import claim

NOW_S = 0.0  # in a test: ten seconds ago
DAY_S = 86_400
LATENESS_S = (0.3, 1.5, 30, 600, 3500, 7200, DAY_S)


@pytest.fixture(params=["fakeredis", "server"])
def client(request: pytest.FixtureRequest) -> redis.Redis:
    if request.param == "fakeredis":
        return fakeredis.FakeStrictRedis()
    return request.getfixturevalue("redis_client")


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "NOW_S", time.time() - 10)


class World:
    """A destination and its workspace. `sent`: the bodies of all operations that were sent."""

    def __init__(self, client: redis.Redis, stale_updates: str = "attribute", **delivery: Any) -> None:
        self.service = Service(seed=1)
        self.service.set_options(Options.model_validate({"stale_updates": stale_updates}))
        self.pipeline = Pipeline(client, self.service, "acknowledged", SETTLE_S)
        settings = self.pipeline.destination.delivery.model_copy(update=delivery)
        self.pipeline.destination = replace(self.pipeline.destination, delivery=settings)
        self.queue, self.client = self.pipeline.queue, client
        self.sent: list[dict[str, Any]] = []
        self.refuses: Callable[[dict[str, Any]], Outcome | None] = lambda _: None
        self.pipeline.send = self._recording(self.pipeline.send)
        self._messages = 0

    def _recording(self, send: Send) -> Send:
        def recorded(request: Request) -> list[Outcome]:
            bodies = [orjson.loads(item.data) for item in request.items]
            self.sent += bodies
            refused = [self.refuses(body) for body in bodies]
            if any(refused):
                assert len(bodies) == 1
                return [outcome for outcome in refused if outcome]
            return send(request)

        return recorded

    def happens(self, *events: Event) -> None:
        """Deliver the events, in this order, and apply their operations."""
        self.pipeline.deliver(self.stored(*events))
        self.applies()

    def stored(self, *events: Event) -> list[Event]:
        """Return the events as ingest stores them."""
        self._messages += len(events)
        first = self._messages - len(events)
        return [event | {"messageId": f"m{first + number}"} for number, event in enumerate(events)]

    def applies(self) -> None:
        self.pipeline.skip(10_000)
        self.service.catch_up()

    def attributes(self, user: str = "jo") -> dict[str, Any]:
        person = self.service.workspace.find({"id": user})
        assert person is not None
        return {name: value for name, value in person.attributes.items() if name != "created_at"}

    def updates(self) -> list[dict[str, Any]]:
        return [body for body in self.sent if body["action"] == "identify"]


def at(ago_s: float) -> str:
    """Return the ISO time so many seconds before NOW_S."""
    return datetime.fromtimestamp(NOW_S - ago_s, UTC).isoformat(timespec="milliseconds")


def identify(ago_s: float = 0, user: str = "jo", **traits: Any) -> Event:
    return {"type": "identify", "userId": user, "traits": traits, "timestamp": at(ago_s)}


def lead(ago_s: float = 0, email: str = "jo@x.com", **traits: Any) -> Event:
    return {"type": "identify", "anonymousId": "v", "traits": {"email": email, **traits}, "timestamp": at(ago_s)}


def alias(previous: str, user: str, ago_s: float) -> Event:
    return {"type": "alias", "userId": user, "previousId": previous, "timestamp": at(ago_s)}


# Lateness and crossing updates


@pytest.mark.parametrize("identify_times", ["rising", "mapped"])
@pytest.mark.parametrize("stale_updates", ["attribute", "profile"])
@pytest.mark.parametrize("late_s", LATENESS_S)
def test_an_older_value_that_comes_late_never_wins(late_s: float, stale_updates: str, identify_times: str) -> None:
    world = World(fakeredis.FakeStrictRedis(), stale_updates, identify_times=identify_times)

    world.happens(identify(0, plan="pro"), identify(late_s, plan="trial"))

    assert world.attributes() == {"plan": "pro"}


@pytest.mark.parametrize("late_s", LATENESS_S)
def test_the_newest_value_of_each_attribute_wins_when_updates_cross(client: redis.Redis, late_s: float) -> None:
    world = World(client)

    world.happens(identify(0, plan="pro"), identify(late_s, plan="trial", city="Rome"))

    assert world.attributes() == {"plan": "pro", "city": "Rome"}


@pytest.mark.parametrize("late_s", [late_s for late_s in LATENESS_S if late_s < 3600])
def test_no_attribute_is_lost_where_the_service_drops_stale_updates_as_a_whole(late_s: float) -> None:
    world = World(fakeredis.FakeStrictRedis(), "profile")

    world.happens(identify(0, plan="pro"), identify(late_s, plan="trial", city="Rome"))

    assert world.attributes() == {"plan": "pro", "city": "Rome"}


def test_updates_of_different_attributes_that_cross_both_have_their_effect(client: redis.Redis) -> None:
    world = World(client)

    world.happens(identify(0, plan="pro"), identify(2, city="Rome"), identify(1, plan="trial", city="Oslo"))

    assert world.attributes() == {"plan": "pro", "city": "Oslo"}


def test_updates_of_one_second_are_compared_by_the_millisecond(client: redis.Redis) -> None:
    world = World(client)

    world.happens(*(identify(0.9 - tenth / 10, plan=tenth) for tenth in (1, 8, 3, 5)))

    assert world.attributes() == {"plan": 8}


def test_of_equal_times_the_later_accepted_wins(client: redis.Redis) -> None:
    world = World(client)

    world.happens(identify(5, plan="first"), identify(5, plan="second"))

    assert world.attributes() == {"plan": "second"}


def test_a_removed_attribute_stays_removed(client: redis.Redis) -> None:
    world = World(client)

    world.happens(identify(20, plan="pro"), identify(0, plan=None), identify(10, plan="trial"))

    assert world.attributes() == {}


def test_an_event_without_a_time_happened_when_it_was_accepted(client: redis.Redis) -> None:
    world = World(client)
    without = identify(plan="newest")
    del without["timestamp"]

    world.happens(identify(0, plan="pro"), without, identify(0.5, plan="old"))

    assert world.attributes() == {"plan": "newest"}


@pytest.mark.parametrize("identify_times", ["rising", "mapped"])
def test_a_time_from_the_future_makes_no_later_update_look_old(client: redis.Redis, identify_times: str) -> None:
    world = World(client, identify_times=identify_times)
    world.happens(identify(-9 * DAY_S, plan="from the future"))

    world.happens(identify(plan="now") | {"timestamp": datetime.now(UTC).isoformat()})

    assert world.attributes() == {"plan": "now"}
    assert all(body["timestamp"] <= time.time() + 1 for body in world.updates())


def test_a_deletion_from_the_future_makes_no_later_event_disappear(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(5, plan="old"))
    world.happens({"type": "track", "event": "User Deleted", "userId": "jo", "timestamp": at(-9 * DAY_S)})

    world.happens(identify(plan="new") | {"timestamp": datetime.now(UTC).isoformat()})

    assert world.attributes() == {"plan": "new"}


# People and their identifiers


def test_an_update_of_which_nothing_is_left_still_names_its_person(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(0, plan="pro"), identify(9, plan="trial") | {"anonymousId": "visitor"})

    assert world.updates()[-1]["identifiers"] == {"id": "jo"}
    assert world.updates()[-1]["attributes"] == {"anonymous_id": "visitor", "plan": "pro"}, "repeated, not its own"


def test_an_update_of_existing_people_leaves_no_clock_of_a_person_that_may_not_exist(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(0, plan="no effect", _update=True))

    world.happens(identify(30, plan="the first"))
    assert world.attributes() == {"plan": "the first"}

    world.happens(identify(10, plan="of the person", _update=True))
    world.happens(identify(20, plan="late"))
    assert world.attributes() == {"plan": "of the person"}


def test_a_late_lead_does_not_overwrite_the_customer(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(0, email="jo@x.com", plan="customer"))

    world.happens(lead(2, plan="lead", city="Rome"))

    assert world.attributes() == {"plan": "customer", "city": "Rome"}


def test_a_late_customer_does_not_overwrite_the_lead_and_is_the_same_person(client: redis.Redis) -> None:
    world = World(client)
    world.happens(lead(0, plan="lead"))

    world.happens(identify(2, email="jo@x.com", plan="customer", city="Rome"))

    assert world.attributes() == {"plan": "lead", "city": "Rome"}
    assert len(world.service.workspace.people) == 1


def test_a_person_has_the_same_clocks_by_id_and_by_address(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(60, email="jo@x.com"), identify(0, plan="by id"), lead(30, plan="by address"))
    assert world.attributes() == {"plan": "by id"}

    world.happens(lead(0, city="by address"), identify(1, city="by id"))
    assert world.attributes() == {"plan": "by id", "city": "by address"}


def test_the_times_of_a_person_rise_whatever_identifier_names_them(client: redis.Redis) -> None:
    world = World(client)
    by_address = {"userId": "jo@x.com", "type": "identify", "timestamp": at(5)}
    world.happens(identify(60, email="jo@x.com"))

    world.happens(*(identify(5, plan=number) for number in range(5)))
    world.happens(by_address | {"traits": {"plan": "by address"}})
    assert world.attributes() == {"plan": "by address"}

    world.happens(*(by_address | {"traits": {"plan": number}} for number in range(9)))
    world.happens(identify(5, plan="by id"))
    assert world.attributes() == {"plan": "by id"}


def test_a_customer_has_the_clocks_of_the_lead(client: redis.Redis) -> None:
    world = World(client)
    world.happens(lead(10, plan="lead"), identify(5, email="jo@x.com", city="Rome"))

    world.happens(identify(15, plan="late", city="Oslo", seats=1))

    assert world.attributes() == {"plan": "lead", "city": "Rome", "seats": 1}


def test_an_update_by_address_with_another_id_is_about_the_person_who_has_the_address(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(60, email="jo@x.com"))
    world.happens({"type": "identify", "userId": "jo@x.com", "traits": {"id": "b", "plan": "new"}, "timestamp": at(0)})
    world.happens(identify(0, city="Rome"))

    world.happens(identify(10, plan="late"))

    assert world.attributes() == {"plan": "new", "city": "Rome"}


def test_an_older_address_that_comes_late_changes_nothing(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(60, email="old@x.com"))
    world.happens(identify(0, email="new@x.com"))

    world.happens(identify(30, email="old@x.com", city="Rome"))

    person = world.service.workspace.find({"id": "jo"})
    assert person is not None
    assert (person.email, world.attributes()) == ("new@x.com", {"city": "Rome"})
    world.happens(identify(0, email="new@x.com", city="Oslo"))
    assert lanes.stats(world.queue).released_total == 1, "the stale address was no identifier change"


def test_people_who_share_a_visitor_have_clocks_of_their_own(client: redis.Redis) -> None:
    world = World(client)

    kiosk = {"anonymousId": "kiosk"}
    world.happens(identify(0, "al", plan="pro") | kiosk, identify(9, "bo", plan="trial") | kiosk)

    assert (world.attributes("al"), world.attributes("bo")) == ({"plan": "pro"}, {"plan": "trial"})


def test_an_address_that_moves_to_another_person_takes_no_clocks_along(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(5, "al", email="shared@x.com", plan="pro"), identify(60, "bo"))

    world.happens(identify(9, "bo", email="shared@x.com", plan="trial"))

    assert world.attributes("bo")["plan"] == "trial"


def test_a_deleted_person_begins_anew(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(0, plan="before"))
    world.happens({"type": "track", "event": "User Deleted", "userId": "jo", "timestamp": at(30)})

    world.happens(identify(20, plan="after"))

    assert world.attributes() == {"plan": "after"}


def test_updates_of_a_suppressed_person_leave_no_clocks(client: redis.Redis) -> None:
    world = World(client)
    suppression = {"type": "track", "event": "User Suppressed", "userId": "jo", "timestamp": at(60)}
    world.happens(suppression, identify(0, plan="ignored"))
    world.happens(suppression | {"event": "User Unsuppressed", "timestamp": at(40)})

    world.happens(identify(20, plan="after"))

    assert world.attributes() == {"plan": "after"}


# Objects


def group(ago_s: float, user: str = "jo", **attributes: Any) -> Event:
    traits = {"objectAttributes": attributes, "relationshipAttributes": {"role": "owner"}}
    return {"type": "group", "userId": user, "groupId": "acme", "traits": traits, "timestamp": at(ago_s)}


@pytest.mark.parametrize("late_s", LATENESS_S)
def test_an_older_value_of_an_object_that_comes_late_never_wins(client: redis.Redis, late_s: float) -> None:
    world = World(client)

    world.happens(group(0, plan="pro"), group(late_s, "al", plan="trial", city="Rome"), identify(5, plan="of a person"))

    (acme,) = world.service.workspace.objects.json()
    assert acme["attributes"] == {"plan": "pro", "city": "Rome"}
    assert world.attributes() == {"plan": "of a person"}
    people = [world.service.workspace.find({"id": user}) for user in ("jo", "al")]
    assert [len(person.relationships) for person in people if person] == [1, 1]


def test_an_object_changes_no_times_of_people(client: redis.Redis) -> None:
    world = World(client)

    world.happens(group(0, plan="pro"), identify(60, city="Rome"), identify(30, "al", city="Bern", objectId="acme"))

    times = {body["identifiers"]["id"]: body["timestamp"] for body in world.updates() if body["type"] == "person"}
    assert times == {"jo": int(NOW_S - 60), "al": int(NOW_S - 30)}


# Merges


def test_a_late_update_of_a_merged_person_does_not_overwrite_the_primary(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(90, "old", plan="free"), identify(80, plan="pro"))
    world.happens(alias("old", "jo", 30))

    world.happens(identify(85, "old", plan="older than that of the primary"))
    world.happens(identify(50, "old", plan="newer, but the primary had a value at the merge"))
    assert world.attributes() == {"plan": "pro"}

    world.happens(identify(20, "old", plan="after the merge"))
    assert world.attributes() == {"plan": "after the merge"}


def test_the_primary_inherits_clocks(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(60, "old", city="Rome"), identify(90, plan="pro"))
    world.happens(alias("old", "jo", 30))

    world.happens(identify(70, "old", city="Oslo"), identify(70, city="Bern"))
    assert world.attributes() == {"plan": "pro", "city": "Rome"}

    world.happens(identify(40, "old", city="Bonn"))
    assert world.attributes() == {"plan": "pro", "city": "Bonn"}


def test_a_merge_that_is_sent_again_changes_no_clocks(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(60, "old", city="Rome"), identify(90, plan="pro"))
    world.happens(alias("old", "jo", 30))
    (merge,) = (body for body in world.sent if body["action"] == "merge")
    identity_memory.remember(
        world.queue, [identity_memory.Change("merge", merge, int((NOW_S - 30) * 1000))], "email_or_id"
    )

    world.happens(identify(50, "old", city="Bonn"))

    assert world.attributes() == {"plan": "pro", "city": "Bonn"}


def test_a_late_update_of_the_primary_is_compared_with_its_own_values(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(60, "old", plan="of the secondary"), identify(90, plan="of the primary"))
    world.happens(alias("old", "jo", 30))

    world.happens(identify(80, plan="late"))

    assert world.attributes() == {"plan": "late"}


# History


@pytest.mark.parametrize("identify_times", ["rising", "mapped"])
def test_history_does_not_overwrite_what_another_writer_wrote_since(client: redis.Redis, identify_times: str) -> None:
    world = World(client, identify_times=identify_times)
    written = {"type": "person", "action": "identify", "identifiers": {"id": "jo"}, "attributes": {"plan": "pro"}}
    world.service.workspace.apply(written | {"timestamp": NOW_S - DAY_S}, NOW_S - DAY_S)

    world.happens(identify(plan="free", city="Rome") | {"timestamp": "2021-03-04T05:06:07Z"})

    assert world.updates()[-1]["timestamp"] == 1614834367
    assert world.attributes() == {"plan": "pro", "city": "Rome"}


def test_history_after_a_live_update_keeps_its_own_time(client: redis.Redis) -> None:
    world = World(client)
    written = {"type": "person", "action": "identify", "identifiers": {"id": "jo"}, "attributes": {"city": "Oslo"}}
    world.service.workspace.apply(written | {"timestamp": NOW_S - DAY_S}, NOW_S - DAY_S)
    world.happens(identify(0, plan="pro"))

    world.happens(identify(plan="free", city="Rome", seats=1) | {"timestamp": "2021-03-04T05:06:07Z"})

    assert world.updates()[-1]["timestamp"] == 1614834367
    assert world.updates()[-1]["attributes"] == {"city": "Rome", "seats": 1}
    assert world.attributes() == {"plan": "pro", "city": "Oslo", "seats": 1}


def test_live_updates_after_history_are_newer_than_those_before_it(client: redis.Redis) -> None:
    world = World(client)

    world.happens(identify(5, plan="a"), identify(9000, city="Rome"), identify(5, plan="b"))

    live, history, later = (body["timestamp"] for body in world.updates())
    assert (live, later) == (int(NOW_S - 5), int(NOW_S - 5) + 1)
    assert history == int(NOW_S - 9000)


def test_history_comes_in_any_order(client: redis.Redis) -> None:
    world = World(client)

    years = (2020, 2023, 2021, 2022)
    world.happens(
        *(identify(year=year, **{f"y{year}": 1}) | {"timestamp": f"{year}-01-01T00:00:00Z"} for year in years)
    )

    assert world.attributes() == {"year": 2023} | {f"y{year}": 1 for year in years}


def test_a_burst_that_waited_for_hours_has_rising_times(client: redis.Redis) -> None:
    """As where the service was down: the events are old, and newer than all that was sent before them."""
    world = World(client, "profile")

    world.happens(identify(9000, plan="a"), identify(9000, plan="b"), identify(9000.9, city="Rome"))

    assert world.attributes() == {"plan": "b", "city": "Rome"}
    assert [body["timestamp"] - world.updates()[0]["timestamp"] for body in world.updates()] == [0, 1, 2]


def test_an_old_value_that_is_newer_than_the_one_sent_last_wins(client: redis.Redis) -> None:
    """Also when the times of a burst are far ahead of its own."""
    burst = [update(number, "plan", at_ms=number - 9_000_000, ago_s=9000) for number in range(1, 100)]
    last = register(client, *burst).times_s[99]

    newer = update(100, "plan", at_ms=100 - 9_000_000, ago_s=9000)
    other = update(101, "city", at_ms=101 - 9_000_000, ago_s=9000)

    assert register(client, newer).times_s == {100: last + 1}
    assert register(client, other).times_s == {101: other.time_s}


# Recent attributes


def test_a_repeated_attribute_is_the_newest_whatever_identifier_named_its_person(client: redis.Redis) -> None:
    world = World(client, "profile")
    world.happens(identify(60, email="jo@x.com"))

    world.happens(lead(30, plan="by address"), identify(20, plan="by id"), lead(10, city="Rome"))

    assert [body["attributes"].get("plan") for body in world.updates()[1:]] == ["by address", "by id", "by id"]
    assert world.attributes() == {"plan": "by id", "city": "Rome"}


def test_attributes_of_history_are_repeated_by_history_alone(client: redis.Redis) -> None:
    """Their values may be older than those of the service, and would get the time of now."""
    world = World(client)

    world.happens(identify(9000, plan="of the past"), identify(0, city="Rome"), identify(9000, seats=1))

    assert [body["attributes"] for body in world.updates()] == [
        {"plan": "of the past"},
        {"city": "Rome"},
        {"seats": 1, "plan": "of the past"},
    ]


# Any order

NAMED_BY: tuple[dict[str, Any], ...] = (
    {"userId": "jo", "traits": {}},
    {"userId": "jo", "traits": {"email": "jo@x.com"}},
    {"userId": "jo@x.com", "traits": {}},
    {"anonymousId": "v", "traits": {"email": "Jo@x.com"}},
    {"userId": "jo@x.com", "traits": {"id": "jo"}},
)


@pytest.mark.parametrize("stale_updates", ["attribute", "profile"])
@pytest.mark.parametrize("seed", range(20))
def test_the_newest_values_win_in_any_order_of_arrival(seed: int, stale_updates: str) -> None:
    """Claims of any size, some by workers that are killed before they settle."""
    dice, world = random.Random(seed), World(fakeredis.FakeStrictRedis(), stale_updates)
    first = identify(2000, email="jo@x.com", plan=-1)
    updates = [first, *(random_update(dice, number) for number in range(30))]
    lanes.append(world.queue, [world.pipeline.entry(event) for event in world.stored(*updates)])

    while lanes.stats(world.queue).waiting:
        limits = {"max_events": dice.randint(1, 12), "max_depth": dice.randint(0, 8)}
        if dice.random() < 0.4:
            with crashing(world, **limits):
                world.applies()
        deliver_one(world.queue, world.pipeline.destination, world.pipeline.send, **limits)
    world.applies()

    expected: dict[str, tuple[str, Any]] = {}
    for event in updates:
        for name, value in event["traits"].items():
            if name not in ("id", "email") and event["timestamp"] >= expected.get(name, ("", 0))[0]:
                expected[name] = event["timestamp"], value
    assert world.attributes() == {name: value for name, (_, value) in expected.items()}
    assert len(world.service.workspace.people) == 1


def random_update(dice: random.Random, number: int) -> Event:
    names = ("plan", "city", "seats", f"n{number % 10}", f"m{number}")
    attributes = {name: number for name in names if dice.random() < 0.5}
    named = dice.choice(NAMED_BY)
    ago_s = dice.choice([0.1, 0.2, 0.2, 0.3, 1, 2, 600, 1000]) * dice.choice([1, 1.5])
    if len(named) + len(named["traits"]) == 2:  # it may share no key with one of the same time
        ago_s += (number + 1) / 1000
    return {"type": "identify", "timestamp": at(ago_s), **named, "traits": named["traits"] | attributes}


# Sending again


def crossing() -> list[Event]:
    return [
        identify(10, plan="a", city="Rome"),
        identify(20, plan="older", city="Oslo", seats=1),
        identify(0, plan="b", city="Bern"),
        identify(9000, plan="oldest", colour="red"),
    ]


class Crashed(BaseException):
    """The worker was killed."""


@contextmanager
def crashing(world: World, **limits: int) -> Iterator[None]:
    """Deliver a claim by a worker that is killed between the responses and the settlement; then its lease ends."""

    def crash() -> None:
        raise Crashed

    with pytest.raises(Crashed):
        deliver_one(world.queue, world.pipeline.destination, world.pipeline.send, before_settling=crash, **limits)
    yield
    claims = keys.CLAIMS.of(QUEUE)
    world.client.zadd(claims, dict.fromkeys(world.client.zrange(claims, 0, -1), 0))
    lanes.reap(world.queue)


def test_what_is_sent_again_after_a_crash_is_the_same(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the values that later events of the claim have made old by then."""
    monkeypatch.setattr(claim, "SETTLE_WITHIN_S", 60)
    world = World(client)
    lanes.append(world.queue, [world.pipeline.entry(event) for event in world.stored(*crossing())])
    with crashing(world):
        first = [(body["timestamp"], own(body)) for body in world.updates()]
    again = len(first)

    world.happens(identify(5, plan="c", city="Bonn"))

    assert [(body["timestamp"], own(body)) for body in world.updates()[again:-1]] == first
    assert world.attributes() == {"plan": "b", "city": "Bern", "seats": 1, "colour": "red"}


def own(body: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of the update, without those that are repeated, which may differ."""
    names = {"a": {"plan", "city"}, "b": {"plan", "city"}}.get(body["attributes"].get("plan", ""), {"seats", "colour"})
    return {name: value for name, value in body["attributes"].items() if name in names}


def test_an_update_that_failed_is_sent_again_with_the_same_bytes(client: redis.Redis) -> None:
    world = World(client)
    responses: list[Outcome] = [RetryLater("HTTP 503", Response(503, "")) for _ in range(8)]
    world.refuses = lambda body: responses.pop() if "seats" in body["attributes"] and responses else None

    world.happens(*crossing()[:3])

    tries = [body for body in world.updates() if "seats" in body["attributes"] and "plan" not in body["attributes"]]
    assert len(tries) == 9
    assert all(body == tries[0] for body in tries)
    assert world.attributes() == {"plan": "b", "city": "Bern", "seats": 1}


def test_an_update_that_is_mapped_otherwise_when_it_is_sent_again_is_compared_anew(client: redis.Redis) -> None:
    updates = [update(1, "plan", at_ms=20), update(2, "plan", "city", at_ms=10)]
    assert register(client, *updates).kept == {2: b"01"}

    assert register(client, update(2, "city", "plan", "seats", at_ms=10)).kept == {2: b"101"}


@pytest.mark.parametrize("mode", ["mapped", "as_recorded"])
@pytest.mark.parametrize("ago_s", [30, 9000])
def test_an_old_dead_letter_brings_no_stale_value_back(client: redis.Redis, ago_s: float, mode: replays.Mode) -> None:
    world = World(client)
    world.refuses = lambda body: (
        Rejected("attributes.plan: no", Response(207, "{}", 0))
        if body.get("attributes", {}).get("plan") == "refused"
        else None
    )
    events = (identify(ago_s + 1, city="Rome"), identify(ago_s, plan="refused", seats=1))
    entries = [world.pipeline.entry(event) for event in world.stored(*events)]
    lanes.append(world.queue, entries)
    deliver_one(world.queue, world.pipeline.destination, world.pipeline.send)
    world.applies()
    (buried,) = query.matching(world.queue, Filter())
    assert buried.failure.faults[0].request is not None
    assert "city" not in buried.failure.faults[0].request["attributes"], "repeated attributes are not recorded"

    live = world.stored(identify(0, plan="pro", city="Oslo"))
    lanes.append(world.queue, [world.pipeline.entry(event) for event in live])
    deliver_one(world.queue, world.pipeline.destination, world.pipeline.send)
    world.refuses = lambda _: None
    replay(world, mode)
    world.happens()

    assert world.attributes() == {"plan": "pro", "city": "Oslo", "seats": 1}


@pytest.mark.parametrize("mode", ["mapped", "as_recorded"])
def test_a_dead_letter_that_is_older_than_the_memory_keeps_its_own_time(
    client: redis.Redis, mode: replays.Mode
) -> None:
    world = World(client)
    world.refuses = lambda body: (
        Rejected("no", Response(207, "{}", 0)) if body["attributes"]["plan"] == "refused" else None
    )
    lanes.append(world.queue, [world.pipeline.entry(*world.stored(identify(9000, plan="refused")))])
    deliver_one(world.queue, world.pipeline.destination, world.pipeline.send)
    lanes.append(world.queue, [world.pipeline.entry(*world.stored(identify(60, plan="pro")))])
    deliver_one(world.queue, world.pipeline.destination, world.pipeline.send)
    world.applies()
    for key in (keys.IDENTIFIED, keys.ATTRIBUTE_CLOCKS, keys.RECENT_ATTRIBUTES):
        for name in client.keys(key.of(QUEUE, "*")):
            client.delete(name)
    world.refuses = lambda _: None

    replay(world, mode)
    world.happens()

    assert world.updates()[-1]["timestamp"] == int(NOW_S - 9000)
    assert world.attributes() == {"plan": "pro"}


def replay(world: World, mode: replays.Mode) -> None:
    begun = replays.begin(world.queue, Filter(), who="jo@here", per_s=1000, mode=mode)
    context = ReplayContext(lambda _: None, lambda _: None)
    while replays.step(world.queue, begun.id, world.pipeline.destination, context):
        pass
    ended = replays.read(world.queue, begun.id)
    assert ended is not None
    assert ended.done == 1


# The memory


def update(sequence: int, *names: str, at_ms: int = 0, person: str = "id:jo", ago_s: int = 0) -> Update:
    now_s = int(NOW_S)
    body = {"identifiers": {"id": person.removeprefix("id:")}, "attributes": dict.fromkeys(names, 1)}
    owned = (lanes.digest(person),)
    described = attribute_clocks.described(body, identifiers(body, "email_or_id"), owned, now_s * 1000 + at_ms)
    return Update(sequence, now_s - ago_s, now_s, owned, described=(described,))


def register(client: redis.Redis, *updates: Update) -> Identities:
    return identity_memory.register(queue_of(client, QUEUE, cooldown_ms=5000), (), updates, "email_or_id")


def stored(client: redis.Redis) -> dict[bytes, bytes]:
    return {
        field: value
        for name in client.keys(keys.ATTRIBUTE_CLOCKS.of(QUEUE, "*"))
        for field, value in client.hgetall(name).items()
    }


def test_a_person_has_one_field_of_a_few_bytes_an_attribute_for_two_hours(client: redis.Redis) -> None:
    register(client, update(1, "plan", "city", "seats"), update(2, "plan", at_ms=1))

    assert {field: len(value) for field, value in stored(client).items()} == {lanes.digest("id:jo"): 3 * 5 + 2 * 7}
    (name,) = client.keys(keys.ATTRIBUTE_CLOCKS.of(QUEUE, "*"))
    assert 0 < client.ttl(name) <= 4 * 3600


def test_of_too_many_attributes_those_with_the_latest_times_are_remembered(client: redis.Redis) -> None:
    register(client, *(update(n, *(f"n{n}-{i}" for i in range(100)), at_ms=n) for n in (2, 1, 4, 3)))

    assert [len(value) for value in stored(client).values()] == [300 * 5 + 3 * 7]
    late = [update(10 + n, f"n{n}-0", at_ms=-1) for n in (1, 2, 3, 4)]
    assert register(client, *late).kept == {12: b"0", 13: b"0", 14: b"0"}


def test_clocks_of_the_generation_before_count(client: redis.Redis) -> None:
    register(client, update(1, "plan", at_ms=10))
    (name,) = client.keys(keys.ATTRIBUTE_CLOCKS.of(QUEUE, "*"))
    prefix, _, generation = name.decode().rpartition(":")
    client.rename(name, f"{prefix}:{int(generation) - 1}")

    assert register(client, update(2, "plan", at_ms=5)).kept == {2: b"0"}


def test_an_update_that_waits_for_its_cooldown_leaves_no_clock(client: redis.Redis) -> None:
    world = World(client)
    world.happens(identify(60, email="1@x.com"))
    lanes.append(world.queue, [world.pipeline.entry(*world.stored(identify(5, email="2@x.com", plan="pro")))])
    before = stored(client)

    deliver_one(world.queue, world.pipeline.destination, world.pipeline.send)

    assert lanes.stats(world.queue).released_total == 1
    assert stored(client) == before
