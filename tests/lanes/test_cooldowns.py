"""Cooldowns that many events share: runs, and the bounds on what one key can make others wait."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import redis

import lanes
from lanes import keys
from lanes.append import EVENTS_PER_CLAIM
from tests.lanes.driving import (
    COOLDOWN_MS,
    QUEUE,
    bury,
    claim,
    deliver,
    due_in_ms,
    end_waits,
    event,
    expire,
    grow_old,
    make_due,
    names,
    queue_of,
    sequences,
    stats,
)

CLOSE_MS = 5_000


def append(client: redis.Redis, *events: lanes.NewEvent, queue: lanes.Queue | None = None) -> lanes.Appended:
    return lanes.append(lanes.open_queue(queue or queue_of(client)), events)


def merge(secondary: str, primary: str, run: str | None = None) -> lanes.NewEvent:
    run = f"into {primary}" if run is None else run
    name = f"{secondary} into {primary}"
    return lanes.NewEvent(name.encode(), (secondary, primary), name, COOLDOWN_MS, (secondary, primary), run=run)


def test_events_of_a_run_are_claimed_together_and_share_the_wait_after_them(client: redis.Redis) -> None:
    append(client, *(merge(f"lead {number}", "jo") for number in range(30)), event("after", "jo"))

    claimed = claim(client, events=100)

    assert names(claimed) == [f"lead {number} into jo" for number in range(30)]
    assert {taken.depth for taken in claimed.events} == {0}, "they may be sent together"
    assert deliver(client, claimed).lost == ()
    assert claim(client).events == ()
    assert due_in_ms(client, 31) == pytest.approx(COOLDOWN_MS, abs=CLOSE_MS)
    assert lanes.verify(queue_of(client)).violations == ()


@pytest.mark.parametrize(("is_due", "wake"), [(True, 2), (False, 0)])
def test_heads_with_a_cooldown_want_deliverers_when_they_are_due(client: redis.Redis, is_due: bool, wake: int) -> None:
    people = [f"person {number}" for number in range(3 * EVENTS_PER_CLAIM)]
    if not is_due:  # they wait for their cooldown after these
        append(client, *(event(f"before {person}", person) for person in people))
        while (claimed := claim(client)).events:
            deliver(client, claimed)
    append(client, event("claimed", "jo"))
    assert names(claim(client)) == ["claimed"]
    client.delete(keys.WAKEUP.of(QUEUE))

    assert (
        append(client, *(event(f"merge {person}", person, cooldown_ms=COOLDOWN_MS) for person in people)).wake == wake
    )


def test_a_run_shares_the_wait_before_it(client: redis.Redis) -> None:
    append(client, event("before", "jo"), merge("al", "jo"), merge("bo", "jo"), event("after", "jo"))
    deliver(client, claim(client))

    assert claim(client).events == ()
    assert due_in_ms(client, 2) == pytest.approx(COOLDOWN_MS, abs=CLOSE_MS)
    forget_finished(client)
    make_due(client)

    assert names(claim(client)) == ["al into jo", "bo into jo"]


def test_an_event_of_another_run_waits_for_the_run_before_it(client: redis.Redis) -> None:
    append(client, merge("al", "jo", run="one"), merge("bo", "jo", run="another"))

    claimed = claim(client)
    assert names(claimed) == ["al into jo"]
    deliver(client, claimed)

    assert claim(client).events == ()
    assert due_in_ms(client, 2) == pytest.approx(COOLDOWN_MS, abs=CLOSE_MS)


def test_an_event_of_a_run_waits_for_its_own_keys(client: redis.Redis) -> None:
    """The part of the run in front of it does not wait for that."""
    append(client, event("bo was here", "bo"))
    deliver(client, claim(client))
    append(client, merge("al", "jo"), merge("bo", "jo"), merge("cy", "jo"), event("after", "jo"))

    first = claim(client)

    assert names(first) == ["al into jo"]
    deliver(client, first)
    assert due_in_ms(client, 3) == pytest.approx(COOLDOWN_MS, abs=CLOSE_MS), "not later: the run shares its cooldown"
    forget_finished(client)
    make_due(client)
    assert names(claim(client)) == ["bo into jo", "cy into jo"]


def test_an_event_of_a_run_that_has_other_predecessors_is_not_claimed_with_it(client: redis.Redis) -> None:
    append(client, event("bo acts", "bo"), merge("al", "jo"), merge("bo", "jo"))

    assert sorted(names(claim(client))) == ["al into jo", "bo acts"]


def test_other_runs_and_events_without_one_wait_for_each_other(client: redis.Redis) -> None:
    append(client, merge("al", "jo"), merge("jo", "sue"), merge("bo", "jo", run=""), merge("cy", "jo", run=""))

    for name in ("al into jo", "jo into sue", "bo into jo", "cy into jo"):
        claimed = claim(client)
        assert names(claimed) == [name]
        deliver(client, claimed)
        assert claim(client).events == ()
        forget_finished(client)
        make_due(client)


def test_what_joins_a_run_within_its_cooldown_shares_it(client: redis.Redis) -> None:
    append(client, merge("al", "jo"))
    deliver(client, claim(client))

    append(client, merge("bo", "jo"), event("after", "jo"))

    assert names(claim(client)) == ["bo into jo"]


def test_the_rest_of_a_run_goes_on_at_once(client: redis.Redis) -> None:
    append(client, *(merge(f"lead {number}", "jo") for number in range(5)), event("after", "jo"))

    for part in (["lead 0 into jo", "lead 1 into jo"], ["lead 2 into jo", "lead 3 into jo"], ["lead 4 into jo"]):
        claimed = claim(client, events=2)
        assert names(claimed) == part
        deliver(client, claimed)

    assert claim(client).events == ()


def test_an_event_of_a_run_that_must_be_sent_again_keeps_its_position(client: redis.Redis) -> None:
    append(client, merge("al", "jo"), merge("bo", "jo"), merge("cy", "jo"), event("after", "jo"))
    claimed = claim(client)
    of = sequences(claimed)

    settled = lanes.settle(
        queue_of(client),
        claimed.id,
        delivered=[of["al into jo"], of["cy into jo"]],
        released=[lanes.Release(of["bo into jo"], 0, b"tried")],
    )

    assert settled.lost == (of["cy into jo"],), "it is sent again, behind the one that was not delivered"
    assert names(claim(client)) == ["bo into jo", "cy into jo"]
    assert lanes.verify(queue_of(client)).violations == ()


def test_a_run_whose_claim_expires_is_claimed_again(client: redis.Redis) -> None:
    append(client, merge("al", "jo"), merge("bo", "jo"), event("after", "jo"))
    expire(client, claim(client))
    lanes.reap(queue_of(client))

    claimed = claim(client)

    assert names(claimed) == ["al into jo", "bo into jo"]
    assert bury(client, claimed, "al into jo", "bo into jo").lost == ()
    assert claim(client).events == ()


def test_nothing_goes_before_an_event_of_a_run_that_a_claim_owns(client: redis.Redis) -> None:
    """It waits in a lane, as its predecessor is in the same claim; and its rank would let earlier events go before."""
    at_ms, tie = int(client.time()[0]) * 1000, lanes.records.tie(0, 0, 0)
    ranked = [
        merge(name, "jo")._replace(rank=lanes.records.rank(1000, b"browser1", at_ms + step, tie))
        for step, name in enumerate(("al", "bo"))
    ]
    append(client, *ranked)
    end_waits(client)
    make_due(client)
    claimed = claim(client)
    assert names(claimed) == ["al into jo", "bo into jo"]

    late = event("late", "jo")._replace(rank=lanes.records.rank(0, b"browser1", at_ms - 1000, tie))
    append(client, late)

    assert deliver(client, claimed).lost == ()
    assert lanes.verify(queue_of(client)).violations == ()


def test_the_cooldowns_of_a_key_are_bounded(client: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Alternating operations do not share their waits. Order stays; only the waits end, and only those of this key."""
    queue = replace(queue_of(client), most_cooling_ms=3 * COOLDOWN_MS)
    waits = 0
    with caplog.at_level(logging.WARNING, "lanes"):
        for number in range(8):
            append(client, merge(f"lead {number}", "jo", run=""), event(f"{number}", "jo"))
            for name in (f"lead {number} into jo", f"{number}"):
                claimed = claim(client)
                if not claimed.events:
                    waits += 1
                    forget_finished(client)
                    make_due(client)
                    claimed = claim(client)
                assert names(claimed) == [name]
                lanes.settle(queue, claimed.id, delivered=sequences(claimed).values())

    assert waits == 5, "three after a merge, and two before one"
    assert stats(client).unbounded_total == 1
    assert "the cooldowns of 1 keys have lasted" in caplog.text
    append(client, merge("lead 7", "al"), event("after", "al"))
    deliver(client, claim(client))
    assert claim(client).events == (), "other keys have their cooldown"


