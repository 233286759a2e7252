"""What is remembered of people: merges, deletions, the time of the last update, and which names belong together."""

from __future__ import annotations

import time
from typing import Any

import fakeredis
import pytest
import redis

from delivery import identifier_changes, identity_memory
from delivery.identity_memory import Known, Update
from lanes import digest
from lanes.keys import base
from tests.queues import queue_of

QUEUE = "journeys"
DAY = 86_400
NOW = int(time.time())


@pytest.fixture(params=["fakeredis", "server"])
def client(request: pytest.FixtureRequest) -> redis.Redis:
    if request.param == "fakeredis":
        return fakeredis.FakeStrictRedis()
    return request.getfixturevalue("redis_client")


def merge(secondary: dict[str, str], primary: dict[str, str]) -> dict[str, Any]:
    return {"type": "person", "action": "merge", "primary": primary, "secondary": secondary}


def person(action: str, **identifiers: str) -> dict[str, Any]:
    return {"type": "person", "action": action, "identifiers": identifiers}


def remember(client: redis.Redis, *bodies: dict[str, Any], at_ms: int = 0) -> None:
    changes = [(body["action"], body, at_ms) for body in bodies]
    identity_memory.remember(queue_of(client, QUEUE, cooldown_ms=5000), changes)


def known(client: redis.Redis, *bodies: dict[str, Any], updates: tuple[Update, ...] = ()) -> Known:
    named = [key for body in bodies for key in identity_memory.named_in(body)]
    return identity_memory.look_up(queue_of(client, QUEUE, cooldown_ms=5000), named, updates)


def update(sequence: int, time_s: int, *lanes: str, latest_s: int = NOW) -> Update:
    return Update(sequence, time_s, latest_s, tuple(map(digest, lanes)))


def test_who_was_merged_away_is_the_one_who_remains(client: redis.Redis) -> None:
    remember(client, merge({"id": "old"}, {"id": "new"}))

    event = person("event", id="old")

    assert known(client, event).who(event["identifiers"]) == {"id": "new"}
    assert known(client, person("event", id="other")).merged == {}


def test_chains_of_merges_are_followed_to_their_end(client: redis.Redis) -> None:
    remember(client, merge({"email": "A@x.com"}, {"id": "b"}), merge({"id": "b"}, {"id": "c"}))

    assert known(client, person("event", email="a@X.com")).merged == {"email:a@x.com": {"id": "c"}}


def test_a_merge_back_undoes_the_one_before(client: redis.Redis) -> None:
    remember(client, merge({"id": "a"}, {"id": "b"}), merge({"id": "b"}, {"id": "a"}))

    assert known(client, person("event", id="a"), person("event", id="b")).merged == {"id:b": {"id": "a"}}


def test_people_in_relationships_are_looked_up_as_well(client: redis.Redis) -> None:
    remember(client, merge({"id": "old"}, {"id": "new"}))
    joined = {"type": "object", "action": "identify", "cio_relationships": [{"identifiers": {"id": "old"}}]}

    assert known(client, joined).merged == {"id:old": {"id": "new"}}


def test_deletions_are_remembered_until_the_person_is_unsuppressed(client: redis.Redis) -> None:
    remember(client, person("delete", id="a"), person("suppress", id="b"), at_ms=5)
    assert known(client, person("event", id="a"), person("event", id="b")).deleted_ms == {"id:a": 5, "id:b": 5}

    remember(client, person("unsuppress", id="b"))
    assert known(client, person("event", id="b")).deleted_ms == {}


def test_an_update_is_never_given_the_time_of_one_before_it(client: redis.Redis) -> None:
    times = known(
        client,
        updates=(
            update(1, NOW - 50, "id:a", "email:a"),
            update(2, NOW - 90, "email:a"),
            update(3, NOW - 49, "id:a"),
            update(4, NOW - 90, "id:b"),
        ),
    ).times_s

    assert times == {1: NOW - 50, 2: NOW - 49, 3: NOW - 49, 4: NOW - 90}


def test_the_same_event_gets_the_same_time_again(client: redis.Redis) -> None:
    first = known(client, updates=(update(1, NOW, "id:a"), update(2, NOW, "id:a"))).times_s

    assert known(client, updates=(update(2, NOW, "id:a"),)).times_s == {2: first[2]}


