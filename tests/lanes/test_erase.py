"""Erasing: each event with a key leaves the queue whatever its state, and no other event is changed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import redis

import lanes
from lanes.keys import base
from tests.lanes.driving import (
    COOLDOWN_MS,
    QUEUE,
    append,
    bury,
    claim,
    deliver,
    due_in_ms,
    event,
    expire,
    leftovers,
    make_due,
    names,
    queue_of,
    release,
    sequences,
    stats,
)

ERASE = import_module("lanes.erase")  # the package has a function of that name


def erase(client: redis.Redis, *keys: str, before: int | None = None) -> dict[str, str]:
    """How each event was erased, by its name."""
    digests = [lanes.digest(key) for key in keys]
    gone = lanes.erase(queue_of(client), digests, before=before)
    return {event.body.decode(): event.how for event in gone.events}


def test_a_ready_event_is_removed_and_the_next_one_becomes_ready(client: redis.Redis) -> None:
    append(client, event("gone", "jo", "al"), event("stays", "al"))

    assert erase(client, "jo") == {"gone": "removed"}
    assert erase(client, "jo") == {}

    assert names(claim(client)) == ["stays"]
    assert (stats(client).erased_total, stats(client).waiting) == (1, 1)


def test_every_event_with_the_key_is_removed_however_long_its_lane(client: redis.Redis) -> None:
    append(client, *(event(f"e{n}", "jo", f"page {n % 7}") for n in range(450)), event("other", "page 3"))

    assert len(erase(client, "jo")) == 450

    assert names(claim(client)) == ["other"]
    assert leftovers(client) >= {":event", ":lane"}
    assert client.hlen(f"{base(QUEUE)}:lane") == 1
    assert not client.exists(f"{base(QUEUE)}:links", f"{base(QUEUE)}:cooldown")


def test_a_lane_is_linked_around_an_event_removed_from_its_middle(client: redis.Redis) -> None:
    append(client, event("a", "al"), event("gone", "jo", "al"), event("b", "al"), event("last", "jo", "al"))

    assert erase(client, "jo") == {"gone": "removed", "last": "removed"}

    lane = lanes.inspect(queue_of(client), "al")
    assert lane is not None
    assert (lane.length, lane.tail) == (2, 3)
    append(client, event("c", "al"))
    claimed = claim(client)
    assert names(claimed) == ["a", "b", "c"]
    deliver(client, claimed)
    assert leftovers(client) == set()


def test_a_successor_in_two_lanes_waits_for_the_events_left_in_either(client: redis.Redis) -> None:
    append(client, event("a", "al"), event("gone", "jo", "al", "bo"), event("behind", "al", "bo"))

    erase(client, "jo")

    first = claim(client, depth=0)
    assert names(first) == ["a"]
    deliver(client, first)
    assert names(claim(client)) == ["behind"]


def test_only_earlier_events_are_erased(client: redis.Redis) -> None:
    append(client, event("old", "jo"), event("order", "jo"), event("new", "jo"))

    assert erase(client, "jo", before=2) == {"old": "removed"}

    assert names(claim(client)) == ["order", "new"]


def test_a_claimed_event_is_emptied_and_nothing_overtakes_it(client: redis.Redis) -> None:
    append(client, event("under way", "jo"), event("next", "jo"), event("order", "jo"))
    mine = claim(client, depth=0)

    gone = lanes.erase(queue_of(client), [lanes.digest("jo")], before=3)
    assert [(event.body, event.how) for event in gone.events] == [(b"under way", "emptied"), (b"next", "removed")]
    assert gone.claimed == 1
    assert names(claim(client)) == []

    assert deliver(client, mine).lost == ()
    assert lanes.erase(queue_of(client), [lanes.digest("jo")], before=3) == lanes.Erased((), 0)
    assert names(claim(client)) == ["order"]


def test_the_events_behind_an_emptied_one_are_erased_in_each_of_its_lanes(client: redis.Redis) -> None:
    append(client, event("under way", "jo", "al"))
    claim(client)
    append(client, event("next", "al"), event("other", "bo"))

    assert erase(client, "jo", "al") == {"under way": "emptied", "next": "removed"}


def test_an_emptied_event_leaves_no_dead_letter(client: redis.Redis) -> None:
    append(client, event("under way", "jo"))
    mine = claim(client)
    by_name = sequences(mine)
    erase(client, "jo")

    burial = lanes.Burial(by_name["under way"], b"failure", blocks=True)
    assert lanes.settle(queue_of(client), mine.id, buried=[burial]).lost == ()

    again = claim(client)
    assert names(again) == [""]
    lanes.settle(queue_of(client), again.id, buried=[lanes.Burial(by_name["under way"], b"failure")])
    assert (stats(client).dead, stats(client).delivered_total, stats(client).unsent_total) == (0, 0, 1)
    assert leftovers(client) == set()


def test_an_emptied_event_that_is_returned_is_empty_and_can_be_removed(client: redis.Redis) -> None:
    append(client, event("dies", "jo"), event("tried again", "al"))
    mine = claim(client)
    erase(client, "jo", "al")
    release(client, mine, "tried again")
    expire(client, mine)
    lanes.reap(queue_of(client))

    assert [event.body for event in claim(client, events=1).events] == [b""]
    assert erase(client, "al", "jo") == {"": "removed"}


def test_a_blocking_dead_letter_is_erased_and_its_successors_are_freed(client: redis.Redis) -> None:
    append(client, event("bad", "jo", "al"), event("next", "al"))
    mine = claim(client, depth=0)
    lanes.settle(queue_of(client), mine.id, buried=[lanes.Burial(sequences(mine)["bad"], b"failure", blocks=True)])

    assert erase(client, "jo") == {"bad": "dead_letter"}

    figures = stats(client)
    assert (figures.dead, figures.blocking, figures.buried_total, figures.erased_total) == (0, 0, 1, 0)
    assert names(claim(client)) == ["next"]


def test_dead_letters_that_do_not_block_are_not_on_the_queue(client: redis.Redis) -> None:
    append(client, event("bad", "jo"))
    bury(client, claim(client), "bad")

    assert erase(client, "jo") == {}


def test_a_delayed_event_is_removed(client: redis.Redis) -> None:
    append(client, event("again", "jo"), event("behind", "jo"))
    release(client, claim(client), "again", delay_ms=60_000)

    assert erase(client, "jo") == {"again": "removed", "behind": "removed"}
    assert leftovers(client) == set()


def test_an_event_that_becomes_ready_waits_for_the_cooldown_after_finished_events(client: redis.Redis) -> None:
    append(client, event("left", "al"))
    deliver(client, claim(client))
    append(client, event("gone", "jo", "al", cooldown_ms=COOLDOWN_MS), event("held", "al", cooldown_ms=COOLDOWN_MS))
    make_due(client)

    erase(client, "jo")

    assert COOLDOWN_MS - 5_000 < due_in_ms(client, 3) <= COOLDOWN_MS


def test_an_event_deep_in_other_lanes_is_removed_in_several_calls(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is bounded, and the search in one lane does not end that in another."""
    append(client, *(event(f"e{n}", "kiosk", "page") for n in range(30)))
    append(client, event("gone", "jo", "page", "kiosk"), event("after", "kiosk"), event("too", "page", "jo"))
    steps, script = list[int](), ERASE.run

    def counted(*arguments: Any) -> Any:
        steps.append(arguments[2][1])
        return script(*arguments)

    monkeypatch.setattr(ERASE, "_MOST_STEPS", 7)
    monkeypatch.setattr(ERASE, "run", counted)
    assert erase(client, "jo") == {"gone": "removed", "too": "removed"}

    assert len(steps) > 2 * 30 // 7
    assert max(steps) == 7
    assert client.hexists(f"{base(QUEUE)}:lane", lanes.digest("jo")) == 0
    claimed = claim(client)
    assert names(claimed) == [*(f"e{n}" for n in range(30)), "after"]
    deliver(client, claimed)
    assert leftovers(client) == set()


