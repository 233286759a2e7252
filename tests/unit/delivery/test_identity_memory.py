"""What is remembered of identities: merges, deletions, times of updates, and which identifiers belong together."""

from __future__ import annotations

import time
from typing import Any

import fakeredis
import pytest
import redis

from delivery import identifier_changes, identity_memory
from delivery.identity_memory import Identities, Update
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
    changes = [identity_memory.Change(body["action"], body, at_ms) for body in bodies]
    identity_memory.remember(queue_of(client, QUEUE, cooldown_ms=5000), changes, "email_or_id")


def register(client: redis.Redis, *bodies: dict[str, Any], updates: tuple[Update, ...] = ()) -> Identities:
    named = [key for body in bodies for key in identity_memory.named_in(body, "email_or_id")]
    return identity_memory.register(queue_of(client, QUEUE, cooldown_ms=5000), named, updates, "email_or_id")


def update(sequence: int, time_s: int, *keys: str, latest_s: int = NOW) -> Update:
    return Update(sequence, time_s, latest_s, tuple(map(digest, keys)))


def test_a_merged_person_has_the_identifiers_of_the_primary(client: redis.Redis) -> None:
    remember(client, merge({"id": "old"}, {"id": "new"}))

    event = person("event", id="old")

    assert register(client, event).current(event["identifiers"]) == {"id": "new"}
    assert register(client, person("event", id="other")).merged == {}


def test_a_chain_of_merges_is_followed_to_its_end(client: redis.Redis) -> None:
    remember(client, merge({"email": "A@x.com"}, {"id": "b"}), merge({"id": "b"}, {"id": "c"}))

    assert register(client, person("event", email="a@X.com")).merged == {"email:a@x.com": {"id": "c"}}


def test_a_merge_in_the_other_direction_replaces_the_one_before(client: redis.Redis) -> None:
    remember(client, merge({"id": "a"}, {"id": "b"}), merge({"id": "b"}, {"id": "a"}))

    assert register(client, person("event", id="a"), person("event", id="b")).merged == {"id:b": {"id": "a"}}


def test_people_in_relationships_are_identities_as_well(client: redis.Redis) -> None:
    remember(client, merge({"id": "old"}, {"id": "new"}))
    joined = {"type": "object", "action": "identify", "cio_relationships": [{"identifiers": {"id": "old"}}]}

    assert register(client, joined).merged == {"id:old": {"id": "new"}}


def test_a_deletion_is_remembered_until_the_person_is_unsuppressed(client: redis.Redis) -> None:
    remember(client, person("delete", id="a"), person("suppress", id="b"), at_ms=5)
    assert register(client, person("event", id="a"), person("event", id="b")).deleted_ms == {"id:a": 5, "id:b": 5}

    remember(client, person("unsuppress", id="b"))
    assert register(client, person("event", id="b")).deleted_ms == {}


