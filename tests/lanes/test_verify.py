"""`lanes.verify` finds each kind of damage, and nothing in a queue that only the verbs have changed."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from random import Random

import fakeredis
import pytest
import redis

import lanes
from lanes import keys, scripts
from lanes.keys import HOT_LENGTH
from tests.lanes.driving import (
    COOLDOWN_MS,
    QUEUE,
    append,
    block,
    bury,
    claim,
    deliver,
    event,
    expire,
    queue_of,
    release,
)

READS = {"GET", "EXISTS", "HGET", "HEXISTS", "HLEN", "HSCAN", "SCARD", "SISMEMBER", "ZRANGE", "ZSCORE"}
LONG = 1_050


def fill(client: redis.Redis) -> lanes.Queue:
    """A queue with events in every state. In the order of acceptance: 1 to 3 a claimed chain, 4 a dead letter, 5 a
    blocking one with 6 behind it, 7 delayed, 8 erased while claimed, 9 in its cooldown, 10 and 11 with joined keys,
    12 ready, 13 and 14 behind two events, 15 finished, 16 and 17 back from an expired claim.
    """
    queue = lanes.open_queue(queue_of(client))
    append(client, event("1", "jo", "shop"), event("2", "jo"), event("3", "jo", "shop"))
    claim(client)
    append(client, event("4", "ann"), event("5", "max"), event("6", "max"), event("7", "eve"), event("8", "tim"))
    claimed = claim(client)
    bury(client, claimed, "4")
    block(client, claimed, "5")
    release(client, claimed, "7", delay_ms=60_000)
    lanes.erase(queue, [lanes.digest("tim")])
    append(client, event("9", "ann", cooldown_ms=COOLDOWN_MS), event("10", "a", join=("a", "b")), event("11", "a"))
    append(client, event("12", "sue"), event("13", "sue", "eve"), event("14", "sue", "eve"), event("15", "lea"))
    late = lanes.settle(queue, claimed.id, delivered=[99])
    assert late.lost == (99,)
    append(client, event("16", "kim"), event("17", "kim"))
    claimed = claim(client)
    release(client, claimed, "10", "12")
    deliver(client, claimed, "15")
    expire(client, claimed)
    lanes.reap(queue)
    return queue


def invariants(queue: lanes.Queue) -> set[str]:
    return {violation.invariant for violation in lanes.verify(queue).violations}


def test_a_sound_queue_in_every_state_has_no_violation(client: redis.Redis) -> None:
    queue = fill(client)

    found = lanes.verify(queue)

    assert found.violations == ()
    assert found.checked == {"events": 15, "lanes": 10, "claims": 2, "dead_letters": 2}


def test_an_unused_queue_has_no_violation(client: redis.Redis) -> None:
    assert lanes.verify(queue_of(client)).violations == ()
    assert client.keys("*") == []


@pytest.mark.parametrize("then", ["requeue", "unblock", "discard", "erase"])
def test_the_totals_agree_whatever_becomes_of_a_blocking_dead_letter(client: redis.Redis, then: str) -> None:
    queue = fill(client)
    (blocking,) = lanes.get_dead_letters(queue, [5])
    (other,) = lanes.get_dead_letters(queue, [4])

    if then == "requeue":
        again = lanes.NewEvent(other.body, ("ann",), "again", replaces=4)
        as_of = lanes.dead_letter_changes(queue)
        lanes.requeue(queue, blocking=[blocking], appended=[again], as_of=as_of, record=("note", {"cursor": 5}))
    elif then == "unblock":
        lanes.unblock(queue, {5: b"skipped"}, as_of=lanes.dead_letter_changes(queue))
    elif then == "discard":
        lanes.discard(queue, [4, 5])
    else:
        lanes.erase(queue, [lanes.digest("max")])

    assert lanes.verify(queue).violations == ()


def test_a_long_lane_is_walked_in_several_calls(client: redis.Redis) -> None:
    queue = lanes.open_queue(queue_of(client))
    for first in range(0, LONG, 350):
        append(client, *(event(str(number), "jo") for number in range(first, first + 350)))

    assert lanes.verify(queue).violations == ()

    change_lane(client, "jo", lambda lane: lane[:-4] + b"1049")

    assert invariants(queue) == {"length"}


def change_lane(client: redis.Redis, key: str, change: Callable[[bytes], bytes]) -> None:
    lane = client.hget(keys.LANE.of(QUEUE), lanes.digest(key))
    assert lane is not None
    assert change(lane) != lane
    client.hset(keys.LANE.of(QUEUE), lanes.digest(key), change(lane))


def change(client: redis.Redis, key: keys.Key, sequence: int, by: Callable[[bytes], bytes]) -> None:
    value = client.hget(key.of(QUEUE), str(sequence))
    assert value is not None
    assert by(value) != value
    client.hset(key.of(QUEUE), str(sequence), by(value))


def claim_of(client: redis.Redis, sequence: int) -> str:
    claims = client.zrange(keys.CLAIMS.of(QUEUE), 0, -1)
    (found,) = [each for each in claims if client.sismember(f"{keys.base(QUEUE)}:claim:{each.decode()}", sequence)]
    return found.decode()


def owned_by(client: redis.Redis, sequence: int) -> str:
    return f"{keys.base(QUEUE)}:claim:{claim_of(client, sequence)}"


def second_of(client: redis.Redis, sequence: int) -> bytes:
    return (client.hget(keys.EVENT.of(QUEUE), str(sequence)) or b"")[:10]


def cut_out(client: redis.Redis) -> None:
    """Let the lanes of 13 and 14 lead past 13, in every respect but that 13 still exists."""
    change(client, keys.LINKS, 12, lambda links: links.replace(b"13", b"14"))
    change(client, keys.LINKS, 7, lambda links: links.replace(b"13", b"14"))
    for key in ("sue", "eve"):
        change_lane(client, key, lambda lane: lane[:-1] + b"2")


Damage = Callable[[redis.Redis], object]
DAMAGES: dict[str, tuple[str, Damage]] = {
    "ready and claimed": ("state", lambda client: client.zadd(keys.READY.of(QUEUE), {"1": 5})),
    "ready and a blocking dead letter": ("state", lambda client: client.zadd(keys.READY.of(QUEUE), {"5": 5})),
    "claimed twice": ("state", lambda client: client.sadd(owned_by(client, 8), "1")),
    "in no state": ("state", lambda client: client.zrem(keys.READY.of(QUEUE), "12")),
    "ready too early": ("ready", lambda client: client.zadd(keys.READY.of(QUEUE), {"14": 5})),
    "claimed without its predecessor": ("claimed", lambda client: client.sadd(owned_by(client, 1), "14")),
    "blocking and blocked": ("blocking", lambda client: client.sadd(keys.BLOCKING.of(QUEUE), "14")),
    "no record": ("record", lambda client: client.hdel(keys.EVENT.of(QUEUE), "12")),
    "a record without a time": ("record", lambda client: client.hset(keys.EVENT.of(QUEUE), "12", b"x")),
    "finished, in :ready": ("record", lambda client: client.zadd(keys.READY.of(QUEUE), {"15": 5})),
    "finished, in a claim": ("record", lambda client: client.sadd(owned_by(client, 1), "15")),
    "finished, in :links": ("record", lambda client: client.hset(keys.LINKS.of(QUEUE), "15", b"\1")),
    "finished, in :cooldown": ("record", lambda client: client.hset(keys.COOLDOWN.of(QUEUE), "15", 5)),
    "finished, in :attempts": ("record", lambda client: client.hset(keys.ATTEMPTS.of(QUEUE), "15", b"x\n")),
    "finished, in :expired_claims": ("record", lambda client: client.hset(keys.EXPIRED_CLAIMS.of(QUEUE), "15", b"")),
    "finished, in :claim:blocking": ("record", lambda client: client.sadd(keys.BLOCKING.of(QUEUE), "15")),
    "a sequence of the future": ("sequence", lambda client: client.set(keys.SEQ.of(QUEUE), 5)),
    "waits for too many": ("links", lambda client: change(client, keys.LINKS, 13, lambda it: b"\7" + it[1:])),
    "waits for nothing": ("links", lambda client: change(client, keys.LINKS, 13, lambda it: b"\0" + it[1:])),
    "links without a lane and a successor": (
        "links",
        lambda client: client.hset(keys.LINKS.of(QUEUE), "9", b"\0" + b"0" * 13),
    ),
    "no links": ("links", lambda client: client.hdel(keys.LINKS.of(QUEUE), "14")),
    "links that end in the middle": ("links", lambda client: change(client, keys.LINKS, 13, lambda it: it[:-1])),
    "a successor of another key": (
        "successor",
        lambda client: change(client, keys.LINKS, 12, lambda it: it.replace(b"13", b"11")),
    ),
    "a successor without a record": (
        "successor",
        lambda client: change(client, keys.LINKS, 12, lambda it: it.replace(b"13", b"15")),
    ),
    "an earlier successor": ("successor", lambda client: change(client, keys.LINKS, 14, lambda it: it + b"\0\00213")),
    "no successor": ("successor", lambda client: change(client, keys.LINKS, 12, lambda it: it[:14])),
    "no lane": ("lane", lambda client: client.hdel(keys.LANE.of(QUEUE), lanes.digest("sue"))),
    "half a lane": ("lane", lambda client: change_lane(client, "sue", lambda lane: lane[:3])),
    "a lane with another tail": (
        "lane",
        lambda client: change_lane(client, "sue", lambda it: it.replace(b"14", b"13")),
    ),
    "a lane with another head": (
        "links",
        lambda client: change_lane(client, "sue", lambda it: it.replace(b"12", b"13")),
    ),
    "a lane with another key": ("lane", lambda client: change_lane(client, "sue", lambda lane: b"\1" + lane[1:])),
    "a lane of a finished event": (
        "lane",
        lambda client: client.hset(keys.LANE.of(QUEUE), lanes.digest("lea"), b"\0\00215"),
    ),
    "a lane with another length": ("length", lambda client: change_lane(client, "sue", lambda lane: lane[:-1] + b"4")),
    "an event beside its lane": ("reachable", cut_out),
    "a lane wrongly hot": ("hot", lambda client: client.zadd(keys.HOT.of(QUEUE), {lanes.digest("sue"): 1000})),
    "hot without a lane": ("hot", lambda client: client.zadd(keys.HOT.of(QUEUE), {lanes.digest("lea"): 1000})),
    "a claim without a lease": ("claim", lambda client: client.zrem(keys.CLAIMS.of(QUEUE), claim_of(client, 1))),
    "a claim without events": ("claim", lambda client: client.delete(owned_by(client, 1))),
    "too many of an age": ("age", lambda client: client.hincrby(keys.AGE.of(QUEUE), second_of(client, 1), 1)),  # type: ignore[arg-type]
    "too few of an age": ("age", lambda client: client.hincrby(keys.AGE.of(QUEUE), second_of(client, 1), -1)),  # type: ignore[arg-type]
    "an age without events": ("age", lambda client: client.hset(keys.AGE.of(QUEUE), "1700000000", 3)),
    "an age of none": ("ages", lambda client: client.hset(keys.AGE.of(QUEUE), "1700000000", 0)),
    "an age that is not listed": ("ages", lambda client: client.zrem(keys.AGES.of(QUEUE), second_of(client, 1))),
    "an age that is not counted": ("ages", lambda client: client.zadd(keys.AGES.of(QUEUE), {"1700000000": 1700000000})),
    "an age at another second": ("ages", lambda client: client.zadd(keys.AGES.of(QUEUE), {second_of(client, 1): 1})),
    "a dead letter without a record": ("dead_letter", lambda client: client.hdel(keys.DEAD.of(QUEUE), "4")),
    "a dead letter without a failure": ("dead_letter", lambda client: client.hdel(keys.FAILURE.of(QUEUE), "4")),
    "a dead letter that is not listed": ("dead_letter", lambda client: client.zrem(keys.DEAD_INDEX.of(QUEUE), "4")),
    "a dead letter out of order": ("dead_letter", lambda client: client.zadd(keys.DEAD_INDEX.of(QUEUE), {"4": 9})),
    "a dead letter without a key": ("dead_keys", lambda client: client.zpopmin(keys.DEAD_KEYS.of(QUEUE))),
    "a key without a dead letter": (
        "dead_keys",
        lambda client: client.zadd(keys.DEAD_KEYS.of(QUEUE), {lanes.digest("sue") + b"%015d" % 9: 0}),
    ),
    "a dead letter by another key": (
        "dead_keys",
        lambda client: client.zadd(keys.DEAD_KEYS.of(QUEUE), {lanes.digest("lea") + b"%015d" % 4: 0}),
    ),
    "blocking without a dead letter": ("dead_letter", lambda client: client.sadd(keys.BLOCKING.of(QUEUE), "12")),
    "blocking without an event": ("blocking", lambda client: client.hdel(keys.EVENT.of(QUEUE), "5")),
    "blocking, another record": ("blocking", lambda client: change(client, keys.DEAD, 5, lambda it: it + b"x")),
    "unfinished and dead": ("blocking", lambda client: client.srem(keys.BLOCKING.of(QUEUE), "5")),
    "message ids for ever": ("ttl", lambda client: [client.persist(key) for key in client.keys("*:seen:*")]),
    "joins for ever": ("ttl", lambda client: client.hset(keys.JOIN.of(QUEUE, 7), "a", "b")),
    "finishes for ever": ("ttl", lambda client: client.set(keys.FINISHED_AT.of(QUEUE, 7, 1), "a")),
    "cooldowns for ever": ("ttl", lambda client: client.hset(keys.COOLING_UNTIL.of(QUEUE, 7), "a", "b")),
    "merges for ever": ("ttl", lambda client: client.hset(keys.MERGED.of(QUEUE, 7), "a", "b")),
    "deletions for ever": ("ttl", lambda client: client.hset(keys.DELETED.of(QUEUE, 7), "a", "b")),
    "updates for ever": ("ttl", lambda client: client.hset(keys.IDENTIFIED.of(QUEUE, 7), "a", "b")),
    "attributes for ever": ("ttl", lambda client: client.hset(keys.RECENT_ATTRIBUTES.of(QUEUE, 7), "a", "b")),
    "an unregistered key": ("registry", lambda client: client.set(f"{keys.base(QUEUE)}:place", "x")),
    "a key of another type": ("type", lambda client: client.set(keys.HOT.of(QUEUE), "x")),
    "no layout": ("layout", lambda client: client.delete(keys.LAYOUT.of(QUEUE))),
    "no config": ("config", lambda client: client.delete(keys.CONFIG.of(QUEUE))),
    "one event too few": ("totals", lambda client: client.hincrby(keys.TOTAL.of(QUEUE), "accepted", 1)),
    "one event too many": ("totals", lambda client: client.hincrby(keys.TOTAL.of(QUEUE), "delivered", 1)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_violates_its_invariant(client: redis.Redis, damage: str) -> None:
    queue = fill(client)
    invariant, do = DAMAGES[damage]

    do(client)

    assert invariant in invariants(queue)


def test_a_long_lane_that_is_not_hot(client: redis.Redis) -> None:
    queue = lanes.open_queue(queue_of(client))
    append(client, *(event(str(number), "jo") for number in range(1000)))
    client.delete(keys.HOT.of(QUEUE))

    assert invariants(queue) == {"hot"}


def test_a_violation_names_its_object_and_what_does_not_hold(client: redis.Redis) -> None:
    queue = fill(client)
    client.zadd(keys.READY.of(QUEUE), {"1": 5})

    (violation,) = lanes.verify(queue).violations

    assert violation.subject == "event 1"
    assert violation.text == f"in :ready and owned by claim {claim_of(client, 1)}"


def test_the_script_only_reads() -> None:
    text = scripts.load("lanes", "verify").text

    assert set(re.findall(r"call\(\s*'(\w+)'", text)) == READS
    assert len(re.findall(r"call\(", text)) == len(re.findall(r"call\(\s*'", text))


def test_verifying_changes_nothing() -> None:
    client = fakeredis.FakeStrictRedis()
    queue = fill(client)
    client.delete(keys.WAKEUP.of(QUEUE))  # it expires soon
    before = {name: client.dump(name) for name in client.keys("*")}

    lanes.verify(queue)

    assert {name: client.dump(name) for name in client.keys("*")} == before


def test_traffic_beside_it_is_no_violation(redis_client: redis.Redis) -> None:
    """Two threads append, three claim and settle in every way, one erases; long and short lanes."""
    queue = fill(redis_client)
    over, errors = threading.Event(), list[BaseException]()
    kept: deque[lanes.Claim] = deque()  # they expire later; traffic would end if they did not

    def repeat(step: Callable[[Random], object], seed: int) -> None:
        random = Random(seed)
        try:
            while not over.is_set():
                step(random)
        except BaseException as error:  # reported by the test
            errors.append(error)

    def arrive(random: Random) -> None:
        if lanes.stats(queue).waiting < 2 * HOT_LENGTH:
            people = [random.sample([*"abcdefgh", *["shared"] * 6], random.randint(0, 3)) for _ in range(40)]
            append(redis_client, *(event(str(random.random()), *set(people_of)) for people_of in people))

    def work(random: Random) -> None:
        claimed = claim(redis_client, events=50)
        outcomes = {each.sequence: random.choice("ddddddrrbk") for each in claimed.events}
        lanes.settle(
            queue,
            claimed.id,
            delivered=[sequence for sequence, outcome in outcomes.items() if outcome == "d"],
            buried=[lanes.Burial(sequence, b"failure") for sequence, outcome in outcomes.items() if outcome == "b"],
            released=[
                lanes.Release(sequence, 0, b"tried") for sequence, outcome in outcomes.items() if outcome in "rB"
            ],
        )
        kept.append(claimed)
        if random.random() < 0.5 or len(kept) > 9:
            expire(redis_client, kept.popleft())
        lanes.reap(queue)

    def erase(random: Random) -> None:
        lanes.erase(queue, [lanes.digest(random.choice("gh"))])
        over.wait(0.05)

    steps = [arrive, arrive, work, work, work, erase]
    threads = [threading.Thread(target=repeat, args=(step, seed)) for seed, step in enumerate(steps)]
    for thread in threads:
        thread.start()
    try:
        found = [(lanes.verify(queue), lanes.stats(queue)) for _ in range(4)]
    finally:
        over.set()
        for thread in threads:
            thread.join()

    assert not errors
    assert [violation for each, _ in found for violation in each.violations] == []
    assert max(each.checked["events"] for each, _ in found) > 100
    assert any(figures.hot for _, figures in found)
    delivered = [figures.delivered_total for _, figures in found]
    assert all(earlier < later for earlier, later in pairwise(delivered)), "traffic went on beside each"
    assert lanes.verify(queue).violations == ()
