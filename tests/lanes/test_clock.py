"""The clock of Redis steps back, as after a failover to another machine: nothing waits for it, and the order stays."""

from __future__ import annotations

import redis

import lanes
from delivery import scripts as delivery_scripts
from lanes import keys
from tests.lanes.driving import QUEUE, append, claim, event, queue_of

BACK_MS = 150_000


def step_back(client: redis.Redis) -> None:
    """Have every stored time be later, as it is after the clock stepped back."""
    lanes.follow_clock(queue_of(client))
    client.incrby(keys.CLOCK.of(QUEUE), BACK_MS)
    for name in (keys.READY.of(QUEUE), keys.CLAIMS.of(QUEUE)):
        for member in client.zrange(name, 0, -1):
            client.zincrby(name, BACK_MS, member)
    client.set(keys.WAKEUP.of(QUEUE), 1, px=BACK_MS)


def test_events_that_were_ready_are_claimed_after_the_next_sweep(client: redis.Redis) -> None:
    append(client, event("a1", "a"), event("b1", "b"), event("a2", "a"))
    step_back(client)
    assert not claim(client).events

    assert BACK_MS - 5_000 < lanes.follow_clock(queue_of(client)) <= BACK_MS
    assert lanes.reap(queue_of(client)).wake
    assert [each.sequence for each in claim(client).events] == [1, 2, 3]


def test_a_claim_ends_when_its_lease_does(client: redis.Redis) -> None:
    append(client, event("a", "a"))
    claim(client)
    before = client.zrange(keys.CLAIMS.of(QUEUE), 0, -1, withscores=True)
    step_back(client)

    lanes.follow_clock(queue_of(client))
    assert lanes.reap(queue_of(client)).events == 0
    (after,) = client.zrange(keys.CLAIMS.of(QUEUE), 0, -1, withscores=True)
    assert after[0] == before[0][0]
    assert abs(after[1] - before[0][1]) < 5_000


def test_neither_a_turn_nor_a_probe_of_the_other_clock_stops_delivery(client: redis.Redis) -> None:
    queue, admission = queue_of(client), keys.ADMISSION.of(QUEUE)
    step_back(client)
    seconds, _ = client.time()
    later_ms = (seconds + 1) * 1000 + BACK_MS
    client.hset(admission, mapping={"turn": later_ms * 1000, "rate": 5, "rate_at": later_ms * 1000})
    client.lpush(keys.ACQUIRED.of(QUEUE), *[later_ms * 1000] * 10)
    assert delivery_scripts.run(queue, "permit", 1000, 2000) == b"none"

    lanes.follow_clock(queue)

    assert delivery_scripts.run(queue, "permit", 1000, 2000) == b"all"
    assert 0 <= delivery_scripts.run(queue, "acquire", 10, 2_000_000, 0)[1] <= 2_000_000
