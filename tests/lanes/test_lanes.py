"""What the lanes promise, one sentence a test, over both servers."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock
from uuid import uuid4

import fakeredis
import pytest
import redis

import lanes
from lanes.claims import MOST_REAPED
from lanes.keys import base
from tests.lanes.driving import (
    COOLDOWN_MS,
    QUEUE,
    append,
    bury,
    claim,
    deliver,
    depths,
    due_in_ms,
    event,
    expire,
    expire_claims,
    grow_old,
    leftovers,
    make_due,
    names,
    queue_of,
    release,
    sequences,
    stats,
)
from tests.pipeline import wait_until


def test_events_that_share_no_key_are_claimed_together(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "al"), event("c"))

    assert names(claim(client)) == ["a", "b", "c"]


def test_a_successor_comes_along_one_depth_further(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "jo"), event("c", "jo"))

    assert depths(claim(client)) == {"a": 0, "b": 1, "c": 2}


def test_an_event_with_two_keys_stands_where_both_lanes_meet(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "al"), event("meet", "jo", "al"), event("after", "al"))

    assert depths(claim(client)) == {"a": 0, "b": 0, "meet": 1, "after": 2}


def test_two_keys_shared_with_one_predecessor_are_both_waited_for(client: redis.Redis) -> None:
    append(client, event("a", "jo", "al"), event("b", "al", "jo"))
    first = claim(client, depth=0)

    assert names(first) == ["a"]
    assert names(claim(client)) == []

    deliver(client, first)

    assert names(claim(client)) == ["b"]


def test_a_successor_stays_behind_when_a_predecessor_is_in_another_claim(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    first = claim(client)
    append(client, event("b", "al"), event("meet", "jo", "al"))
    second = claim(client)

    assert names(second) == ["b"]

    deliver(client, second)
    assert names(claim(client)) == []

    deliver(client, first)
    assert names(claim(client)) == ["meet"]


def test_a_repeated_key_of_one_event_counts_once(client: redis.Redis) -> None:
    append(client, event("a", "jo", "jo"), event("b", "jo"))

    deliver(client, claim(client))

    assert leftovers(client) == set()


def test_claims_are_bounded_by_count_and_leave_the_rest(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}", f"person {n}") for n in range(10)))

    assert len(claim(client, events=4).events) == 4
    assert len(claim(client, events=100).events) == 6


def test_a_claim_starts_with_some_of_many_ready_events_and_leaves_others_to_the_next(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}", f"person {n}") for n in range(250)))

    assert len(claim(client, events=500).events) == 200
    assert len(claim(client, events=500).events) == 50


def test_a_few_long_chains_are_shared_between_claims(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}", f"person {n % 20}") for n in range(240)))
    client.delete(f"{base(QUEUE)}:wakeup")

    first = claim(client, events=500, batch_wait_ms=60_000, max_sharing=4)
    others = [claim(client, events=500, batch_wait_ms=60_000, max_sharing=4) for _ in range(2)]

    assert [event.depth for event in first.events] == [depth for depth in range(12) for _ in range(10)]
    assert first.wake == 1
    assert [len(claimed.events) for claimed in others] == [60, 60]


def test_no_more_claims_than_asked_for_share_long_chains(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}", f"person {n % 20}") for n in range(240)))

    claims = [claim(client, events=500, max_sharing=2) for _ in range(3)]

    assert [len(claimed.events) for claimed in claims] == [120, 120, 0]


def test_a_few_short_chains_are_one_claim(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}", f"person {n % 20}") for n in range(100)))

    assert len(claim(client).events) == 100


def test_claims_are_bounded_by_bytes_but_never_empty(client: redis.Redis) -> None:
    append(client, event("big", "jo", body=b"x" * 1000), event("next", "al", body=b"y" * 1000))

    assert len(claim(client, max_bytes=10).events) == 1
    assert len(claim(client, max_bytes=10).events) == 1


def test_the_bytes_of_a_claim_are_those_of_all_its_events(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}", f"person {n}", body=b"x" * 1000) for n in range(3)))

    assert len(claim(client, max_bytes=2500).events) == 2


def test_people_who_are_ready_come_before_the_chain_of_one(client: redis.Redis) -> None:
    """A person with a long chain never starves the others."""
    append(client, *(event(f"hot {n}", "hot") for n in range(50)), event("other", "al"))

    assert names(claim(client, events=2)) == ["hot 0", "other"]


def test_chains_are_followed_no_deeper_than_asked(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}", "jo") for n in range(10)))

    assert names(claim(client, depth=2)) == ["e0", "e1", "e2"]


def test_delivering_part_of_a_chain_keeps_the_rest_claimed(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "jo"))
    first = claim(client)

    deliver(client, first, "a")

    assert names(claim(client)) == []
    assert stats(client).claimed == 1
    assert deliver(client, first, "b").lost == ()
    assert leftovers(client) == set()


def test_a_released_event_keeps_its_place_until_it_is_due(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "jo"))
    release(client, claim(client, depth=0), "a", delay_ms=60_000)

    waiting = claim(client)
    assert names(waiting) == []
    assert waiting.next_due_ms is not None
    assert 0 < waiting.next_due_ms <= 60_000

    make_due(client)
    again = claim(client)
    assert names(again) == ["a", "b"]
    assert [event.attempts for event in again.events] == [(b"tried",), ()]


def test_releasing_an_event_releases_its_successors_in_the_claim(client: redis.Redis) -> None:
    """Else another worker could claim the predecessor while this one still holds the successor."""
    append(client, event("a", "jo"), event("b", "jo"), event("c", "jo"), event("other", "al"))
    first = claim(client)

    release(client, first, "a")

    assert deliver(client, first, "b", "c").lost == tuple(sequences(first)[name] for name in "bc")
    assert deliver(client, first, "other").lost == ()
    assert names(claim(client)) == ["a", "b", "c"]


def test_a_claim_owns_nothing_of_a_chain_it_has_released(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "jo"), event("c", "jo"))
    release(client, claim(client), "a", delay_ms=60_000)

    assert (stats(client).claims, stats(client).claimed, stats(client).blocked) == (0, 0, 2)


def test_releasing_a_successor_alone_leaves_it_behind_its_predecessor(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "jo"))
    first = claim(client)

    release(client, first, "b")

    assert names(claim(client)) == []
    deliver(client, first, "a")
    assert names(claim(client)) == ["b"]


def test_the_head_of_a_lane_is_its_first_unfinished_event(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "jo"), event("c", "jo"))
    deliver(client, claim(client, depth=2), "a")

    lane = lanes.inspect(queue_of(client), "jo")

    assert lane is not None
    assert (lane.length, lane.steps[0].body) == (2, b"b")


def test_an_event_whose_predecessor_is_unfinished_cannot_be_delivered(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "jo"))
    first = claim(client)

    assert deliver(client, first, "b").lost == (sequences(first)["b"],)
    assert stats(client).delivered_total == 0


def test_delivering_twice_reports_the_second_as_lost(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    first = claim(client)
    deliver(client, first)

    assert deliver(client, first).lost == (1,)
    assert stats(client).delivered_total == 1


def test_an_event_that_is_named_twice_is_settled_once(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "mo"))
    first = claim(client)

    deliver(client, first, "a", "a")

    assert stats(client).delivered_total == 1
    assert deliver(client, first, "b").lost == ()


def test_a_buried_event_frees_its_lane_and_is_kept_with_its_failure(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "jo"))
    bury(client, claim(client, depth=0), "a")

    assert names(claim(client)) == ["b"]
    assert stats(client).dead == 1
    assert client.hgetall(f"{base(QUEUE)}:failure") == {b"1": b"failure"}


def test_a_chain_may_be_buried_and_delivered_in_one_go(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "jo"), event("c", "jo"))
    first = claim(client)
    by_name = sequences(first)

    settled = lanes.settle(
        queue_of(client),
        first.id,
        delivered=[by_name["b"]],
        buried=[lanes.Burial(by_name["a"], b"failure"), lanes.Burial(by_name["c"], b"failure")],
    )

    assert settled.lost == ()
    assert (stats(client).delivered_total, stats(client).buried_total) == (1, 2)


def test_a_cooldown_passes_before_an_event_and_after_it(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("cools", "jo", cooldown_ms=COOLDOWN_MS), event("after", "jo"))
    first = claim(client)
    assert names(first) == ["a"]

    deliver(client, first)
    assert COOLDOWN_MS - 5_000 < due_in_ms(client, 2) <= COOLDOWN_MS
    make_due(client)
    cooling = claim(client)
    assert names(cooling) == ["cools"]

    deliver(client, cooling)
    assert COOLDOWN_MS - 5_000 < due_in_ms(client, 3) <= COOLDOWN_MS
    make_due(client)
    assert names(claim(client)) == ["after"]


def test_an_event_with_a_cooldown_waits_for_events_that_finished_before_it_came(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    deliver(client, claim(client))

    append(
        client, event("cools", "jo", "al", cooldown_ms=COOLDOWN_MS), event("independent", "bo", cooldown_ms=COOLDOWN_MS)
    )

    assert names(claim(client)) == ["independent"]
    assert COOLDOWN_MS - 5_000 < due_in_ms(client, 2) <= COOLDOWN_MS


def test_an_event_that_is_released_with_a_cooldown_waits_from_the_last_finish_of_its_keys(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("cools", "jo", "al"), event("after", "al"), event("alone", "bo"))
    claimed = claim(client)
    of = sequences(claimed)

    lanes.settle(
        queue_of(client),
        claimed.id,
        delivered=[of["a"]],
        released=[lanes.Release(of[name], 0, cooldown_ms=COOLDOWN_MS) for name in ("cools", "alone")],
    )

    assert COOLDOWN_MS - 5_000 < due_in_ms(client, of["cools"]) <= COOLDOWN_MS
    assert names(claim(client)) == ["alone"]
    make_due(client)
    cooling = claim(client)
    assert names(cooling) == ["cools"]
    deliver(client, cooling)
    assert COOLDOWN_MS - 5_000 < due_in_ms(client, of["after"]) <= COOLDOWN_MS


def test_an_event_waits_for_one_with_a_cooldown_that_finished_before_it_came(client: redis.Redis) -> None:
    append(client, event("cools", "jo", cooldown_ms=COOLDOWN_MS))
    deliver(client, claim(client))

    append(client, event("after", "al", "jo"), event("independent", "al"), event("other", "bo"))

    assert names(claim(client)) == ["other"]
    assert COOLDOWN_MS - 5_000 < due_in_ms(client, 2) <= COOLDOWN_MS


def test_a_chain_is_followed_no_further_than_to_a_key_in_its_cooldown(client: redis.Redis) -> None:
    """The predecessor of "b" in this claim is answered soon, but what has "al" waits for longer."""
    append(client, event("cools", "al", cooldown_ms=COOLDOWN_MS))
    deliver(client, claim(client))
    append(client, event("a", "jo"), event("b", "jo", "al"), event("c", "jo"))
    first = claim(client)
    assert names(first) == ["a"]

    deliver(client, first)

    assert COOLDOWN_MS - 5_000 < due_in_ms(client, 3) <= COOLDOWN_MS


def test_cooldowns_and_joins_are_remembered_for_as_long_as_they_may_last(client: redis.Redis) -> None:
    """Each is written in the generation of its length in which it happened, and looked for in two."""
    append(
        client, event("cools", "jo", cooldown_ms=COOLDOWN_MS), event("a", "al"), event("alias", "bo", join=("bo", "cy"))
    )
    deliver(client, claim(client))
    for what in ("finished_at", "cooling_until", "join"):
        grow_old(client, what)

    append(client, event("after", "jo"), event("cools too", "al", cooldown_ms=COOLDOWN_MS))
    append(client, event("old name", "bo"), event("new name", "cy"))

    assert depths(claim(client)) == {"old name": 0, "new name": 1}
    assert COOLDOWN_MS - 5_000 < due_in_ms(client, 4) <= COOLDOWN_MS
    assert COOLDOWN_MS - 5_000 < due_in_ms(client, 5) <= COOLDOWN_MS


def test_a_chain_is_followed_no_further_than_to_a_cooldown_of_the_generation_before(client: redis.Redis) -> None:
    append(client, event("cools", "al", cooldown_ms=COOLDOWN_MS))
    deliver(client, claim(client))
    grow_old(client, "cooling_until")
    append(client, event("a", "jo"), event("b", "jo", "al"))

    first = claim(client)
    assert names(first) == ["a"]
    deliver(client, first)
    assert COOLDOWN_MS - 5_000 < due_in_ms(client, 3) <= COOLDOWN_MS


def test_an_event_stands_in_the_lanes_that_its_keys_were_joined_to(client: redis.Redis) -> None:
    append(client, event("early", "old"), event("alias", "old", "new", join=("old", "new")))
    append(client, event("next alias", "new", "newest", join=("new", "newest")), event("late", "old"))
    append(client, event("last", "newest"), event("independent", "al"))

    order = depths(claim(client))

    assert order == {"early": 0, "alias": 1, "next alias": 2, "late": 3, "last": 4, "independent": 0}


def test_keys_joined_in_a_ring_are_one_lane(client: redis.Redis) -> None:
    append(client, event("to b", "a", "b", join=("a", "b")), event("to a", "a", "b", join=("b", "a")))
    append(client, event("first", "b"), event("second", "a"), event("third", "b"))

    assert depths(claim(client)) == {"to b": 0, "to a": 1, "first": 2, "second": 3, "third": 4}


def test_an_expired_claim_is_reaped_to_its_place(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "jo"))
    dead = claim(client)
    expire(client, dead)

    assert lanes.reap(queue_of(client)).events == 2
    again = claim(client)
    assert names(again) == ["a", "b"]
    assert [[expired.by for expired in event.expired_claims] for event in again.events] == [["a worker"]] * 2


def test_a_claim_that_the_client_repeats_leaves_no_event_behind(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client repeats a script when a connection breaks, also after Redis ran it."""
    append(client, event("a", "jo"), event("b", "jo"), event("c", "al"))
    with monkeypatch.context() as repeated:
        repeated.setattr("lanes.claims.uuid4", Mock(return_value=uuid4()))
        assert names(claim(client, events=2)) == ["a", "c"]
        again = claim(client)

    assert (again.events, again.next_due_ms, stats(client).claims) == ((), 0, 0)
    assert names(claim(client)) == ["a", "c", "b"]


