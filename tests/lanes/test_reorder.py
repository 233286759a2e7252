"""The reorder window: events wait for earlier ones, which go before them."""

from __future__ import annotations

import time

import pytest
import redis

import lanes
from lanes import records
from lanes.keys import HOT_LENGTH
from tests.lanes.driving import (
    COOLDOWN_MS,
    append,
    claim,
    deliver,
    end_waits,
    event,
    forget_ranks,
    make_due,
    names,
    queue_of,
    stats,
)
from tests.pipeline import wait_until

WAIT_MS = 600
A, B = b"client-a", b"client-b"


def now_ms(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return int(seconds * 1000 + microseconds // 1000)


class Sender:
    """Appends events that happened some time before the sender was made."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.start_ms = now_ms(client) - 2_000

    def event(
        self,
        name: str,
        *keys: str,
        at: int,
        wait_ms: int = WAIT_MS,
        by: bytes = A,
        tie: bytes = records.tie(0, 0, 0),
        cooldown_ms: int = 0,
    ) -> lanes.NewEvent:
        rank = records.rank(wait_ms, by, self.start_ms + at, tie)
        return lanes.NewEvent(name.encode(), keys, name, cooldown_ms, rank=rank)

    def send(self, *events: lanes.NewEvent) -> lanes.Appended:
        return append(self.client, *events)


@pytest.fixture
def sender(client: redis.Redis) -> Sender:
    lanes.open_queue(queue_of(client))
    return Sender(client)


def delivered(client: redis.Redis, count: int, *, events: int = 100, deadline_s: float = 20) -> list[str]:
    """Claim and deliver until that many events were delivered; return their names in order."""
    order: list[str] = []
    until = time.monotonic() + deadline_s
    while len(order) < count and time.monotonic() < until:
        claimed = claim(client, events=events)
        order += names(claimed)
        deliver(client, claimed)
    assert len(order) == count, order
    assert lanes.verify(queue_of(client)).violations == ()
    return order


def test_an_event_is_not_claimed_before_its_wait_is_over(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("a", "sue", at=0))
    claimed = claim(client)
    assert claimed.events == ()
    assert claimed.next_due_ms is not None
    assert 0 < claimed.next_due_ms <= WAIT_MS
    assert delivered(client, 1) == ["a"]


def test_an_earlier_event_goes_before_one_that_waits(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("later", "sue", at=100))
    appended = sender.send(sender.event("earlier", "sue", at=0))
    assert appended.results == ("reordered",)
    assert stats(client).reordered_total == 1
    assert delivered(client, 2) == ["earlier", "later"]


def test_an_event_goes_between_others(client: redis.Redis, sender: Sender) -> None:
    for at in (0, 300, 100, 200, 50):
        sender.send(sender.event(str(at), "sue", at=at))
    assert lanes.verify(queue_of(client)).violations == ()
    assert delivered(client, 5) == ["0", "50", "100", "200", "300"]


def test_events_of_other_keys_are_not_touched(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("sue", "sue", at=100))
    assert sender.send(sender.event("tom", "tom", at=0)).results == ("accepted",)
    assert set(delivered(client, 2)) == {"sue", "tom"}


def test_an_event_whose_wait_is_over_is_not_overtaken(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("later", "sue", at=100, wait_ms=0))
    assert sender.send(sender.event("earlier", "sue", at=0)).results == ("accepted",)
    assert delivered(client, 2) == ["later", "earlier"]


def test_an_event_that_goes_before_another_waits_no_longer_than_it(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("later", "sue", at=100, wait_ms=300))
    sender.send(sender.event("earlier", "sue", at=0, wait_ms=9_000))
    assert delivered(client, 2, deadline_s=8) == ["earlier", "later"]


def test_several_keys_make_no_circle(client: redis.Redis, sender: Sender) -> None:
    """`c` would go before `a` in one lane; there is `b`, behind which it must stay in the other."""
    sender.send(sender.event("a", "sue", at=200))
    sender.send(sender.event("b", "sue", "tom", at=300, wait_ms=0))
    sender.send(sender.event("c", "sue", "tom", at=100))
    sender.send(sender.event("d", "tom", at=250))
    assert delivered(client, 4) == ["a", "b", "c", "d"]


def test_an_event_with_several_keys_goes_before_others_in_each(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("visitor", "anon", at=100))
    sender.send(sender.event("person", "sue", at=200))
    sender.send(sender.event("identify", "anon", "sue", at=50))
    order = delivered(client, 3)
    assert order[0] == "identify"


def test_one_claim_takes_the_chain_in_its_order(client: redis.Redis, sender: Sender) -> None:
    for at in (300, 100, 200):
        sender.send(sender.event(str(at), "sue", at=at))
    end_waits(client)
    make_due(client)
    claimed = claim(client)
    assert names(claimed) == ["100", "200", "300"]
    assert lanes.settle(queue_of(client), claimed.id, delivered=[e.sequence for e in claimed.events]).lost == ()


def test_equal_times_go_by_request_then_by_acceptance(client: redis.Redis, sender: Sender) -> None:
    first, second = records.tie(1_000, 1_005, 7), records.tie(1_000, 1_009, 7)
    sender.send(sender.event("second", "sue", at=0, tie=second))
    sender.send(sender.event("first", "sue", at=0, tie=first))
    sender.send(sender.event("first too", "sue", at=0, tie=first))
    assert delivered(client, 3) == ["first", "first too", "second"]


def test_close_times_of_two_clients_say_nothing(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("server", "sue", at=300, by=B))
    sender.send(sender.event("close", "sue", at=100, by=A))
    sender.send(sender.event("far", "sue", at=0, by=A))
    assert delivered(client, 3) == ["far", "server", "close"]


def test_the_order_within_a_client_counts_more_than_closeness(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("a2", "sue", at=100, by=A))
    sender.send(sender.event("b", "sue", at=150, by=B))
    sender.send(sender.event("a1", "sue", at=50, by=A))
    assert delivered(client, 3) == ["a1", "a2", "b"]


def test_an_event_behind_close_ones_of_another_client_counts_as_late_as_the_last(
    client: redis.Redis, sender: Sender
) -> None:
    sender.send(sender.event("b1", "sue", at=200, by=B), sender.event("b3", "sue", at=300, by=B))
    sender.send(sender.event("a", "sue", at=150, by=A))
    assert sender.send(sender.event("b2", "sue", at=250, by=B)).results == ("reordered",)
    assert delivered(client, 4) == ["b1", "b2", "b3", "a"]


def test_a_time_after_the_acceptance_is_not_believed(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("future", "sue", at=50_000))
    sender.send(sender.event("now", "sue", at=60_000))
    sender.send(sender.event("now too", "sue", at=55_000))
    assert delivered(client, 3) == ["future", "now", "now too"]


def test_an_earlier_event_goes_before_a_removal_that_waits_for_its_cooldown(
    client: redis.Redis, sender: Sender
) -> None:
    sender.send(sender.event("track", "sue", at=0, wait_ms=0))
    assert delivered(client, 1) == ["track"]
    sender.send(sender.event("removal", "sue", at=200, wait_ms=100, cooldown_ms=COOLDOWN_MS))
    end_waits(client)
    assert sender.send(sender.event("earlier", "sue", at=100, wait_ms=100)).results == ("reordered",)
    assert delivered(client, 1) == ["earlier"]
    assert stats(client).delayed == 1


def test_an_event_before_unfinished_ones_of_an_old_rank(client: redis.Redis, sender: Sender) -> None:
    """The rank of an event is forgotten some time after its wait; then it counts as late as its acceptance."""
    sender.send(sender.event("old", "sue", at=0, wait_ms=1))
    forget_ranks(client)
    sender.send(sender.event("later", "sue", at=1_500))
    assert sender.send(sender.event("earlier", "sue", at=1_000)).results == ("accepted",)
    assert delivered(client, 3) == ["old", "later", "earlier"]


def test_duplicates_are_dropped(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("later", "sue", at=100))
    sender.send(sender.event("earlier", "sue", at=0))
    assert sender.send(sender.event("earlier", "sue", at=0)).results == ("duplicates",)
    assert delivered(client, 2) == ["earlier", "later"]


def test_a_lane_of_reordered_events_can_be_erased(client: redis.Redis, sender: Sender) -> None:
    for at in (300, 100, 200, 50):
        sender.send(sender.event(str(at), "sue", f"own {at}", at=at))
    erased = lanes.erase(queue_of(client), [lanes.digest("own 200")])
    assert [event.body for event in erased.events] == [b"200"]
    assert lanes.verify(queue_of(client)).violations == ()
    sender.send(sender.event("60", "sue", at=60))
    assert lanes.verify(queue_of(client)).violations == ()
    assert sorted(delivered(client, 4)) == ["100", "300", "50", "60"]


def test_an_event_goes_before_one_whose_predecessor_was_erased(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("first", "sue", at=0), sender.event("last", "sue", at=300))
    sender.send(sender.event("erased", "sue", "tom", at=100))
    lanes.erase(queue_of(client), [lanes.digest("tom")])
    assert sender.send(sender.event("second", "sue", at=200)).results == ("reordered",)
    assert delivered(client, 3) == ["first", "second", "last"]


def test_an_event_goes_before_one_that_another_of_its_call_went_before(client: redis.Redis, sender: Sender) -> None:
    sender.send(event("bob", "bob"))
    last, first = sender.event("last", "sue", "bob", at=0), sender.event("first", "sue", at=50)
    assert sender.send(last, first).results == ("accepted", "reordered")
    assert sender.send(sender.event("second", "sue", at=100)).results == ("reordered",)
    assert [name for name in delivered(client, 4) if name != "bob"] == ["first", "second", "last"]


def test_events_of_one_call_that_happen_later_than_now_are_ordered_by_their_ties(
    client: redis.Redis, sender: Sender
) -> None:
    later_ms = 100_000  # both count as of now
    first = sender.event("1", "a", at=later_ms, tie=records.tie(9, 9, 9))
    second = sender.event("2", "a", at=later_ms + 1, tie=records.tie(1, 1, 1))

    assert sender.send(first, second).results == ("accepted", "reordered")
    assert delivered(client, 2) == ["2", "1"]


def test_an_event_is_erased_that_is_ahead_of_where_a_search_came(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("kept", "sue", at=100), sender.event("last", "sue", "tom", at=200))
    sender.send(sender.event("first", "sue", "bob", at=0))
    erased = lanes.erase(queue_of(client), [lanes.digest("tom"), lanes.digest("bob")])
    assert [(event.body, event.how) for event in erased.events] == [(b"last", "removed"), (b"first", "removed")]
    assert delivered(client, 1) == ["kept"]


def test_an_event_counts_no_later_than_what_it_must_follow(client: redis.Redis, sender: Sender) -> None:
    """`mid` does not wait, so it counts as late as its acceptance. `y` would follow it, without `tom`."""
    sender.send(sender.event("first", "sue", at=0), event("bob", "bob"), event("tom", "tom"))
    sender.send(sender.event("x", "sue", "bob", at=0))
    accepted_at_ms = now_ms(client)
    wait_until(lambda: now_ms(client) > accepted_at_ms, "a later acceptance")
    assert sender.send(sender.event("mid", "sue", at=200, wait_ms=0)).results == ("reordered",)
    sender.send(sender.event("y", "sue", "tom", at=0))
    assert sender.send(sender.event("z", "tom", at=200)).results == ("accepted",)
    assert [name for name in delivered(client, 7) if name in "yz"] == ["y", "z"]


def test_an_event_goes_before_a_bounded_number_of_others(client: redis.Redis, sender: Sender) -> None:
    later = [sender.event(str(at), "sue", at=at, wait_ms=9_000) for at in range(1, 251)]
    sender.send(*later)
    assert sender.send(sender.event("early", "sue", at=0, wait_ms=9_000)).results == ("reordered",)
    end_waits(client)
    make_due(client)
    order = delivered(client, 251)
    assert order.index("early") == 50
    assert [name for name in order if name != "early"] == [event.body.decode() for event in later]


def test_a_lane_that_becomes_long_by_a_reordered_event_is_hot(client: redis.Redis, sender: Sender) -> None:
    sender.send(*(sender.event(str(at), "sue", at=at) for at in range(1, HOT_LENGTH - 1)))
    sender.send(sender.event("early", "sue", at=0))
    assert stats(client).hot == ()
    sender.send(sender.event("early too", "sue", at=0))
    assert stats(client).hot == (lanes.HotLane(lanes.digest("sue"), HOT_LENGTH),)


def test_events_that_wait_request_one_deliverer(sender: Sender) -> None:
    waiting = [sender.event(f"e{n}", f"person {n}", at=n) for n in range(250)]
    assert sender.send(*waiting).wake == 1


def rank_kept_ms(client: redis.Redis, sequence: int) -> int:
    """For how long the rank of this event is kept at least."""
    kept = [client.pttl(key) for key in client.keys("*:rank:*") if client.hexists(key, str(sequence))]
    assert len(kept) == 1
    return int(kept[0])


def test_the_rank_of_a_removal_is_kept_for_its_cooldown(client: redis.Redis, sender: Sender) -> None:
    removal = sender.event("removal", "sue", at=200, cooldown_ms=COOLDOWN_MS)
    sender.send(sender.event("track", "sue", at=100), removal)
    assert rank_kept_ms(client, 1) < 9_000 < rank_kept_ms(client, 2)


def test_the_rank_of_a_removal_that_goes_before_another_event_is_kept_too(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("track", "sue", at=200))
    sender.send(sender.event("removal", "sue", at=100, cooldown_ms=COOLDOWN_MS))
    assert rank_kept_ms(client, 1) < 9_000 < rank_kept_ms(client, 2)


def test_nothing_is_left_when_the_queue_is_empty(client: redis.Redis, sender: Sender) -> None:
    sender.send(sender.event("later", "sue", at=100))
    sender.send(sender.event("earlier", "sue", at=0))
    delivered(client, 2)
    kept = [key for key in client.keys("*:rank:*") if client.pttl(key) <= 0]
    assert kept == []
