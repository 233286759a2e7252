"""An event whose record is missing is set aside: it stops no verb, and its successors go on as if it had finished."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

import lanes
from lanes import keys, records
from tests.lanes.driving import (
    COOLDOWN_MS,
    QUEUE,
    append,
    claim,
    deliver,
    due_in_ms,
    end_waits,
    event,
    expire,
    leftovers,
    lose_record,
    make_due,
    names,
    queue_of,
    release,
    sequences,
    stats,
)


def claim_all(client: redis.Redis) -> list[str]:
    """Claim and deliver until there is nothing to claim; return the names in order."""
    delivered: list[str] = []
    for _ in range(20):
        claimed = claim(client)
        delivered += names(claimed)
        deliver(client, claimed)
        if claimed.next_due_ms == 0:
            continue
        if not claimed.events:
            return delivered
    raise AssertionError("the queue never becomes empty")


def sender(client: redis.Redis) -> Callable[..., lanes.NewEvent]:
    """Return a function that makes events that wait for earlier ones; `at`: when they happened, ms."""
    seconds, _ = client.time()
    start_ms = int(seconds) * 1000 - 1_000

    def waiting(name: str, *of: str, at: int) -> lanes.NewEvent:
        return event(name, *of)._replace(rank=records.rank(9_000, b"a client", start_ms + at, records.tie(0, 0, 0)))

    return waiting


def test_a_ready_event_without_a_record_stops_no_claim(client: redis.Redis) -> None:
    append(client, event("lost", "jo"), event("a", "al"), event("b", "bo"))
    lose_record(client, 1)

    claimed = claim(client)

    assert (names(claimed), claimed.missing) == (["a", "b"], (1,))
    assert stats(client).missing_total == 1
    deliver(client, claimed)
    assert leftovers(client) == {":missing"}, "what it left behind goes with the last event"


def test_a_claim_that_finds_only_missing_records_says_to_claim_again(client: redis.Redis) -> None:
    append(client, event("lost", "jo"), event("a", "jo"))
    lose_record(client, 1)

    first = claim(client)

    assert (first.events, first.next_due_ms) == ((), 0)
    assert names(claim(client)) == ["a"]


def test_the_successors_of_a_missing_event_go_on_in_every_lane(client: redis.Redis) -> None:
    append(client, event("lost", "jo", "al", "bo"), event("a", "jo"), event("b", "al", "cy"), event("c", "al"))
    append(client, event("d", "cy"), event("e", "jo"))
    lose_record(client, 1)

    delivered = claim_all(client)

    assert sorted(delivered[:3]) == ["a", "b", "e"]
    assert sorted(delivered[3:]) == ["c", "d"]
    assert leftovers(client) == {":missing"}


def test_the_successor_of_a_missing_event_still_waits_for_earlier_ones(client: redis.Redis) -> None:
    waiting = sender(client)
    append(client, event("lost", "jo"))
    append(client, waiting("next", "jo", at=0))
    lose_record(client, 1)

    assert claim(client).missing == (1,)

    assert 8_000 < due_in_ms(client, 2) <= 9_000
    end_waits(client)
    make_due(client)
    assert claim_all(client) == ["next"]


def test_the_successor_of_a_missing_event_waits_in_its_other_lanes(client: redis.Redis) -> None:
    append(client, event("lost", "jo"), event("other", "al"), event("next", "jo", "al"))
    lose_record(client, 1)
    first = claim(client, depth=0)

    assert (names(first), first.missing) == (["other"], (1,))
    assert names(claim(client)) == []

    deliver(client, first)
    assert claim_all(client) == ["next"]


def test_an_event_stays_behind_one_whose_predecessor_is_missing(client: redis.Redis) -> None:
    waiting = sender(client)
    append(client, waiting("first", "jo", at=0), waiting("lost", "jo", at=100), waiting("last", "jo", at=200))
    lose_record(client, 2)

    assert append(client, waiting("early", "jo", at=50)).results == ("accepted",)

    end_waits(client)
    make_due(client)
    assert claim_all(client) == ["first", "last", "early"]


def test_a_lane_begins_with_the_first_event_behind_a_chain_of_missing_ones(client: redis.Redis) -> None:
    append(client, event("lost", "jo"), event("lost too", "jo"), event("a", "jo"), event("b", "jo"))
    lose_record(client, 1, 2)
    claim(client)
    claim(client)

    lane = lanes.inspect(queue_of(client), "jo")

    assert lane is not None
    assert lane.steps[0].body == b"a"


def test_a_lane_whose_head_is_missing_begins_with_its_successor(client: redis.Redis) -> None:
    append(client, event("lost", "jo", "al"), event("a", "al"), event("b", "jo", "al"), event("c", "jo"))
    lose_record(client, 1)
    claim(client)

    found = [lanes.inspect(queue_of(client), key) for key in ("jo", "al")]

    assert [(lane.length, lane.steps[0].body) for lane in found if lane] == [(2, b"b"), (2, b"a")]


def test_a_chain_is_followed_no_further_than_to_a_missing_event(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("lost", "jo"), event("b", "jo"))
    lose_record(client, 2)

    first = claim(client)

    assert names(first) == ["a"]
    deliver(client, first)
    assert claim_all(client) == ["b"]
    assert stats(client).missing_total == 1
    assert leftovers(client) == {":missing"}


def test_a_whole_chain_of_missing_events_is_set_aside(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}", "jo", "al") for n in range(5)))
    lose_record(client, 1, 2, 3)

    assert claim_all(client) == ["e3", "e4"]
    assert stats(client).missing_total == 3
    assert leftovers(client) == {":missing"}


def test_settling_a_claim_of_which_a_record_is_missing_settles_the_others(client: redis.Redis) -> None:
    append(client, event("a", "al"), event("lost", "jo"), event("next", "jo"), event("b", "bo"))
    claimed = claim(client)
    of = sequences(claimed)
    lose_record(client, of["lost"])

    settled = deliver(client, claimed)

    assert settled.lost == (of["lost"], of["next"])
    assert (stats(client).delivered_total, stats(client).claims) == (2, 0)
    assert claim_all(client) == ["next"]
    assert stats(client).missing_total == 1


def test_burying_beside_a_missing_record_buries_the_others_once(client: redis.Redis) -> None:
    """The script wrote dead letters while it read: a failure half-way left dead letters of events still claimed."""
    append(client, event("bad", "al"), event("lost", "jo"), event("worse", "bo"))
    claimed = claim(client)
    lose_record(client, 2)

    buried = [lanes.Burial(sequence, b"failure") for sequence in (1, 2, 3)]
    settled = lanes.settle(queue_of(client), claimed.id, buried=buried)

    assert settled.lost == (2,)
    figures = stats(client)
    assert (figures.dead, figures.buried_total, figures.waiting, figures.claimed) == (2, 2, 0, 0)
    assert [dead.body for dead in lanes.list_dead_letters(queue_of(client))] == [b"bad", b"worse"]


@pytest.mark.parametrize("cooldown_ms", [0, COOLDOWN_MS])
def test_a_missing_event_can_be_released_with_what_follows_it(client: redis.Redis, cooldown_ms: int) -> None:
    append(client, event("lost", "jo"), event("next", "jo"))
    claimed = claim(client)
    lose_record(client, 1)

    lanes.settle(queue_of(client), claimed.id, released=[lanes.Release(1, 0, b"tried", cooldown_ms=cooldown_ms)])

    make_due(client)
    assert claim_all(client) == ["next"]
    assert leftovers(client) == {":missing"}


def test_a_missing_event_cannot_become_a_blocking_dead_letter(client: redis.Redis) -> None:
    append(client, event("lost", "jo"), event("next", "jo"))
    claimed = claim(client)
    lose_record(client, 1)

    lanes.settle(queue_of(client), claimed.id, buried=[lanes.Burial(1, b"failure", blocks=True)])

    assert (stats(client).blocking, stats(client).dead, stats(client).buried_total) == (0, 0, 0)
    assert claim_all(client) == ["next"]
    assert leftovers(client) == {":missing"}


def test_a_blocking_dead_letter_without_a_record_can_be_discarded(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("next", "jo"))
    claimed = claim(client, depth=0)
    lanes.settle(queue_of(client), claimed.id, buried=[lanes.Burial(1, b"failure", blocks=True)])
    lose_record(client, 1)

    assert lanes.discard(queue_of(client), [1]) == 1

    assert claim_all(client) == ["next"]
    assert leftovers(client) == set()
    figures = stats(client)
    assert (figures.delivered_total, figures.buried_total, figures.missing_total) == (1, 1, 0)


def test_an_expired_claim_with_a_missing_record_is_reaped(client: redis.Redis) -> None:
    append(client, event("lost", "jo"), event("next", "jo"), event("a", "al"))
    claimed = claim(client)
    lose_record(client, 1)
    expire(client, claimed)

    assert lanes.reap(queue_of(client)).events == 3

    assert sorted(claim_all(client)) == ["a", "next"]
    assert leftovers(client) == {":missing"}


def test_a_lane_that_ends_in_a_missing_event_begins_anew(client: redis.Redis) -> None:
    append(client, event("lost", "jo", "al"))
    lose_record(client, 1)
    claim(client)

    appended = append(client, event("a", "jo"), event("b", "al", "jo"))

    assert appended.missing == (1,)
    assert claim_all(client) == ["a", "b"]
    assert stats(client).missing_total == 1
    assert leftovers(client) == {":missing"}


def test_lanes_that_end_in_a_missing_event_begin_anew_with_one_that_goes_before_another(client: redis.Redis) -> None:
    waiting = sender(client)
    append(client, event("lost", "jo", "al"))
    lose_record(client, 1)
    client.zrem(keys.READY.of(QUEUE), 1)
    append(client, waiting("later", "bo", at=100))

    appended = append(client, waiting("first", "al", at=0), waiting("earlier", "jo", "bo", at=50))

    assert appended.results == ("accepted", "reordered")
    assert appended.missing == (1,)
    assert stats(client).missing_total == 1
    found = [lanes.inspect(queue_of(client), key) for key in ("al", "jo", "bo")]
    assert [lane and lane.length for lane in found] == [1, 1, 2]
    end_waits(client)
    make_due(client)
    delivered = claim_all(client)
    assert sorted(delivered) == ["earlier", "first", "later"]
    assert delivered.index("earlier") < delivered.index("later")


def test_a_lane_that_a_missing_event_leaves_is_no_longer_hot(client: redis.Redis) -> None:
    append(client, *(event(str(n), "kiosk") for n in range(keys.HOT_LENGTH)))
    assert [lane.length for lane in stats(client).hot] == [keys.HOT_LENGTH]
    lose_record(client, 1)

    claim(client, events=1)

    assert stats(client).hot == ()


def test_a_lane_begins_anew_when_nothing_but_the_lane_knows_the_event(client: redis.Redis) -> None:
    append(client, event("lost", "jo", "al"))
    lose_record(client, 1)
    client.zrem(keys.READY.of(QUEUE), 1)

    assert append(client, event("a", "jo")).missing == (1,)
    assert append(client, event("b", "al")).missing == (1,)

    assert claim_all(client) == ["a", "b"]
    assert stats(client).missing_total == 1


def test_an_event_behind_a_claimed_one_is_not_taken_for_the_first(client: redis.Redis) -> None:
    """The tail of a lane that is neither ready nor linked may be claimed: only without a record is it missing."""
    append(client, event("a", "jo"))
    claimed = claim(client)

    assert append(client, event("b", "jo")).missing == ()

    assert names(claim(client)) == []
    deliver(client, claimed)
    assert names(claim(client)) == ["b"]


def test_erasing_goes_on_behind_a_missing_event(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("lost", "jo", "al"), event("b", "jo", "al"), event("c", "al"))
    lose_record(client, 2)

    erased = lanes.erase(queue_of(client), [lanes.digest("jo")])

    assert [(event.body, event.how) for event in erased.events] == [(b"a", "removed"), (b"b", "emptied")]
    assert claim_all(client) == ["", "c"]
    assert leftovers(client) == {":missing"}


def test_erasing_finds_an_event_behind_a_missing_one_in_a_lane_of_others(client: redis.Redis) -> None:
    append(client, event("first", "al"), event("lost", "al", "bo"), event("gone", "al", "jo"), event("last", "al"))
    lose_record(client, 2)

    erased = lanes.erase(queue_of(client), [lanes.digest("jo")])

    assert [(event.body, event.how) for event in erased.events] == [(b"gone", "emptied")]
    assert claim_all(client) == ["first", "", "last"]


def test_a_lane_says_that_it_waits_for_a_missing_event(client: redis.Redis) -> None:
    append(client, event("lost", "jo"), event("next", "jo"))
    lose_record(client, 1)

    lane = lanes.inspect(queue_of(client), "jo")

    assert lane is not None
    assert [(step.sequence, step.state, step.body) for step in lane.steps] == [(1, "missing", b"")]


def test_a_missing_event_is_told_in_the_log(client: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    append(client, event("lost", "jo"))
    lose_record(client, 1)
    claim(client)
    append(client, event("next", "jo"))

    logged = [record.getMessage() for record in caplog.records if record.name == "lanes"]
    assert logged == [
        "queue q: the records of events 1 are missing; they were set aside and their successors freed",
        "queue q: the records of events 1 are missing; their lanes begin anew",
    ]


def test_a_missing_event_spends_no_claim_of_another(client: redis.Redis) -> None:
    """Attempts, expired claims and cooldowns of an event leave with it."""
    append(client, event("lost", "jo"))
    release(client, claim(client), "lost")
    expiring = claim(client)
    expire(client, expiring)
    lanes.reap(queue_of(client))
    lose_record(client, 1)

    claim(client)

    assert leftovers(client) == {":lane", ":age", ":ages", ":missing"}, "of the lane, only the event knew the key"
    append(client, event("a", "jo"))
    assert claim_all(client) == ["a"]
    assert leftovers(client) == {":missing"}
