"""Dead letters: read in order, tried again once, skipped, mended; and what a letter that holds does to others."""

from __future__ import annotations

import redis

import lanes
from lanes.keys import base
from tests.lanes.driving import HOLD_MS, QUEUE, append, bury, claim, deliver, event, leftovers, names, sequences, stats


def bury_all(client: redis.Redis, *which: str) -> None:
    append(client, *(event(name, name) for name in which))
    bury(client, claim(client), *which)


def hold(client: redis.Redis, claimed: lanes.Claim, name: str) -> None:
    burial = lanes.Burial(sequences(claimed)[name], b"why", holds=True)
    lanes.settle(client, QUEUE, claimed.id, buried=[burial], longest_hold_ms=HOLD_MS)


def bodies(client: redis.Redis) -> list[bytes]:
    return [letter.body for letter in lanes.each_letter(client, QUEUE, page=2)]


def replay(client: redis.Redis, *letters: lanes.DeadLetter) -> tuple[bool, ...]:
    anew = [lanes.NewEvent(letter.body, ("jo",), "seen", replaces=letter.sequence) for letter in letters]
    return append(client, *anew).accepted


def test_letters_are_read_in_the_order_of_acceptance_page_by_page(client: redis.Redis) -> None:
    bury_all(client, "a", "b", "c")
    bury_all(client, "d", "e")

    assert bodies(client) == [b"a", b"b", b"c", b"d", b"e"]
    letter = lanes.letter(client, QUEUE, 2)
    assert letter is not None
    assert (letter.body, letter.letter, letter.keys, letter.holds) == (b"b", b"why", (lanes.digest("b"),), False)
    assert lanes.letter(client, QUEUE, 99) is None


def test_a_letter_is_replayed_once_behind_what_is_live(client: redis.Redis) -> None:
    bury_all(client, "a", "b")
    append(client, event("live", "jo"))
    letters = lanes.letters(client, QUEUE)

    assert replay(client, *letters) == (True, True)
    assert replay(client, *letters) == (False, False)

    again = claim(client)
    assert names(again) == ["live", "a", "b"]
    assert (stats(client).dead, bodies(client)) == (0, [])
    deliver(client, again)
    assert leftovers(client) == set()


def test_a_discarded_letter_is_gone(client: redis.Redis) -> None:
    bury_all(client, "a", "b")

    assert lanes.discard(client, QUEUE, [1, 77]) == (1,)

    assert bodies(client) == [b"b"]
    assert leftovers(client) == {":dead", ":letter", ":grave"}


def test_a_letter_that_holds_keeps_its_lane_and_nobody_else_s(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("next", "jo"), event("other", "al"))
    first = claim(client)
    hold(client, first, "bad")
    deliver(client, first, "other")

    figures = stats(client)
    assert (figures.held, figures.dead, figures.waiting, figures.blocked, figures.claims) == (1, 1, 1, 1, 0)
    assert names(claim(client)) == []
    lane = lanes.inspect(client, QUEUE, "jo")
    assert lane is not None
    assert lane.steps[0].state == "held"
    assert lanes.reap(client, QUEUE).events == 0


def test_a_letter_that_holds_is_resumed_in_its_place_once(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("next", "jo"))
    hold(client, claim(client), "bad")

    assert lanes.resume(client, QUEUE, [1]) == (1,)
    assert lanes.resume(client, QUEUE, [1]) == ()

    again = claim(client)
    assert names(again) == ["bad", "next"]
    deliver(client, again)
    figures = stats(client)
    assert (figures.delivered_total, figures.buried_total, figures.dead) == (2, 0, 0)
    assert leftovers(client) == set()


def test_skipping_a_letter_that_holds_lets_the_others_go_on(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("next", "jo"))
    hold(client, claim(client), "bad")

    assert lanes.discard(client, QUEUE, [1]) == (1,)

    again = claim(client)
    assert names(again) == ["next"]
    deliver(client, again)
    figures = stats(client)
    assert (figures.delivered_total, figures.buried_total, figures.accepted_total) == (1, 1, 2)
    assert leftovers(client) == set()


def test_a_mended_letter_is_what_is_tried_again(client: redis.Redis) -> None:
    append(client, event("bad", "jo"), event("worse", "al"))
    first = claim(client)
    hold(client, first, "bad")
    bury(client, first, "worse")

    for sequence in (1, 2):
        assert lanes.mend(client, QUEUE, sequence, b"good", b"mended")
    assert not lanes.mend(client, QUEUE, 99, b"good", b"mended")

    lanes.resume(client, QUEUE, [1])
    assert [letter.letter for letter in lanes.letters(client, QUEUE)] == [b"mended"]
    assert replay(client, *lanes.letters(client, QUEUE)) == (True,)
    again = claim(client)
    assert names(again) == ["good", "good"]
    assert client.hlen(f"{base(QUEUE)}:dead") == 0
