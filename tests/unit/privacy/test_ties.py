"""Which identities an erasure follows: those of merges that are remembered, and not too many of them."""

from __future__ import annotations

from collections.abc import Iterable

import fakeredis
import pytest
import redis

import lanes
import mapping
from delivery import identity_memory
from mapping.envelope import pack
from privacy import erasure, purge
from series import recent_events
from series.recent_events import RecentEvents
from tests.queues import queue_of
from tests.unit.privacy.test_erasure import JO, QUEUE, append, context, remove, sent

AL = mapping.Person(("al",))
_FAILURE = b'{"class": "rejected", "message": "no", "faults": [], "buried_at_ms": 1}'


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def merge(client: redis.Redis, secondaries: Iterable[str], primary: str) -> None:
    bodies = [
        {"type": "person", "action": "merge", "primary": {"id": primary}, "secondary": {"id": secondary}}
        for secondary in secondaries
    ]
    changes = [identity_memory.Change("merge", body, 1) for body in bodies]
    identity_memory.remember(queue_of(client, QUEUE), changes, "email_or_id")


def alias(client: redis.Redis, secondary: str, primary: str) -> None:
    append(client, f"{secondary} into {primary}", type="alias", previousId=secondary, userId=primary)


def test_a_merge_that_was_not_sent_ties_no_identities(client: redis.Redis) -> None:
    """Events of other people stay, though they wait in the lane of the person."""
    for number in range(3):
        alias(client, f"c{number}", "jo")
    for number in range(3):
        append(client, f"of c{number}", userId=f"c{number}")

    removed = remove(client)

    assert removed.counts["events"] == 3, "the aliases name the person"
    assert not removed.is_alone
    assert sent(client) == [f'event {{"id":"c{number}"}}' for number in range(3)]


def test_events_of_joined_people_stay_when_an_erasure_is_repeated(client: redis.Redis) -> None:
    """Their events keep the key of the person when nothing says any more that it was joined to theirs."""
    alias(client, "c0", "jo")
    append(client, "of c0", userId="c0")
    append(client, "no page of c0", type="page", userId="c0", properties={})

    assert remove(client).counts["events"] == 1, "the alias"
    assert remove(client).counts == {}
    assert sent(client) == ['event {"id":"c0"}']
    assert remove(client).counts == {}
    assert lanes.stats(queue_of(client, QUEUE)).dead == 1


def test_a_blocking_dead_letter_of_a_joined_person_stays(client: redis.Redis) -> None:
    alias(client, "c0", "jo")
    append(client, "no page of c0", type="page", userId="c0", properties={})
    queue = queue_of(client, QUEUE)
    for sequence in (1, 2):
        claim = lanes.claim(queue, lease_ms=1000, max_events=1, max_bytes=10**6, max_depth=0, poll_ms=0)
        lanes.settle(queue, claim.id, buried=[lanes.Burial(sequence, _FAILURE, blocks=sequence == 2)])

    remove(client)

    assert lanes.stats(queue).blocking == 1


def test_an_event_with_a_key_by_an_earlier_mapping_is_erased(client: redis.Redis) -> None:
    """It has the identity, though the mapping takes another one by now."""
    body = {"type": "track", "event": "x", "messageId": "m", "anonymousId": "an", "properties": {"customer": "jo"}}
    keys = ("anonymous_id:an", "id:jo")
    lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(pack("web", body), keys, "web:m")])

    assert remove(client).counts["events"] == 1


def test_a_deletion_request_discards_no_events_of_a_person_that_was_only_joined(client: redis.Redis) -> None:
    alias(client, "mallory", "jo")
    append(client, "of jo", userId="jo")
    append(client, "of mallory", userId="mallory")
    request = append(client, "d1", type="delete", userId="mallory")

    discarded = erasure.discard(context(client), request)

    assert discarded is not None
    assert discarded.counts["events"] == 2, "the alias and the event of mallory"
    assert sent(client)[0] == 'event {"id":"jo"}'


def test_an_event_that_cannot_be_read_is_erased_with_the_person(client: redis.Redis) -> None:
    """Nothing says that it is of another person."""
    alias(client, "c0", "jo")
    queue = queue_of(client, QUEUE)
    lanes.append(queue, [lanes.NewEvent(b"neither JSON nor Zstandard", ("id:jo",), "damaged")])

    removed = remove(client)

    assert removed.counts["events"] == 2
    assert lanes.stats(queue).waiting == 0


def test_dead_letters_of_joined_people_stay(client: redis.Redis) -> None:
    alias(client, "c0", "jo")
    append(client, "of c0", userId="c0")
    queue = queue_of(client, QUEUE)
    body = lanes.lane_events(queue, lanes.digest("id:c0"), most=9)[-1].body
    lanes.import_dead_letters(queue, [lanes.ImportedDeadLetter(None, 1, ("id:c0", "id:jo"), body, _FAILURE)])

    remove(client)

    assert lanes.stats(queue).dead == 1


def test_more_merged_identities_than_are_followed_are_reported(client: redis.Redis) -> None:
    leads = [f"lead {number}" for number in range(purge.MOST_TIED + 1)]
    merge(client, leads, "jo")
    for lead in leads:
        append(client, f"of {lead}", userId=lead)
    append(client, "of jo", userId="jo")

    removed = remove(client)

    assert removed.is_alone
    assert removed.counts["events"] == 1
    assert removed.counts["merged"] == len(leads), "they lead to the erased person"
    assert sent(client) == [f'event {{"id":"{lead}"}}' for lead in leads]


def test_a_plan_lists_what_would_be_followed_and_removes_nothing(client: redis.Redis) -> None:
    merge(client, ["al"], "jo")
    append(client, "of al", userId="al")
    append(client, "of jo", userId="jo")

    planned = purge.plan(context(client), AL)

    assert planned == purge.Plan(followed=("id:jo",), is_alone=False, events=2, dead_letters=0, log=0)
    assert purge.plan(context(client), JO).followed == (lanes.digest("id:al").hex(),)
    assert lanes.stats(queue_of(client, QUEUE)).waiting == 2


def test_an_erasure_removes_all_recent_events(client: redis.Redis) -> None:
    """Each of them may be of the person: nothing says of which person one is."""
    queue = queue_of(client, QUEUE)
    append(client, "of jo", userId="jo")
    claim = lanes.claim(queue, lease_ms=1000, max_events=1, max_bytes=10**6, max_depth=0, poll_ms=0)
    RecentEvents().keep(queue, claim.events)
    assert list(recent_events.read(queue))

    remove(client)

    assert not list(recent_events.read(queue))
