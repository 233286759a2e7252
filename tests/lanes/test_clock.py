"""The clock of Redis steps, as after a failover to another machine: nothing waits for it, and the order stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from unittest.mock import Mock

import fakeredis
import pytest
import redis

import lanes
from delivery import scripts as delivery_scripts
from lanes import configurations, keys, records, scripts
from tests.lanes.driving import QUEUE, append, claim, deliver, event, names, queue_of, release
from workers import heartbeat

BACK_MS = 150_000
HOUR_S = 3600.0
LEASE_MS = 20_000
LONGEST_S = 30.0


def clock_of(client: redis.Redis) -> lanes.Clock:
    """A clock as a process follows it that has run for a while."""
    clock = lanes.Clock(queue=queue_of(client), lease_ms=LEASE_MS)
    assert (clock.follow(), clock.follow()) == (0, 0)
    return clock


def step_back(client: redis.Redis) -> None:
    """Have every stored time be later, as it is after the clock stepped back."""
    clock_of(client)
    client.incrby(keys.CLOCK.of(QUEUE), BACK_MS)
    for name in (keys.READY.of(QUEUE), keys.CLAIMS.of(QUEUE)):
        for member in client.zrange(name, 0, -1):
            client.zincrby(name, BACK_MS, member)
    for member, links in client.hgetall(keys.LINKS.of(QUEUE)).items():
        client.hset(keys.LINKS.of(QUEUE), member, links[:1] + b"%013d" % (int(links[1:14]) + BACK_MS) + links[14:])
    client.set(keys.WAKEUP.of(QUEUE), 1, px=BACK_MS)


def follow(client: redis.Redis) -> int:
    """Follow the clock as a process does that has just started."""
    return lanes.Clock(queue=queue_of(client), lease_ms=LEASE_MS).follow()


def test_events_that_were_ready_are_claimed_after_the_next_sweep(client: redis.Redis) -> None:
    append(client, event("a1", "a"), event("b1", "b"), event("a2", "a"))
    step_back(client)
    assert not claim(client).events

    assert -BACK_MS <= follow(client) < 5_000 - BACK_MS
    assert lanes.reap(queue_of(client)).wake
    assert [each.sequence for each in claim(client).events] == [1, 2, 3]


def test_what_is_blocked_waits_for_earlier_ones_no_longer(client: redis.Redis) -> None:
    append(client, *(ranked(f"a{n}", "a", 9_000) for n in range(3)))
    before = client.hgetall(keys.LINKS.of(QUEUE))
    step_back(client)

    follow(client)

    after = client.hgetall(keys.LINKS.of(QUEUE))
    assert len(before) == 3
    for member, links in before.items():
        assert (after[member][:1], after[member][14:]) == (links[:1], links[14:])
        assert not int(links[1:14]) or abs(int(after[member][1:14]) - int(links[1:14])) < 5_000


def test_a_claim_ends_a_lease_after_the_step(client: redis.Redis) -> None:
    append(client, event("a", "a"))
    claim(client, lease_ms=LEASE_MS)
    step_back(client)

    follow(client)
    assert lanes.reap(queue_of(client)).events == 0
    ((_, ends_at_ms),) = client.zrange(keys.CLAIMS.of(QUEUE), 0, -1, withscores=True)
    seconds, microseconds = client.time()
    assert LEASE_MS - 5_000 < ends_at_ms - (seconds * 1000 + microseconds / 1000) <= LEASE_MS


def test_neither_a_turn_nor_a_probe_of_the_other_clock_stops_delivery(client: redis.Redis) -> None:
    queue, admission = queue_of(client), keys.ADMISSION.of(QUEUE)
    step_back(client)
    seconds, _ = client.time()
    later_ms = (seconds + 1) * 1000 + BACK_MS
    client.hset(admission, mapping={"turn": later_ms * 1000, "rate": 5, "rate_at": later_ms * 1000})
    client.lpush(keys.ACQUIRED.of(QUEUE), *[later_ms * 1000] * 10)
    assert delivery_scripts.run(queue, "permit", 1000, 2000) == b"none"

    follow(client)

    assert delivery_scripts.run(queue, "permit", 1000, 2000) == b"all"
    assert 0 <= delivery_scripts.run(queue, "acquire", 10, 2_000_000, 0)[1] <= 2_000_000


def ranked(name: str, key: str, wait_ms: int) -> lanes.NewEvent:
    """An event that waits for earlier ones."""
    rank = records.rank(wait_ms, b"client-a", int(time.time() * 1000), records.tie(0, 0, 0))
    return lanes.NewEvent(name.encode(), (key,), name, rank=rank)


def accepted(name: str, clocks: Clocks, *, by_acceptance: bool) -> lanes.NewEvent:
    """An event of one person that waits half a second; it happened just now."""
    at_ms = records.AT_ACCEPTANCE if by_acceptance else int(clocks.own_s * 1000) + clocks.began_ms
    return lanes.NewEvent(name.encode(), ("a",), name, rank=records.rank(500, b"client-a", at_ms, records.tie(0, 0, 0)))


class Clocks:
    """The clock of Redis, and that of a process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.redis_s, self.own_s = time.time(), 1_000.0
        self.began_ms = int((self.redis_s - self.own_s) * 1000)
        monkeypatch.setattr(time, "time", lambda: self.redis_s)
        monkeypatch.setattr(time, "monotonic", lambda: self.own_s)

    def step(self, seconds: float) -> None:
        """Let the clock of Redis step."""
        self.redis_s += seconds

    def pass_by(self, seconds: float) -> None:
        """Let time pass by both clocks."""
        self.redis_s, self.own_s = self.redis_s + seconds, self.own_s + seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.fixture
