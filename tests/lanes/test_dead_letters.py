"""Dead letters: read in order, requeued once, discarded, edited; and what a blocking one does to its successors."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from itertools import count
from typing import Any

import pytest
import redis

import lanes
from lanes.keys import base
from tests.lanes.driving import (
    QUEUE,
    append,
    block,
    bury,
    claim,
    deliver,
    event,
    expire,
    leftovers,
    names,
    queue_of,
    sequences,
    stats,
)

NOTE = "note"
REPLAYS = count(1)  # two replays never write the same record


def bury_all(client: redis.Redis, *which: str) -> None:
    append(client, *(event(name, name) for name in which))
    bury(client, claim(client), *which)


def bodies(client: redis.Redis) -> list[bytes]:
    first = lanes.list_dead_letters(queue_of(client), most=2)
    return [
        dead_letter.body
        for dead_letter in first + lanes.list_dead_letters(queue_of(client), after=first[-1].sequence if first else 0)
    ]


def replay(client: redis.Redis, *dead_letters: lanes.DeadLetter, as_of: int | None = None) -> int:
    """Requeue the dead letters and return how many there were; those that block with the body "again"."""
    back = lanes.requeue(
        queue_of(client),
        blocking=[replace(dead_letter, body=b"again") for dead_letter in dead_letters if dead_letter.blocks],
        appended=[
            lanes.NewEvent(dead_letter.body, ("jo",), "seen", replaces=dead_letter.sequence)
            for dead_letter in dead_letters
            if not dead_letter.blocks
        ],
        as_of=lanes.dead_letter_changes(queue_of(client)) if as_of is None else as_of,
        record=(NOTE, {"cursor": dead_letters[-1].sequence, "replay": next(REPLAYS)}),
    )
    return back.count


def test_dead_letters_are_read_in_the_order_of_acceptance_page_by_page(client: redis.Redis) -> None:
    bury_all(client, "a", "b", "c")
    bury_all(client, "d", "e")

    assert bodies(client) == [b"a", b"b", b"c", b"d", b"e"]
    (dead_letter,) = lanes.get_dead_letters(queue_of(client), [2, 99])
    assert (dead_letter.body, dead_letter.failure, dead_letter.keys, dead_letter.blocks) == (
        b"b",
        b"failure",
        (lanes.digest("b"),),
        False,
    )
    assert lanes.count_dead_letters(queue_of(client)) == (5, 5)


def test_a_dead_letter_is_requeued_once_behind_live_events(client: redis.Redis) -> None:
    bury_all(client, "a", "b")
    append(client, event("live", "jo"))
    dead_letters = lanes.list_dead_letters(queue_of(client))

    assert replay(client, *dead_letters) == 2
    assert replay(client, *dead_letters) == 0
    assert client.hget(NOTE, "cursor") == b"2"

    again = claim(client)
    assert names(again) == ["live", "a", "b"]
    assert (stats(client).dead, bodies(client)) == (0, [])
    deliver(client, again)
    assert leftovers(client) == set()


def test_a_discarded_dead_letter_is_gone(client: redis.Redis) -> None:
    bury_all(client, "a", "b")

    assert lanes.discard(queue_of(client), [1, 77]) == 1

    assert bodies(client) == [b"b"]
    assert leftovers(client) == {":dead", ":failure", ":dead_index", ":dead_keys"}


def indexed(client: redis.Redis, *which: str) -> list[list[int]]:
    queue = queue_of(client)
    assert not [each for each in lanes.verify(queue).violations if each.invariant == "dead_keys"]
    return [lanes.dead_letters_of(queue, lanes.digest(key)) for key in which]


def test_the_dead_letters_of_a_key_are_found_in_the_order_of_acceptance(client: redis.Redis) -> None:
    append(client, *(event(str(number), "jo", f"own-{number}") for number in range(1, 13)), event("13", "al"))
    bury(client, claim(client), *(str(number) for number in range(1, 14)))
    queue, digest = queue_of(client), lanes.digest("jo")

    assert indexed(client, "jo", "own-3", "al", "eve") == [list(range(1, 13)), [3], [13], []]
    assert lanes.dead_letters_of(queue, digest, after=9, most=2) == [10, 11]
    assert lanes.last_dead_letters_of(queue, digest, 3) == ([10, 11, 12], 12)
    assert lanes.last_dead_letters_of(queue, lanes.digest("eve"), 3) == ([], 0)


@pytest.mark.parametrize("end", ["discard", "replay", "spill", "erase", "edit", "unblock"])
@pytest.mark.parametrize("is_blocking", [True, False], ids=["blocking", "apart"])
def test_the_dead_letters_of_a_key_follow_what_becomes_of_them(
    client: redis.Redis, end: str, is_blocking: bool
) -> None:
    queue = lanes.open_queue(queue_of(client))
    append(client, event("a", "jo", "ann"), event("b", "max"))
    claimed = claim(client)
    bury(client, claimed, "b")
    block(client, claimed, "a") if is_blocking else bury(client, claimed, "a")
    assert indexed(client, "jo", "ann", "max") == [[1], [1], [2]]
    (dead_letter,) = lanes.get_dead_letters(queue, [1])

    match end:
        case "discard":
            lanes.discard(queue, [1], "forgotten")
        case "replay":
            replay(client, dead_letter)
        case "spill":
            lanes.open_spill(queue, "file")
            lanes.spill(queue, "file", [1], as_of=lanes.dead_letter_changes(queue))
        case "erase":
            lanes.erase(queue, [lanes.digest("ann")])
        case "edit":
            lanes.edit_dead_letter(queue, dead_letter, b"edited", b"failure")
        case "unblock":
            lanes.unblock(queue, {1: b"skipped"}, as_of=lanes.dead_letter_changes(queue))

    stays = end in ("edit", "unblock") or (end == "spill" and is_blocking) or (end == "erase" and not is_blocking)
    assert indexed(client, "jo", "ann", "max") == [[1] if stays else [], [1] if stays else [], [2]]


def test_an_imported_dead_letter_is_found_by_its_keys(client: redis.Redis) -> None:
    imported = lanes.ImportedDeadLetter(7, 1_700_000_000_000, ("jo", "ann", "jo"), b"body", b"failure")
    lanes.import_dead_letters(lanes.open_queue(queue_of(client)), [imported])

    assert indexed(client, "jo", "ann") == [[7], [7]]


def test_a_blocking_dead_letter_keeps_its_lane_and_no_other(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("next", "jo"), event("other", "al"))
    first = claim(client)
    block(client, first, "bad")
    deliver(client, first, "other")

    figures = stats(client)
    assert (figures.blocking, figures.dead, figures.waiting, figures.blocked, figures.claims) == (1, 1, 1, 1, 0)
    assert names(claim(client)) == []
    lane = lanes.inspect(queue_of(client), "jo")
    assert lane is not None
    assert lane.steps[0].state == "blocking"
    assert lanes.reap(queue_of(client)).events == 0


def test_a_worker_that_lost_its_claim_can_block_nothing(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    first = claim(client)
    expire(client, first)
    lanes.reap(queue_of(client))

    block(client, first, "a")

    assert (stats(client).blocking, stats(client).dead, stats(client).buried_total) == (0, 0, 0)
    assert names(claim(client)) == ["a"]


def test_a_blocking_dead_letter_is_requeued_in_its_position_once(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("next", "jo"))
    block(client, claim(client), "bad")

    dead_letters = lanes.list_dead_letters(queue_of(client))
    assert replay(client, *dead_letters) == 1
    assert replay(client, *dead_letters) == 0

    again = claim(client)
    assert names(again) == ["again", "next"]
    deliver(client, again)
    figures = stats(client)
    assert (figures.delivered_total, figures.buried_total, figures.dead) == (2, 0, 0)
    assert leftovers(client) == set()


def test_discarding_a_blocking_dead_letter_frees_its_successors(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("next", "jo"))
    block(client, claim(client), "bad")

    assert lanes.discard(queue_of(client), [1]) == 1
    assert lanes.discard(queue_of(client), [1]) == 0

    again = claim(client)
    assert names(again) == ["next"]
    deliver(client, again)
    figures = stats(client)
    assert (figures.delivered_total, figures.buried_total, figures.accepted_total) == (1, 1, 2)
    assert leftovers(client) == set()


def test_an_edited_dead_letter_is_requeued_as_edited(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("worse", "al"))
    first = claim(client)
    block(client, first, "bad")
    bury(client, first, "worse")

    as_read = lanes.list_dead_letters(queue_of(client))
    for dead_letter in as_read:
        assert lanes.edit_dead_letter(queue_of(client), dead_letter, b"good", b"edited")
        assert not lanes.edit_dead_letter(queue_of(client), dead_letter, b"better", b"edited again"), (
            "it has changed since"
        )

    dead_letters = lanes.list_dead_letters(queue_of(client))
    assert [(dead_letter.body, dead_letter.failure) for dead_letter in dead_letters] == [(b"good", b"edited")] * 2
    assert replay(client, *dead_letters) == 2
    assert names(claim(client)) == ["again", "good"]
    assert client.hlen(f"{base(QUEUE)}:dead") == 0
    assert not lanes.edit_dead_letter(queue_of(client), dead_letters[0], b"late", b"late"), "it no longer exists"


def test_dead_letters_that_were_edited_since_they_were_read_are_not_requeued(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("worse", "al"))
    first = claim(client)
    block(client, first, "bad")
    bury(client, first, "worse")

    for n in range(2):
        as_of, dead_letters = lanes.dead_letter_changes(queue_of(client)), lanes.list_dead_letters(queue_of(client))
        assert lanes.edit_dead_letter(queue_of(client), dead_letters[n], b"good", b"edited")
        with pytest.raises(lanes.DeadLettersChanged):
            replay(client, *dead_letters, as_of=as_of)

    assert bodies(client) == [b"good", b"good"]
    assert (stats(client).blocking, names(claim(client)), client.exists(NOTE)) == (1, [], 0)


def test_a_dead_letter_that_is_edited_at_the_last_moment_is_not_requeued(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edit arrives through another connection, after the comparison and before the transaction."""
    bury_all(client, "bad")
    (dead_letter,) = lanes.list_dead_letters(queue_of(client))
    module = import_module("lanes.dead_letters")
    append_arguments = module.append_arguments

    def edit_first(*arguments: Any) -> Any:
        lanes.edit_dead_letter(queue_of(client), dead_letter, b"good", b"edited")
        return append_arguments(*arguments)

    monkeypatch.setattr(module, "append_arguments", edit_first)
    with pytest.raises(lanes.DeadLettersChanged):
        replay(client, dead_letter)

    assert (bodies(client), names(claim(client))) == ([b"good"], [])