def test_all_expired_claims_are_reaped_in_calls_that_are_bounded(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}") for n in range(2 * MOST_REAPED + 1)))
    for _ in range(2 * MOST_REAPED + 1):
        expire(client, claim(client, events=1))

    assert lanes.reap(queue_of(client)).events == 2 * MOST_REAPED + 1
    assert stats(client).claimed == 0


def test_a_second_worker_cannot_be_overruled_by_the_first_ones_late_answer(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    first = claim(client)
    expire(client, first)
    lanes.reap(queue_of(client))
    second = claim(client)

    assert deliver(client, first).lost == (1,)
    assert not lanes.extend(queue_of(client), first.id, lease_ms=60_000)
    assert deliver(client, second).lost == ()


def test_an_extended_claim_is_not_reaped(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    mine = claim(client)
    expire(client, mine)

    assert lanes.extend(queue_of(client), mine.id, lease_ms=60_000)
    assert lanes.reap(queue_of(client)).events == 0
    assert deliver(client, mine).lost == ()


def test_the_more_claims_of_an_event_expired_the_fewer_events_share_its_next_one(client: redis.Redis) -> None:
    """Otherwise a poison message would expire the same hundreds of others for ever."""
    append(client, *(event(f"e{n}") for n in range(100)))

    sizes = []
    for expired in range(4):
        expire_claims(client, *range(1, 101), times=expired)
        claimed = claim(client)
        sizes.append(len(claimed.events))
        release(client, claimed)

    assert sizes == [100, 50, 5, 1]


def test_a_claim_that_expires_is_recorded_at_each_of_its_events(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "al"))
    dying = claim(client)
    expire(client, dying)
    lanes.reap(queue_of(client))

    assert [len(event.expired_claims) for event in claim(client).events] == [1, 1]


def test_a_suspect_is_claimed_alone_and_independent_events_do_not_wait(client: redis.Redis) -> None:
    append(client, event("poison", "jo"), event("behind", "jo"), event("other", "al"))
    expire_claims(client, 1)

    claims = [claim(client) for _ in range(3)]

    assert sorted(names(each) for each in claims) == [[], ["other"], ["poison"]]


def test_of_the_suspects_one_is_under_way_at_a_time(client: redis.Redis) -> None:
    """Threads of one process die together: two suspects side by side could never be told apart."""
    append(client, event("poison", "jo"), event("innocent", "al"), event("other", "bo"))
    expire_claims(client, 1, 2)

    first = claim(client)
    meanwhile = [claim(client) for _ in range(2)]
    deliver(client, first)

    assert [names(each) for each in (first, *meanwhile)] == [["poison"], ["other"], []]
    assert names(claim(client)) == ["innocent"]


def test_a_repeated_message_id_is_accepted_and_dropped(client: redis.Redis) -> None:
    assert append(client, event("a", "jo"), event("b", "jo"), event("a", "jo")).accepted == (True, True, False)
    assert append(client, event("b", "al")).accepted == (False,)

    assert names(claim(client)) == ["a", "b"]
    assert stats(client).duplicates_total == 2


def test_message_ids_are_remembered_in_older_generations_and_forgotten_in_the_end(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    seen = next(iter(client.scan_iter(f"{base(QUEUE)}:seen:*")))
    *prefix, generation = seen.decode().split(":")

    client.rename(seen, ":".join([*prefix, str(int(generation) - 3)]))
    assert append(client, event("a", "jo")).accepted == (False,)

    client.rename(":".join([*prefix, str(int(generation) - 3)]), ":".join([*prefix, str(int(generation) - 4)]))
    assert append(client, event("a", "jo")).accepted == (True,)


def test_a_message_id_is_not_found_across_two_others(client: redis.Redis) -> None:
    append(client, event("other", "jo"))
    seen = next(iter(client.scan_iter(f"{base(QUEUE)}:seen:*")))
    bucket, fingerprint = lanes.records.fingerprint("a")[:3], lanes.records.fingerprint("a")[3:]
    client.hset(seen, bucket, b"\0" + fingerprint + b"\0" * 5)

    assert append(client, event("a", "jo")).accepted == (True,)
    assert append(client, event("a", "jo")).accepted == (False,)


def test_a_full_queue_takes_nothing(client: redis.Redis) -> None:
    append(client, event("a", "jo"), limit=2)

    with pytest.raises(lanes.QueueFull):
        append(client, event("b", "jo"), event("c", "jo"), limit=2)

    assert stats(client).waiting == 1
    assert append(client, event("b", "jo"), limit=2).accepted == (True,)


def test_a_deliverer_is_asked_for_once_until_one_has_come_and_gone(client: redis.Redis) -> None:
    assert append(client, event("a", "jo")).wake
    assert not append(client, event("b", "al")).wake

    deliver(client, claim(client))
    assert claim(client).events == ()

    assert append(client, event("c", "jo")).wake


def test_no_deliverer_is_requested_while_one_polls(client: redis.Redis) -> None:
    lanes.claim(queue_of(client), lease_ms=1, max_events=1, max_bytes=1, max_depth=0, poll_ms=60_000)

    assert not append(client, event("a", "jo")).wake


def test_an_open_claim_takes_care_of_a_few_and_more_work_wants_more_deliverers(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    claim(client)
    client.delete(f"{base(QUEUE)}:wakeup")

    assert not append(client, event("b", "al")).wake
    assert append(client, *(event(f"e{n}") for n in range(200))).wake
    client.delete(f"{base(QUEUE)}:wakeup")
    assert not claim(client, events=50).wake, "two claims take care of two hundred"
    append(client, *(event(f"f{n}") for n in range(400)))
    client.delete(f"{base(QUEUE)}:wakeup")
    assert claim(client, events=50).wake


def test_a_few_events_wait_for_company_while_others_are_at_work(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    assert names(claim(client, batch_wait_ms=60_000)) == ["a"], "no other claim is open"
    append(client, event("b", "mo"), event("c", "bo"))

    left = claim(client, batch_wait_ms=60_000)
    assert names(left) == []
    assert left.next_due_ms is not None
    assert 0 < left.next_due_ms <= 60_000

    append(client, *(event(f"e{number}") for number in range(198)))
    assert len(claim(client, events=300, batch_wait_ms=60_000).events) == 200, (
        "as many as two claims should take care of"
    )


def test_a_few_events_wait_no_longer_than_was_said(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    claim(client)
    append(client, event("b", "mo"))

    wait_until(lambda: names(claim(client, batch_wait_ms=1)) == ["b"], "the event has waited long enough")


def test_reaping_asks_for_a_deliverer_when_a_hint_was_lost(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    client.delete(f"{base(QUEUE)}:wakeup")

    assert lanes.reap(queue_of(client)).wake
    assert not lanes.reap(queue_of(client)).wake


def test_the_figures_add_up(client: redis.Redis) -> None:
    append(client, *(event(f"jo {n}", "jo") for n in range(3)), event("al", "al"), event("bo", "bo"), event("cy", "cy"))
    release(client, claim(client, events=1), delay_ms=60_000)
    mine = claim(client, events=1)
    bury(client, claim(client, events=1), "bo")

    figures = stats(client)

    assert names(mine) == ["al"]
    assert (figures.waiting, figures.ready, figures.delayed, figures.claimed, figures.blocked) == (5, 1, 1, 1, 2)
    assert (figures.claims, figures.dead, figures.accepted_total, figures.buried_total) == (1, 1, 6, 1)
    wait_until(lambda: 0 < stats(client).oldest_age_s < 60, "the oldest event has an age, in seconds")


def test_a_long_lane_is_named_as_hot_while_it_is_long(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}", "kiosk") for n in range(1001)))
    assert stats(client).hot == (lanes.HotLane(lanes.digest("kiosk"), 1001),)

    deliver(client, claim(client, events=2))

    assert stats(client).hot == ()


def test_a_lane_says_for_which_events_it_waits(client: redis.Redis) -> None:
    append(client, event("a", "al"), event("meet", "al", "jo"), event("b", "jo"))
    mine = claim(client, depth=0)

    lane = lanes.inspect(queue_of(client), "jo")

    assert lane is not None
    assert (lane.length, lane.tail) == (2, 3)
    assert [(step.body, step.state) for step in lane.steps] == [(b"meet", "waiting"), (b"a", "claimed")]
    assert lane.steps[-1].claim == mine.id
    assert lane.steps[-1].digest == lanes.digest("al")
    assert lanes.inspect(queue_of(client), "unknown") is None


def test_a_delayed_or_ready_head_is_told_as_such(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    ready = lanes.inspect(queue_of(client), "jo")
    release(client, claim(client), delay_ms=60_000)
    delayed = lanes.inspect(queue_of(client), "jo")

    assert ready is not None
    assert delayed is not None
    assert [step.state for step in (*ready.steps, *delayed.steps)] == ["ready", "delayed"]
    assert delayed.steps[0].figure > 50_000


def test_bodies_and_keys_may_be_any_bytes_and_text(client: redis.Redis) -> None:
    body = bytes(range(256))
    append(client, event("a", "jo \x00 ü 🇺🇸", body=body), event("b", "\udc80"))

    assert [event.body for event in claim(client).events] == [body, b"b"]


def test_two_queues_know_nothing_of_each_other(client: redis.Redis) -> None:
    append(client, event("a", "jo"))

    other = lanes.Queue(client=client, name="other")
    elsewhere = lanes.append(other, [event("a", "jo")])

    assert elsewhere.accepted == (True,)
    claimed = lanes.claim(other, lease_ms=1000, max_events=9, max_bytes=999, max_depth=0, poll_ms=0)
    assert [event.sequence for event in claimed.events] == [1]


def test_an_asyncio_client_appends_the_same(redis_client: redis.Redis) -> None:
    connection = redis_client.connection_pool.connection_kwargs

    async def scenario() -> lanes.Appended:
        async with redis.asyncio.Redis(host=connection["host"], port=connection["port"]) as asynchronous:
            await asynchronous.script_flush()
            queue = lanes.AsyncQueue(client=asynchronous, name=QUEUE)
            return await lanes.append_async(queue, [event("a", "jo")])

    assert asyncio.run(scenario()) == lanes.Appended(("accepted",), wake=True, last=1)
    assert names(claim(redis_client)) == ["a"]


def test_a_server_that_forgot_the_scripts_is_told_them_again() -> None:
    client = fakeredis.FakeStrictRedis()
    append(client, event("a", "jo"))
    client.script_flush()

    assert names(claim(client)) == ["a"]