def test_events_that_are_sent_again_together_get_the_same_times_again(client: redis.Redis) -> None:
    """Their worker died when all were sent: with new times the first would look newer than the last."""
    chain = [update(1, NOW, "id:a"), update(2, NOW, "id:a", "id:b"), update(3, NOW, "id:b")]

    assert known(client, updates=tuple(chain[:1])).times_s == {1: NOW}
    first = known(client, updates=tuple(chain)).times_s
    again = known(client, updates=(*chain, update(4, NOW, "id:b"))).times_s

    assert first == {1: NOW, 2: NOW + 1, 3: NOW + 2}
    assert again == first | {4: NOW + 3}


def test_many_updates_at_once_run_ahead_of_now_by_an_hour_and_no_more(client: redis.Redis) -> None:
    """What runs ahead for longer than it is remembered would make the next update look older, and lost."""
    now = int(time.time())

    times = known(client, updates=tuple(update(n, now, "id:a", latest_s=now) for n in range(1, 4000))).times_s

    assert [times[n] - now for n in (1, 2, 3600)] == [0, 1, 3599]
    assert times[3999] <= time.time() + 3600


def test_a_clock_that_is_ahead_is_not_believed(client: redis.Redis) -> None:
    assert known(client, updates=(update(1, NOW + 9999, "id:a", latest_s=NOW),)).times_s == {1: NOW}


def test_an_update_that_comes_very_late_is_given_a_time_of_an_hour_ago(client: redis.Redis) -> None:
    (time_s,) = known(client, updates=(update(1, 5, "id:a"),)).times_s.values()

    assert abs(time_s - (time.time() - 3600)) < 60


def identify(
    sequence: int, identifiers: dict[str, str], attributes: dict[str, Any] | None = None, also: tuple[str, ...] = ()
) -> Update:
    """An update as it is drafted: with the lanes of its names, and others."""
    body = person("identify", **identifiers) | {"attributes": attributes or {}}
    kinds = ("id", "cio_id", "email", "anonymous_id")
    named = {kind: value for kind, value in ((attributes or {}) | identifiers).items() if kind in kinds}
    lanes = (*(digest(f"{kind}:{value}") for kind, value in named.items()), *map(digest, also))
    return Update(
        sequence,
        NOW - 50,
        NOW,
        lanes,
        tuple(identifier_changes.given(body, lanes)),
        identifier_changes.updates_only(body),
    )


ADDRESS_OF_A = ({"id": "a"}, {"email": "a@x"})

# What is sent first, and what changes names then.
CHANGES = {
    "another address": [ADDRESS_OF_A, ({"id": "a"}, {"email": "new@x"})],
    "an address of another": [ADDRESS_OF_A, ({"id": "b"}, {"email": "a@x"})],
    "a lead becomes a customer": [({"email": "a@x"}, {}), ADDRESS_OF_A],
    "a lead is given an id": [({"email": "a@x"}, {}), ({"email": "a@x"}, {"id": "a"})],
    "somebody turns out to be two": [({"id": "a"}, {}), ({"email": "a@x"}, {}), ADDRESS_OF_A],
    "an id of another address": [ADDRESS_OF_A, ({"email": "b@x"}, {"id": "a"})],
    "an address by cio_id": [ADDRESS_OF_A, ({"cio_id": "f1"}, {"email": "a@x"})],
    "another visitor": [({"id": "a"}, {"anonymous_id": "v"}), ({"id": "b"}, {"anonymous_id": "v"})],
    "update only": [({"id": "a"}, {}), ({"id": "a"}, {"_update": True})],
    "not update only any more": [({"id": "a"}, {"_update": True}), ({"id": "a"}, {})],
}
SAME = {
    "the same again": [ADDRESS_OF_A, ADDRESS_OF_A],
    "by id alone": [ADDRESS_OF_A, ({"id": "a"}, {}), ADDRESS_OF_A],
    "by address alone": [ADDRESS_OF_A, ({"email": "a@x"}, {}), ADDRESS_OF_A],
    "a first address": [({"id": "a"}, {}), ADDRESS_OF_A],
    "the other way round": [ADDRESS_OF_A, ({"email": "a@x"}, {"id": "a"})],
    "a second device": [({"id": "a"}, {"anonymous_id": "v"}), ({"id": "a"}, {"anonymous_id": "w"})],
    "a visitor with more names": [
        ({"email": "a@x"}, {"id": "a", "anonymous_id": "v"}),
        ({"id": "a"}, {"email": "a@x", "anonymous_id": "v"}),
    ],
    "update only again": [({"id": "a"}, {"_update": True}), ({"id": "a"}, {"_update": True})],
}