def test_dead_letters_that_were_unblocked_since_they_were_read_are_not_requeued(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("next", "jo"))
    block(client, claim(client), "bad")
    as_of, dead_letters = lanes.dead_letter_changes(queue_of(client)), lanes.list_dead_letters(queue_of(client))
    lanes.unblock(queue_of(client), {1: b"too long"}, as_of=lanes.dead_letter_changes(queue_of(client)))

    with pytest.raises(lanes.DeadLettersChanged):
        replay(client, *dead_letters, as_of=as_of)

    assert bodies(client) == [b"bad"]


def test_an_unblocked_dead_letter_stays(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("next", "jo"))
    block(client, claim(client), "bad")
    assert lanes.blocking_dead_letters(queue_of(client)) == [1]

    lanes.unblock(queue_of(client), {1: b"too long"}, as_of=lanes.dead_letter_changes(queue_of(client)))
    lanes.unblock(queue_of(client), {1: b"again"}, as_of=lanes.dead_letter_changes(queue_of(client)))

    assert lanes.blocking_dead_letters(queue_of(client)) == []
    assert names(claim(client)) == ["next"]
    (dead_letter,) = lanes.list_dead_letters(queue_of(client))
    assert (dead_letter.failure, dead_letter.blocks, stats(client).buried_total) == (b"too long", False, 1)