def test_a_search_begins_again_when_the_event_that_it_reached_has_left(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(client, *(event(f"e{n}", "kiosk") for n in range(30)), event("gone", "jo", "kiosk"), event("after", "kiosk"))
    passed = claim(client, events=8, depth=8)
    script = ERASE.run

    def delivering(*arguments: Any) -> Any:
        reply = script(*arguments)
        deliver(client, passed)
        return reply

    monkeypatch.setattr(ERASE, "_MOST_STEPS", 7)
    monkeypatch.setattr(ERASE, "run", delivering)
    assert erase(client, "jo") == {"gone": "removed"}

    monkeypatch.undo()
    deliver(client, claim(client))
    assert leftovers(client) == set()


def test_an_event_behind_more_spared_ones_than_a_call_passes_is_erased(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call finds it, and the next one, which comes as far, erases it."""
    append(client, *(event(f"e{n}", "jo") for n in range(20)), event("gone", "jo"))
    calls, script = list[int](), ERASE.run

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        assert len(calls) < 100
        return script(*arguments)

    monkeypatch.setattr(ERASE, "_MOST_STEPS", 7)
    monkeypatch.setattr(ERASE, "run", counted)
    erased = lanes.erase(
        queue_of(client),
        [lanes.digest("jo")],
        counted_as=lambda body: lanes.fates.FORGOTTEN if body == b"gone" else None,
    )

    assert [event.body for event in erased.events] == [b"gone"]


def test_joined_keys_are_one_in_either_direction(client: redis.Redis) -> None:
    append(client, event("alias", "old", "new", join=("old", "new")), event("again", join=("older", "old")))
    joins = lanes.remembered_hashes(queue_of(client))["join"]

    wanted, independent = lanes.joined_digests(queue_of(client), joins, [[lanes.digest("new")], [lanes.digest("al")]])

    assert wanted.digests == {lanes.digest(key) for key in ("new", "old", "older")}
    assert independent.digests == {lanes.digest("al")}
    assert lanes.erase_fields(queue_of(client), joins, wanted.digests) == 2
    assert lanes.remembered_hashes(queue_of(client)).get("join", []) == []


def test_an_erased_message_id_is_new_again(client: redis.Redis) -> None:
    append(client, event("a", "jo"), event("b", "al"))

    assert lanes.erase_message_ids(queue_of(client), ["a", "never seen"]) == 1

    assert append(client, event("a", "jo"), event("b", "al")).accepted == (True, False)


def test_each_accepted_event_has_its_sequence(client: redis.Redis) -> None:
    assert append(client, event("a"), event("b")).sequences() == (1, 2)
    assert append(client, event("a"), event("c"), event("b"), event("d")).sequences() == (None, 3, None, 4)
    assert append(client, event("a")).sequences() == (None,)