@pytest.mark.parametrize("told", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("at_once", [True, False])
def test_an_update_that_changes_names_is_told_and_nothing_is_kept_of_it(
    client: redis.Redis, told: list[Any], at_once: bool
) -> None:
    *before, change = (identify(number, *one) for number, one in enumerate(told, 1))

    if at_once:
        looked_up = known(client, updates=(*before, change))
    else:
        for one in before:
            assert known(client, updates=(one,)).changing == frozenset()
        looked_up = known(client, updates=(change,))

    assert looked_up.changing == {change.sequence}
    assert change.sequence not in looked_up.times_s
    assert known(client, updates=(change,)).changing == {change.sequence}


@pytest.mark.parametrize("told", SAME.values(), ids=SAME)
def test_an_update_that_says_again_who_is_who_changes_no_names(client: redis.Redis, told: list[Any]) -> None:
    updates = tuple(identify(number, *one) for number, one in enumerate(told, 1))

    looked_up = known(client, updates=updates)

    assert looked_up.changing == frozenset()
    assert looked_up.times_s.keys() == {one.sequence for one in updates}


def test_what_is_behind_a_change_of_names_has_no_time_before_it(client: redis.Redis) -> None:
    """It would be older than the change, which comes again later."""
    updates = (
        identify(1, *ADDRESS_OF_A),
        identify(2, {"id": "a"}, {"email": "new@x"}),
        identify(3, {"id": "a"}, {"anonymous_id": "v"}),
        identify(4, {"id": "b"}, {"anonymous_id": "v"}),
        identify(5, {"id": "c"}),
    )

    looked_up = known(client, updates=updates)

    assert (looked_up.changing, looked_up.times_s.keys()) == ({2}, {1, 5})
    hold(client, 2)
    looked_up = known(client, updates=updates[1:3])
    assert (looked_up.changing, looked_up.times_s) == (frozenset(), {2: NOW - 49, 3: NOW - 48})


def test_a_change_of_names_that_has_its_distance_is_remembered(client: redis.Redis) -> None:
    change = identify(2, {"id": "a"}, {"email": "new@x"})
    known(client, updates=(identify(1, *ADDRESS_OF_A),))
    hold(client, 2)

    assert known(client, updates=(change,)).times_s == {2: NOW - 49}

    client.delete(f"{base(QUEUE)}:cooldown")
    assert known(client, updates=(change, identify(3, {"id": "a"}, {"email": "new@x"}))).changing == frozenset()
    assert known(client, updates=(identify(4, *ADDRESS_OF_A),)).changing == {4}


def test_of_the_claims_of_a_shared_visitor_only_the_second_keeps_a_distance(client: redis.Redis) -> None:
    """The first was applied by then, and no later one counts: a kiosk is no hot spot."""
    hold(client, 2)
    claims = [
        identify(number, {"id": f"user {number}"}, {"anonymous_id": "kiosk", "_update": number % 2 == 0})
        for number in range(1, 6)
    ]

    assert known(client, updates=tuple(claims)).changing == frozenset()


def test_names_that_are_ignored_as_keys_change_nothing(client: redis.Redis) -> None:
    """An address that everybody has would make a single file of everybody."""
    claims = []
    for number in range(3):
        lanes = (digest(f"id:user {number}"),)
        body = person("identify", id=f"user {number}") | {"attributes": {"email": "all@x", "anonymous_id": "kiosk"}}
        claims.append(Update(number, NOW, NOW, lanes, tuple(identifier_changes.given(body, lanes))))

    assert known(client, updates=tuple(claims)).changing == frozenset()


def test_the_other_lanes_of_an_event_say_nothing_of_names(client: redis.Redis) -> None:
    """People who update a common object, some of them only where they exist."""
    updates = [
        identify(number, {"id": f"user {number}"}, {"_update": number % 2 == 0}, also=("object:1:acme",))
        for number in range(4)
    ]

    assert known(client, updates=tuple(updates)).changing == frozenset()


def test_where_nothing_keeps_a_distance_changes_of_names_go_on(client: redis.Redis) -> None:
    updates = (identify(1, *ADDRESS_OF_A), identify(2, {"id": "a"}, {"email": "new@x"}))

    looked_up = identity_memory.look_up(queue_of(client, QUEUE), (), updates)

    assert (looked_up.changing, looked_up.times_s.keys()) == (frozenset(), {1, 2})


def hold(client: redis.Redis, sequence: int) -> None:
    client.hset(f"{base(QUEUE)}:cooldown", str(sequence), 5000)