def test_a_successor_of_a_released_event_of_its_claim_cannot_block(client: redis.Redis) -> None:
    append(client, event("first", "jo"), event("second", "jo"))
    claimed = claim(client)

    lanes.settle(
        queue_of(client),
        claimed.id,
        released=[lanes.Release(1, 0)],
        buried=[lanes.Burial(2, b"failure", blocks=True)],
    )

    assert (stats(client).blocking, stats(client).dead, stats(client).buried_total) == (0, 0, 0)
    assert names(claim(client)) == ["first", "second"]


def test_spilled_dead_letters_leave_except_those_that_block(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("next", "jo"), event("other", "al"))
    claimed = claim(client)
    block(client, claimed, "bad")
    bury(client, claimed, "other")

    lanes.open_spill(queue_of(client), "file")
    assert lanes.spill(queue_of(client), "file", [1, 3], as_of=0) == 1

    assert bodies(client) == [b"bad"]
    assert stats(client).spilled_total == 1
    assert [lanes.close_spill(queue_of(client), "file") for _ in range(2)] == [{3}] * 2


def test_nothing_is_spilled_to_a_file_that_is_closed(client: redis.Redis) -> None:
    """Another worker closed the file without the rest: a worker that is slow must not remove that."""
    bury_all(client, "a", "b")
    lanes.open_spill(queue_of(client), "file")
    lanes.spill(queue_of(client), "file", [1], as_of=0)

    assert lanes.close_spill(queue_of(client), "file") == {1}
    assert lanes.spill(queue_of(client), "file", [2], as_of=0) == 0
    lanes.end_spill(queue_of(client), "file")
    assert lanes.spill(queue_of(client), "file", [2], as_of=0) == 0

    assert bodies(client) == [b"b"]
    assert leftovers(client) == {":dead", ":failure", ":dead_index", ":dead_keys"}