def test_what_many_keys_are_joined_to_serialises_them_no_more(client: redis.Redis) -> None:
    queue = replace(queue_of(client), most_fan_in=3)
    append(client, *(merge(f"lead {number}", "jo") for number in range(3)), queue=queue)
    append(client, event("joined", "lead 0"), queue=queue)
    assert keys_of(client, 4) == 2

    append(client, merge("lead 0", "jo")._replace(message_id="again"), queue=queue)
    append(client, event("still joined", "lead 0"), queue=queue)
    assert keys_of(client, 6) == 2
    append(
        client, merge("lead 3", "jo"), event("of the fourth", "lead 3"), event("of the first", "lead 0"), queue=queue
    )

    assert (keys_of(client, 8), keys_of(client, 9)) == (1, 1)
    assert stats(client).unbounded_total == 1


def test_all_joins_of_a_call_count_before_the_first_event_is_joined(client: redis.Redis) -> None:
    queue = replace(queue_of(client), most_fan_in=3)
    pairs = [(merge(f"lead {number}", "jo"), event(f"{number}", f"lead {number}")) for number in range(4)]

    append(client, *(each for pair in pairs for each in pair), queue=queue)

    assert [keys_of(client, sequence) for sequence in range(2, 9, 2)] == [1, 1, 1, 1]