def test_an_update_has_a_later_time_than_the_updates_before_it(client: redis.Redis) -> None:
    times = register(
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
    first = register(client, updates=(update(1, NOW, "id:a"), update(2, NOW, "id:a"))).times_s

    assert register(client, updates=(update(2, NOW, "id:a"),)).times_s == {2: first[2]}


def test_events_that_are_sent_again_together_get_the_same_times_again(client: redis.Redis) -> None:
    """Their worker crashed after it had sent them: with new times the first would look newer than the last."""
    chain = [update(1, NOW, "id:a"), update(2, NOW, "id:a", "id:b"), update(3, NOW, "id:b")]

    assert register(client, updates=tuple(chain[:1])).times_s == {1: NOW}
    first = register(client, updates=tuple(chain)).times_s
    again = register(client, updates=(*chain, update(4, NOW, "id:b"))).times_s

    assert first == {1: NOW, 2: NOW + 1, 3: NOW + 2}
    assert again == first | {4: NOW + 3}


def test_many_updates_at_once_are_at_most_an_hour_ahead_of_now(client: redis.Redis) -> None:
    """A time further ahead than it is remembered would make the next update look older, and it would be lost."""
    now = int(time.time())

    times = register(client, updates=tuple(update(n, now, "id:a", latest_s=now) for n in range(1, 4000))).times_s

    assert [times[n] - now for n in (1, 2, 3600)] == [0, 1, 3599]
    assert times[3999] <= time.time() + 3600


def test_a_time_after_the_acceptance_of_the_event_is_not_believed(client: redis.Redis) -> None:
    assert register(client, updates=(update(1, NOW + 9999, "id:a", latest_s=NOW),)).times_s == {1: NOW}


def test_a_very_late_update_keeps_its_own_time(client: redis.Redis) -> None:
    """The service may have newer values, and keeps them. So does the memory of the last update."""
    updates = (update(1, NOW - 50, "id:a"), update(2, 5, "id:a"), update(3, NOW - 50, "id:a"))

    assert register(client, updates=updates).times_s == {1: NOW - 50, 2: 5, 3: NOW - 49}
    assert register(client, updates=updates).times_s == {1: NOW - 50, 2: 5, 3: NOW - 49}


def identify(
    sequence: int, identifiers: dict[str, str], attributes: dict[str, Any] | None = None, also: tuple[str, ...] = ()
) -> Update:
    """Return an update that has the ordering keys of its identifiers, and `also` others."""
    body = person("identify", **identifiers) | {"attributes": attributes or {}}
    kinds = ("id", "cio_id", "email", "anonymous_id")
    named = {kind: value for kind, value in ((attributes or {}) | identifiers).items() if kind in kinds}
    keys = (*(digest(f"{kind}:{value}") for kind, value in named.items()), *map(digest, also))
    return Update(
        sequence,
        NOW - 50,
        NOW,
        keys,
        tuple(identifier_changes.partners(identifier_changes.identifiers(body, "email_or_id"), keys)),
        identifier_changes.updates_only(body),
    )


ADDRESS_OF_A = ({"id": "a"}, {"email": "a@x"})

# What is sent first, and the update that changes identifiers then.
CHANGES = {
    "another address": [ADDRESS_OF_A, ({"id": "a"}, {"email": "new@x"})],
    "an address of another person": [ADDRESS_OF_A, ({"id": "b"}, {"email": "a@x"})],
    "a lead becomes a customer": [({"email": "a@x"}, {}), ADDRESS_OF_A],
    "a lead is given an id": [({"email": "a@x"}, {}), ({"email": "a@x"}, {"id": "a"})],
    "two people turn out to be one": [({"id": "a"}, {}), ({"email": "a@x"}, {}), ADDRESS_OF_A],
    "an id of another address": [ADDRESS_OF_A, ({"email": "b@x"}, {"id": "a"})],
    "an address by cio_id": [ADDRESS_OF_A, ({"cio_id": "f1"}, {"email": "a@x"})],
    "another visitor": [({"id": "a"}, {"anonymous_id": "v"}), ({"id": "b"}, {"anonymous_id": "v"})],
    "update only": [({"id": "a"}, {}), ({"id": "a"}, {"_update": True})],
    "no longer update only": [({"id": "a"}, {"_update": True}), ({"id": "a"}, {})],
}
SAME = {
    "the same again": [ADDRESS_OF_A, ADDRESS_OF_A],
    "by id alone": [ADDRESS_OF_A, ({"id": "a"}, {}), ADDRESS_OF_A],
    "by address alone": [ADDRESS_OF_A, ({"email": "a@x"}, {}), ADDRESS_OF_A],
    "a first address": [({"id": "a"}, {}), ADDRESS_OF_A],
    "the same by address": [ADDRESS_OF_A, ({"email": "a@x"}, {"id": "a"})],
    "a second device": [({"id": "a"}, {"anonymous_id": "v"}), ({"id": "a"}, {"anonymous_id": "w"})],
    "a visitor with more identifiers": [
        ({"email": "a@x"}, {"id": "a", "anonymous_id": "v"}),
        ({"id": "a"}, {"email": "a@x", "anonymous_id": "v"}),
    ],
    "update only again": [({"id": "a"}, {"_update": True}), ({"id": "a"}, {"_update": True})],
}


@pytest.mark.parametrize("sent", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("at_once", [True, False])
def test_an_update_that_changes_identifiers_is_returned_and_not_recorded(
    client: redis.Redis, sent: list[Any], at_once: bool
) -> None:
    *before, change = (identify(number, *arguments) for number, arguments in enumerate(sent, 1))

    if at_once:
        identities = register(client, updates=(*before, change))
    else:
        for earlier in before:
            assert register(client, updates=(earlier,)).changing == frozenset()
        identities = register(client, updates=(change,))

    assert identities.changing == {change.sequence}
    assert change.sequence not in identities.times_s
    assert register(client, updates=(change,)).changing == {change.sequence}


@pytest.mark.parametrize("sent", SAME.values(), ids=SAME)
def test_an_update_that_repeats_identifiers_changes_none(client: redis.Redis, sent: list[Any]) -> None:
    updates = tuple(identify(number, *arguments) for number, arguments in enumerate(sent, 1))

    identities = register(client, updates=updates)

    assert identities.changing == frozenset()
    assert identities.times_s.keys() == {update.sequence for update in updates}


def test_an_update_that_follows_a_change_of_identifiers_has_no_time_yet(client: redis.Redis) -> None:
    """It would be older than the change, which is delivered later."""
    updates = (
        identify(1, *ADDRESS_OF_A),
        identify(2, {"id": "a"}, {"email": "new@x"}),
        identify(3, {"id": "a"}, {"anonymous_id": "v"}),
        identify(4, {"id": "b"}, {"anonymous_id": "v"}),
        identify(5, {"id": "c"}),
    )

    identities = register(client, updates=updates)

    assert (identities.changing, identities.times_s.keys()) == ({2}, {1, 5})
    give_cooldown(client, 2)
    identities = register(client, updates=updates[1:3])
    assert (identities.changing, identities.times_s) == (frozenset(), {2: NOW - 49, 3: NOW - 48})


def test_a_change_of_identifiers_that_has_its_cooldown_is_recorded(client: redis.Redis) -> None:
    change = identify(2, {"id": "a"}, {"email": "new@x"})
    register(client, updates=(identify(1, *ADDRESS_OF_A),))
    give_cooldown(client, 2)

    assert register(client, updates=(change,)).times_s == {2: NOW - 49}

    client.delete(f"{base(QUEUE)}:cooldown")
    assert register(client, updates=(change, identify(3, {"id": "a"}, {"email": "new@x"}))).changing == frozenset()
    assert register(client, updates=(identify(4, *ADDRESS_OF_A),)).changing == {4}


def test_of_the_claims_of_a_shared_visitor_only_the_second_needs_a_cooldown(client: redis.Redis) -> None:
    """The first was applied by then, and no later one has an effect: a kiosk does not slow its visitors down."""
    give_cooldown(client, 2)
    claims = [
        identify(number, {"id": f"user {number}"}, {"anonymous_id": "kiosk", "_update": number % 2 == 0})
        for number in range(1, 6)
    ]

    assert register(client, updates=tuple(claims)).changing == frozenset()


def test_identifiers_that_are_ignored_keys_change_nothing(client: redis.Redis) -> None:
    """An address that all people share would put all of them into one lane."""
    claims = []
    for number in range(3):
        keys = (digest(f"id:user {number}"),)
        body = person("identify", id=f"user {number}") | {"attributes": {"email": "all@x", "anonymous_id": "kiosk"}}
        claims.append(
            Update(
                number,
                NOW,
                NOW,
                keys,
                tuple(identifier_changes.partners(identifier_changes.identifiers(body, "email_or_id"), keys)),
            )
        )

    assert register(client, updates=tuple(claims)).changing == frozenset()


def test_the_other_keys_of_an_event_say_nothing_of_identifiers(client: redis.Redis) -> None:
    """People who update a common object, some of them only where they exist."""
    updates = [
        identify(number, {"id": f"user {number}"}, {"_update": number % 2 == 0}, also=("object:1:acme",))
        for number in range(4)
    ]

    assert register(client, updates=tuple(updates)).changing == frozenset()


def test_a_queue_without_a_cooldown_lets_changes_of_identifiers_pass(client: redis.Redis) -> None:
    updates = (identify(1, *ADDRESS_OF_A), identify(2, {"id": "a"}, {"email": "new@x"}))

    identities = identity_memory.register(queue_of(client, QUEUE), (), updates, "email_or_id")

    assert (identities.changing, identities.times_s.keys()) == (frozenset(), {1, 2})


def give_cooldown(client: redis.Redis, sequence: int) -> None:
    client.hset(f"{base(QUEUE)}:cooldown", str(sequence), 5000)


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        ({"identifiers": {"email": "Jo@Example.com"}}, ["id:Jo@Example.com"]),
        ({"identifiers": {"id": "Jo"}}, ["id:Jo"]),
        ({"primary": {"email": "A@x.com"}, "secondary": {"cio_id": "af"}}, ["id:A@x.com", "cio_id:af"]),
        ({"cio_relationships": [{"identifiers": {"email": "A@x.com"}}]}, ["id:A@x.com"]),
    ],
)
def test_an_address_is_an_id_where_email_is_no_identifier(body: dict[str, Any], keys: list[str]) -> None:
    """Customer.io takes it as one, and an id is case-sensitive: so it is the ordering key."""
    assert identity_memory.named_in(body, "id") == keys
    named = identifier_changes.identifiers(body | {"attributes": {"email": "trait@x.com"}}, "id")
    assert named.email is None
    if "identifiers" in body:
        assert named.person == digest(keys[0])


def test_people_whose_ids_differ_in_case_are_two_where_email_is_no_identifier(client: redis.Redis) -> None:
    queue, body = queue_of(client, QUEUE), merge({"email": "A@x.com"}, {"id": "b"})
    identity_memory.remember(queue, [identity_memory.Change("merge", body, 0)], "id")

    found = identity_memory.register(queue, ["id:A@x.com", "id:a@x.com"], (), "id")

    assert found.current({"email": "A@x.com"}) == {"id": "b"}
    assert found.current({"email": "a@x.com"}) == {"email": "a@x.com"}