def test_imported_dead_letters_keep_their_sequence_and_are_added_once(client: redis.Redis) -> None:
    bury_all(client, "a", "b", "c")
    a, _, c = (
        lanes.ImportedDeadLetter(
            dead_letter.sequence,
            dead_letter.accepted_at_ms,
            (dead_letter.body.decode(),),
            dead_letter.body,
            dead_letter.failure,
        )
        for dead_letter in lanes.list_dead_letters(queue_of(client))
    )
    lanes.discard(queue_of(client), [1, 3])

    assert lanes.import_dead_letters(queue_of(client), [c, a]) == 2
    assert lanes.import_dead_letters(queue_of(client), [c, a]) == 0

    assert bodies(client) == [b"a", b"b", b"c"]
    assert lanes.list_dead_letters(queue_of(client))[0].keys == (lanes.digest("a"),)


def test_an_imported_dead_letter_takes_no_sequence_that_another_event_has(client: redis.Redis) -> None:
    bury_all(client, "mine")
    append(client, event("live", "live"))
    from_elsewhere = [lanes.ImportedDeadLetter(sequence, 1, ("a",), b"old", b"failure") for sequence in (1, 2, 9, None)]

    assert lanes.import_dead_letters(queue_of(client), from_elsewhere) == 4

    assert [dead_letter.sequence for dead_letter in lanes.list_dead_letters(queue_of(client))] == [1, 3, 4, 9, 10]
    append(client, event("next", "next"))
    assert sequences(claim(client)) == {"live": 2, "next": 11}


def test_the_events_of_a_lane_are_returned_in_their_order(client: redis.Redis) -> None:
    append(client, event("a1", "a", "b"), event("b", "b"), event("a2", "a"), event("a3", "c", "a"))

    assert [event.body for event in lanes.lane_events(queue_of(client), lanes.digest("a"), most=9)] == [
        b"a1",
        b"a2",
        b"a3",
    ]
    assert [event.body for event in lanes.lane_events(queue_of(client), lanes.digest("a"), most=2)] == [b"a1", b"a2"]
    assert lanes.lane_events(queue_of(client), lanes.digest("unknown"), most=9) == []


def test_an_event_behind_an_unfinished_one_cannot_block(client: redis.Redis) -> None:
    """It would be ready when its predecessor finishes, and a dead letter that blocks at the same time."""
    lanes.open_queue(queue_of(client))
    append(client, event("a", "jo"), event("b", "jo"))
    claimed = claim(client)

    settled = lanes.settle(queue_of(client), claimed.id, buried=[lanes.Burial(2, b"failure", blocks=True)])

    assert (settled.lost, stats(client).blocking) == ((2,), 0)
    assert deliver(client, claimed, "a").lost == ()
    assert lanes.verify(queue_of(client)).violations == ()
