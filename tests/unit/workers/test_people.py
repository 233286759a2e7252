"""What is remembered of people: merges, deletions, and the time of the last update."""

from __future__ import annotations

import time
from typing import Any

import fakeredis
import pytest
import redis

from lanes import digest
from workers import people
from workers.people import Known, Update

QUEUE = "journeys"
DAY = 86_400
NOW = int(time.time())


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def merge(secondary: dict[str, str], primary: dict[str, str]) -> dict[str, Any]:
    return {"type": "person", "action": "merge", "primary": primary, "secondary": secondary}


def person(action: str, **identifiers: str) -> dict[str, Any]:
    return {"type": "person", "action": action, "identifiers": identifiers}


def remember(client: redis.Redis, *bodies: dict[str, Any], at_ms: int = 0) -> None:
    people.remember(client, QUEUE, DAY, [(body, at_ms) for body in bodies])


def known(client: redis.Redis, *bodies: dict[str, Any], updates: tuple[Update, ...] = ()) -> Known:
    return people.look_up(client, QUEUE, DAY, bodies, updates, keeps_distance=True)


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