def keys_of(client: redis.Redis, sequence: int) -> int:
    """In how many lanes the event is."""
    record = client.hget(keys.EVENT.of(QUEUE), str(sequence))
    assert isinstance(record, bytes)
    return len(lanes.records.read_record(record)[1])


def forget_finished(client: redis.Redis) -> None:
    """Let every cooldown of a finished event be over."""
    for key in client.keys(f"{keys.base(QUEUE)}:finished_at:*"):
        client.delete(key)
    for key in client.keys(f"{keys.base(QUEUE)}:cooling_until:*"):
        client.delete(key)


def test_a_key_that_reached_its_bound_has_cooldowns_again_after_two_hours(client: redis.Redis) -> None:
    queue = replace(queue_of(client), most_cooling_ms=COOLDOWN_MS)
    append(client, merge("al", "jo"))
    lanes.settle(queue, claim(client).id, delivered=[1])
    grow_old(client, "cooled")
    forget_finished(client)
    append(client, merge("bo", "jo", run=""))
    lanes.settle(queue, claim(client).id, delivered=[2])
    append(client, event("first", "jo"))
    assert names(claim(client)) == ["first"]

    grow_old(client, "cooled")
    append(client, merge("cy", "jo", run=""), event("second", "cy"))
    deliver(client, claim(client))

    append(client, event("third", "jo"))
    assert claim(client).events == ()


def test_the_cooldowns_of_a_chain_of_keys_are_bounded(client: redis.Redis) -> None:
    """Each key has two merges only. The last of them would wait for all others."""
    queue = replace(queue_of(client), most_cooling_ms=3 * COOLDOWN_MS)
    append(client, *(merge(f"{number}", f"{number + 1}") for number in range(10)), event("after", "10"))
    waits = 0
    while stats(client).waiting:
        claimed = claim(client)
        if not claimed.events:
            waits += 1
            forget_finished(client)
            make_due(client)
            claimed = claim(client)
        assert len(claimed.events) == 1, "the order stays"
        lanes.settle(queue, claimed.id, delivered=[claimed.events[0].sequence])

    assert waits in (3, 4), "one more where the first was accepted and finished within a millisecond"
    append(client, merge("10", "11"), event("next", "11"))
    deliver(client, claim(client))
    assert claim(client).events == (), "what is accepted later has its cooldown"


def test_a_long_run_delays_nothing_by_its_length(client: redis.Redis) -> None:
    queue = replace(queue_of(client), most_cooling_ms=3 * COOLDOWN_MS)
    append(client, *(merge(f"lead {number}", "jo") for number in range(50)), event("after", "jo"))
    while (claimed := claim(client, events=5)).events:
        lanes.settle(queue, claimed.id, delivered=[taken.sequence for taken in claimed.events])

    assert stats(client).unbounded_total == 0
    assert due_in_ms(client, 51) == pytest.approx(COOLDOWN_MS, abs=CLOSE_MS)
