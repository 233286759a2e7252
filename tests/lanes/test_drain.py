"""A queue without workers is moved to another one, or discarded: in order, completely, and once."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import redis

import lanes
from lanes import fates, keys
from lanes.dead_letters import DeadLetter, ImportedDeadLetter
from lanes.draining import drain
from tests.lanes.driving import append, bury, claim, deliver, event, names, queue_of, release, sequences

TARGET = "target"


class Killed(Exception):
    """The command ended here."""


@pytest.fixture(autouse=True)
def _opened(client: redis.Redis) -> None:
    lanes.open_queue(queue_of(client))


def target_of(client: redis.Redis) -> lanes.Queue:
    return lanes.open_queue(lanes.Queue(client=client, name=TARGET, cooldown_ms=0, dedupe_s=3600, join_s=3600, limit=2))


def fate_of(_body: bytes) -> str:
    return fates.name("moved", "", "to target")


def new_event(event: lanes.ClaimedEvent) -> lanes.NewEvent:
    return lanes.NewEvent(event.body, (), event.body.decode())


def imported(dead: DeadLetter) -> ImportedDeadLetter:
    return ImportedDeadLetter(None, dead.accepted_at_ms, (), dead.body, dead.failure)


def move(client: redis.Redis) -> tuple[int, int, int]:
    queue, target = queue_of(client), target_of(client)
    with lanes.draining(queue, fate_of, target) as lock:
        dead = lanes.move_dead_letters(lock, queue, target, imported, lambda stored: stored.body)
        return dead, *lanes.move_events(lock, queue, target, new_event, fate_of)


def claimed(client: redis.Redis) -> list[str]:
    """Return the events of the target in the order in which they are delivered."""
    target, found = target_of(client), list[str]()
    while True:
        page = lanes.claim(target, lease_ms=60_000, max_events=10, max_bytes=10**6, max_depth=10, poll_ms=0)
        if not page.events:
            return found
        found += names(page)
        lanes.settle(target, page.id, delivered=[event.sequence for event in page.events])


def is_subsequence(expected: Iterable[str], found: Iterable[str]) -> bool:
    rest = iter(found)
    return all(name in rest for name in expected)


def fill(client: redis.Redis) -> None:
    """Append two chains that meet in `ab`, an event on its own, and one that is delayed with what follows it."""
    append(client, event("a1", "A"), event("b1", "B"), event("a2", "A"), event("ab", "A", "B"), event("b2", "B"))
    append(client, event("alone"), event("d1", "D", cooldown_ms=30_000), event("d2", "D"))
    release(client, claim(client, events=1), "a1", delay_ms=3_600_000)


def block(client: redis.Redis, page: lanes.Claim, name: str) -> None:
    burial = lanes.Burial(sequences(page)[name], b"failure", blocks=True)
    lanes.settle(queue_of(client), page.id, buried=[burial])


def check(client: redis.Redis) -> None:
    for queue in (queue_of(client), target_of(client)):
        assert not lanes.verify(queue).violations
        assert lanes.audit(queue).balances


def test_all_events_are_moved_in_order_whatever_their_state_and_the_limit(client: redis.Redis) -> None:
    fill(client)

    assert move(client) == (0, 8, 0)

    check(client)
    assert lanes.stats(queue_of(client)).waiting == 0
    found = claimed(client)
    assert sorted(found) == ["a1", "a2", "ab", "alone", "b1", "b2", "d1", "d2"]
    for chain in (["a1", "a2", "ab", "b2"], ["b1", "ab", "b2"], ["d1", "d2"]):
        assert is_subsequence(chain, found)


def test_a_moved_event_is_counted_as_moved(client: redis.Redis) -> None:
    append(client, event("a1", "A"))

    move(client)

    totals = {(count.fate, count.reason): count.events for count in lanes.fate_totals(queue_of(client))}
    assert totals == {("accepted", ""): 1, ("moved", "to target"): 1}


@pytest.mark.parametrize("kill_at", ["settle", "append"])
def test_an_interrupted_move_is_continued_and_moves_nothing_twice(
    client: redis.Redis, kill_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "_PAGE", 3)
    fill(client)
    target_of(client)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    for _ in range(3):
        with monkeypatch.context() as once:
            once.setattr(drain, "_settle" if kill_at == "settle" else "_add", killed)
            with pytest.raises(Killed):
                move(client)
        # A message id is not what protects from a second move: the ids may be forgotten by then.
        client.delete(*client.keys(f"{keys.base(TARGET)}:seen:*") or ["-"])
    move(client)

    check(client)
    found = claimed(client)
    assert sorted(found) == ["a1", "a2", "ab", "alone", "b1", "b2", "d1", "d2"]
    assert is_subsequence(["a1", "a2", "ab", "b2"], found)
    assert client.exists(keys.DRAINED.of(TARGET, queue_of(client).name)) == 0


def test_dead_letters_are_moved_once_and_one_that_blocks_goes_on_in_its_position(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(client, event("dead", "X"), event("held", "A"), event("next", "A"))
    page = claim(client, depth=0)
    bury(client, page, "dead")
    block(client, page, "held")
    discard = drain.dead_letters.discard

    def killed(queue: lanes.Queue, found: list[int], fate: str) -> int:
        if found:
            raise Killed
        return discard(queue, found, fate)

    with monkeypatch.context() as once:
        once.setattr(drain.dead_letters, "discard", killed)
        with pytest.raises(Killed):
            move(client)

    assert move(client)[1:] == (2, 0)

    check(client)
    assert [dead.body for dead in lanes.list_dead_letters(target_of(client))] == [b"dead"]
    assert lanes.list_dead_letters(queue_of(client)) == []
    assert claimed(client) == ["held", "next"]


def test_an_event_that_the_target_has_is_not_moved_twice(client: redis.Redis) -> None:
    lanes.append(target_of(client), [event("a1", "A")])
    append(client, event("a1", "A"), event("a2", "A"))

    assert move(client) == (0, 1, 1)
    assert claimed(client) == ["a1", "a2"]


def test_a_queue_that_workers_have_claimed_from_is_not_drained(client: redis.Redis) -> None:
    append(client, event("a1", "A"))
    page = claim(client)

    with pytest.raises(lanes.QueueBusy, match="workers have claimed"):
        move(client)

    deliver(client, page)
    assert move(client) == (0, 0, 0)


def test_two_drains_exclude_each_other(client: redis.Redis) -> None:
    append(client, event("a1", "A"))
    with (
        lanes.draining(queue_of(client), fate_of),
        pytest.raises(lanes.QueueBusy, match="another"),
        lanes.draining(queue_of(client), fate_of),
    ):
        pass


def test_everything_is_discarded_and_counted(client: redis.Redis) -> None:
    fill(client)
    page = claim(client, depth=0)
    bury(client, page, "alone")
    block(client, page, "b1")
    release(client, page, *set(names(page)) - {"alone", "b1"})

    with lanes.draining(queue_of(client), fate_of) as lock:
        assert lanes.discard_dead_letters(lock, queue_of(client)) == 2
        assert lanes.discard_events(lock, queue_of(client), fate_of) == 6

    check(client)
    assert lanes.stranded(client, []) == []


def test_a_queue_is_stranded_while_it_has_something_and_no_destination(client: redis.Redis) -> None:
    target_of(client)
    append(client, event("a1", "A"), event("b1", "B"), event("b2", "B"))
    page = claim(client, depth=0)
    bury(client, page, "a1")
    block(client, page, "b1")

    assert lanes.queue_names(client) == ["q", TARGET]
    assert lanes.stranded(client, [TARGET]) == [lanes.StrandedQueue("q", waiting=1, dead=2)]
    assert lanes.stranded(client, ["q"]) == []