def steerable() -> redis.Redis:
    """A Redis with the clock of `clocks`."""
    return fakeredis.FakeStrictRedis()


def swept(clocks: Clocks, *of: lanes.Clock) -> list[int]:
    """A second later, each of these processes sweeps. Return by how many seconds each saw the clock step."""
    clocks.pass_by(1)
    steps = []
    for clock in of:
        steps.append(round(clock.follow() / 1000))
        lanes.reap(clock.queue)
    return steps


def test_a_step_forward_ends_no_lease(clocks: Clocks, steerable: redis.Redis) -> None:
    """A request may be under way: its events must not be sent by another worker meanwhile."""
    first, second = clock_of(steerable), clock_of(steerable)
    append(steerable, event("a", "a"), event("b", "a"))
    claimed = claim(steerable, lease_ms=LEASE_MS)

    clocks.step(HOUR_S)

    assert swept(clocks, first, second) == [3600, 0]
    assert not claim(steerable).events
    clocks.pass_by(LEASE_MS / 1000 - 2)
    assert swept(clocks, first, second) == [0, 0]
    assert not deliver(steerable, claimed).lost


def test_a_step_forward_is_seen_after_a_script_was_refused(
    clocks: Clocks, steerable: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new primary refuses scripts until it has enough replicas, but tells its time."""
    clock = clock_of(steerable)
    append(steerable, event("a", "a"))
    claim(steerable, lease_ms=LEASE_MS)
    clocks.step(HOUR_S)

    with monkeypatch.context() as refusing:
        refusing.setattr("lanes.clock.run", Mock(side_effect=scripts.NoReplicas))
        with pytest.raises(scripts.NoReplicas):
            clock.follow()

    assert swept(clocks, clock) == [3600]
    assert not claim(steerable).events


def test_a_lease_of_a_dead_worker_ends_after_a_step_forward(clocks: Clocks, steerable: redis.Redis) -> None:
    clock = clock_of(steerable)
    append(steerable, event("a", "a"))
    claim(steerable, lease_ms=LEASE_MS)
    clocks.step(HOUR_S)
    assert swept(clocks, clock) == [3600]

    clocks.pass_by(LEASE_MS / 1000)
    swept(clocks, clock)

    assert names(claim(steerable)) == ["a"]


def test_a_step_forward_shortens_no_delay_and_delays_no_new_event(clocks: Clocks, steerable: redis.Redis) -> None:
    clock = clock_of(steerable)
    append(steerable, event("late", "a"))
    release(steerable, claim(steerable), delay_ms=10_000)
    clocks.step(HOUR_S)
    append(steerable, event("new", "b"))

    assert swept(clocks, clock) == [3600]

    assert names(claim(steerable)) == ["new"]
    clocks.pass_by(10)
    assert names(claim(steerable)) == ["late"]


def test_a_turn_that_was_given_after_a_step_forward_is_not_moved(clocks: Clocks, steerable: redis.Redis) -> None:
    clock = clock_of(steerable)
    clocks.step(HOUR_S)
    assert delivery_scripts.run(clock.queue, "acquire", 10, 2_000_000, 0)[1] == 0

    assert swept(clocks, clock) == [3600]

    assert delivery_scripts.run(clock.queue, "permit", 1000, 2000) == b"all"


def test_a_process_that_starts_after_a_step_forward_does_not_hide_it(clocks: Clocks, steerable: redis.Redis) -> None:
    clock = clock_of(steerable)
    clocks.step(HOUR_S)
    assert follow(steerable) == 0

    assert swept(clocks, clock) == [3600]


def test_after_a_step_back_the_requests_before_it_fill_no_second(clocks: Clocks, steerable: redis.Redis) -> None:
    clock = clock_of(steerable)
    clocks.step(HOUR_S)
    swept(clocks, clock)
    acquire = ("acquire", 2, 2_000_000, 0)
    for _ in range(2):
        delivery_scripts.run(clock.queue, *acquire)
        clocks.pass_by(1)
    clocks.step(-HOUR_S)
    swept(clocks, clock)

    clocks.pass_by(2)

    assert delivery_scripts.run(clock.queue, *acquire)[1] == 0


def test_a_wait_that_the_service_asked_for_outlives_a_step_forward(clocks: Clocks, steerable: redis.Redis) -> None:
    clock = clock_of(steerable)
    delivery_scripts.run(clock.queue, "report", "throttled", 10, 5, 1000, 30_000, 60_000, "HTTP 429")
    clocks.step(HOUR_S)

    assert swept(clocks, clock) == [3600]

    assert delivery_scripts.run(clock.queue, "permit", 1000, 2000) == b"none"
    clocks.pass_by(60)
    assert delivery_scripts.run(clock.queue, "permit", 1000, 2000) == b"all"


def test_a_worker_that_was_away_from_redis_sees_no_step(clocks: Clocks, steerable: redis.Redis) -> None:
    clock = clock_of(steerable)
    clocks.pass_by(HOUR_S)
    assert clock.follow() == 0
    clocks.own_s -= 5  # its machine was suspended, and others swept meanwhile
    assert (clock_of(steerable).follow(), clock.follow()) == (0, 0)


def all_delivered(client: redis.Redis) -> list[str]:
    """Claim and deliver all that can be, without time passing."""
    found: list[str] = []
    while (claimed := claim(client)).events:
        found += names(claimed)
        deliver(client, claimed)
    return found


STATES: dict[str, Callable[[redis.Redis], object]] = {
    "ready": lambda client: append(client, event("a1", "a"), event("a2", "a")),
    "waiting for earlier ones": lambda client: append(client, ranked("a1", "a", 5_000), ranked("a2", "a", 9_000)),
    "claimed": lambda client: (
        append(client, ranked("a1", "a", 0), ranked("a2", "a", 9_000)),
        claim(client, lease_ms=LEASE_MS),
    ),
    "released": lambda client: (
        append(client, event("a1", "a"), event("a2", "a")),
        release(client, claim(client), delay_ms=20_000),
    ),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("ahead_s", [2.0, 45.0, 600.0, HOUR_S])
def test_after_a_step_forward_that_is_corrected_nothing_waits_for_longer_than_usual(
    clocks: Clocks, steerable: redis.Redis, state: str, ahead_s: float
) -> None:
    clock = clock_of(steerable)
    clocks.step(ahead_s)
    swept(clocks, clock)
    STATES[state](steerable)
    clocks.pass_by(0.5)

    clocks.step(-ahead_s)

    delivered = []
    for _ in range(int(LONGEST_S)):
        swept(clocks, clock)
        delivered += all_delivered(steerable)
    assert delivered == ["a1", "a2"]


STEPS_BACK_S = [0.05, 0.3, 0.9, 5.0, 9.0, HOUR_S]


@pytest.mark.parametrize("back_s", STEPS_BACK_S)
@pytest.mark.parametrize("is_swept", [False, True])
@pytest.mark.parametrize("by_acceptance", [False, True])
def test_after_a_step_back_no_event_goes_before_one_that_was_accepted_earlier(
    clocks: Clocks, steerable: redis.Redis, back_s: float, is_swept: bool, by_acceptance: bool
) -> None:
    """The clock of an event that is accepted then has not stepped, or is that of Redis."""
    clock, delivered = clock_of(steerable), []
    append(steerable, accepted("a1", clocks, by_acceptance=by_acceptance))
    clocks.pass_by(0.02)
    append(steerable, accepted("a2", clocks, by_acceptance=by_acceptance))

    clocks.step(-back_s)
    for name in ("a3", "a4", "a5"):
        if is_swept:
            swept(clocks, clock)
        clocks.pass_by(0.01)
        append(steerable, accepted(name, clocks, by_acceptance=by_acceptance))

    for _ in range(int(LONGEST_S)):
        swept(clocks, clock)
        delivered += all_delivered(steerable)
    assert delivered == ["a1", "a2", "a3", "a4", "a5"]


@pytest.mark.parametrize("back_s", STEPS_BACK_S)
@pytest.mark.parametrize("is_swept", [False, True])
@pytest.mark.parametrize("is_first", [True, False], ids=["first append", "second append"])
def test_after_a_step_back_no_event_goes_before_a_claimed_one(
    clocks: Clocks, steerable: redis.Redis, back_s: float, is_swept: bool, is_first: bool
) -> None:
    """It has waited long enough for earlier ones, by the clock before the step."""
    clock, queue = clock_of(steerable), lanes.open_queue(queue_of(steerable))
    append(steerable, ranked("a1", "a", 1_000))
    clocks.pass_by(0.1)
    between_ms = int(clocks.redis_s * 1000)
    clocks.pass_by(0.1)
    append(steerable, ranked("a2", "a", 1_000))
    clocks.pass_by(1.01)
    claimed = claim(steerable)
    assert names(claimed) == ["a1", "a2"]

    clocks.step(-back_s)
    if is_swept:
        swept(clocks, clock)
    rank = records.rank(1_000, b"client-a", between_ms, records.tie(0, 0, 0))
    if not is_first:
        append(steerable, event("other", "b"))
    append(steerable, lanes.NewEvent(b"between", ("a",), "between", rank=rank))

    assert not deliver(steerable, claimed).lost
    delivered = []
    for _ in range(int(LONGEST_S)):
        swept(clocks, clock)
        delivered += all_delivered(steerable)
    assert [name for name in delivered if name != "other"] == ["between"]
    assert lanes.stats(queue).missing_total == 0
    assert not lanes.verify(queue).violations


def test_an_event_that_happened_after_a_step_back_is_not_later_than_its_acceptance(
    clocks: Clocks, steerable: redis.Redis
) -> None:
    """The event before it in its lane was accepted before the step, at a time that is still to come."""
    clock = clock_of(steerable)
    append(steerable, event("a1", "a"))
    clocks.step(-5.0)
    append(steerable, ranked("a2", "a", 9_000))
    clocks.pass_by(3.0)
    after_ms = int(clocks.redis_s * 1000)
    clocks.pass_by(2.5)
    claimed = claim(steerable)
    assert names(claimed) == ["a1"]
    deliver(steerable, claimed)

    rank = records.rank(9_000, b"client-a", after_ms, records.tie(0, 0, 0))
    append(steerable, lanes.NewEvent(b"a3", ("a",), "a3", rank=rank))

    delivered = []
    for _ in range(int(LONGEST_S)):
        swept(clocks, clock)
        delivered += all_delivered(steerable)
    assert delivered == ["a2", "a3"]


def test_every_lock_is_known() -> None:
    """A key that expires soon and has one name would last for as long as the clock stepped back."""
    locks = {name for name, key in keys.KEYS.items() if key.type == "string" and key.expires and "{" not in key.name}
    beside_queues = {name for name in locks if not keys.KEYS[name].name.startswith(":")}

    assert locks - beside_queues <= scripts.load("lanes", "follow_clock").names


def test_after_a_step_back_no_lock_lasts_for_longer_than_half_a_minute(clocks: Clocks, steerable: redis.Redis) -> None:
    clock = clock_of(steerable)
    clocks.step(HOUR_S)
    swept(clocks, clock)
    short = (keys.RETENTION_DONE, keys.SAMPLED, keys.REPLAY_LOCK, keys.SPILL_LOCK, keys.ERASING_LOCK)
    locks = [key.of(QUEUE) for key in short]
    for lock in locks:
        steerable.set(lock, 1, px=5_000)
    steerable.set(keys.DRAIN_LOCK.of(QUEUE), 1, px=20_000)
    clocks.step(-HOUR_S)
    swept(clocks, clock)

    clocks.pass_by(LONGEST_S - 1)

    assert [lock for lock in (*locks, keys.DRAIN_LOCK.of(QUEUE)) if steerable.exists(lock)] == []


@pytest.mark.parametrize("stop", ["failed", "misconfigured"])
def test_after_a_step_back_a_stop_is_probed_and_the_rate_can_be_cut(
    clocks: Clocks, steerable: redis.Redis, stop: str
) -> None:
    clock = clock_of(steerable)
    clocks.step(HOUR_S)
    swept(clocks, clock)
    report = ("report", stop, 10, 1, 1000, 30_000, 0, "HTTP 503")
    delivery_scripts.run(clock.queue, *report)
    delivery_scripts.run(clock.queue, "report", "slow", 10, 1, 1000, 30_000, 0, "")
    clocks.step(-HOUR_S)
    swept(clocks, clock)

    clocks.pass_by(LONGEST_S)
    steerable.zadd(keys.READY.of(QUEUE), {"1": 0})

    assert delivery_scripts.run(clock.queue, "permit", 1000, 2000) == b"probe"
    assert delivery_scripts.run(clock.queue, "report", "slow", 10, 1, 1000, 30_000, 0, "")[2] != b""


def test_after_a_step_back_a_dead_worker_is_not_counted(
    clocks: Clocks, steerable: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks.step(HOUR_S)
    for name in ("dead", "alive"):
        monkeypatch.setattr(heartbeat, "NAME", name)
        heartbeat.send(steerable)
        configurations.report(steerable, configurations.Process(name))
    clocks.step(-HOUR_S)

    heartbeat.send(steerable)
    configurations.report(steerable, configurations.Process("alive"))

    assert heartbeat.count(steerable) == 1
    assert [process.name for process in configurations.running(steerable)] == ["alive"]
