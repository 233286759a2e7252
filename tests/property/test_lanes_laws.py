"""The promises of the lanes, in random histories over both servers.

Each history of `histories.py` is compared with the model. In a damaged history, records disappear. Nothing fails then,
and every other event is delivered, in order. Hypothesis draws the damaged histories.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import ClassVar

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import lanes
from lanes.keys import READY
from tests.lanes.driving import COOLDOWN_MS, QUEUE, append, claim, expire, lose_record, make_due, queue_of, stats
from tests.property.histories import ERASE, run_seed

KEYS = st.frozensets(st.sampled_from("abcde"), max_size=3)
WHICH = st.integers(0, 20)
COOLDOWNS = st.sampled_from([False, False, False, True])
OUTCOMES = st.lists(st.sampled_from(["deliver", "bury", "release", "cool", "keep"]), min_size=6, max_size=6)


class DamagedHistories(RuleBasedStateMachine):
    """Random histories in which records disappear. The order and the delivery of the other events are compared."""

    connected: ClassVar[redis.Redis]
    histories: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.client: redis.Redis = self.connected
        self.keys: dict[int, frozenset[str]] = {}  # of each accepted event, by its sequence
        self.records: set[int] = set()  # of the unfinished events
        self.claims: list[lanes.Claim] = []
        self.delivered: list[int] = []

    @initialize()
    def start_empty(self) -> None:
        self.client.flushall()
        type(self).histories += 1

    @rule(batch=st.lists(st.tuples(KEYS, COOLDOWNS), min_size=1, max_size=5))
    def events_arrive(self, batch: list[tuple[frozenset[str], bool]]) -> None:
        offered = [
            lanes.NewEvent(b"body", tuple(keys), f"m{len(self.keys) + n}", cooldown_ms=COOLDOWN_MS if cools else 0)
            for n, (keys, cools) in enumerate(batch)
        ]
        sequences = append(self.client, *offered).sequences()
        for sequence, (keys, _) in zip(sequences, batch, strict=True):
            assert sequence is not None
            self.keys[sequence] = keys
            self.records.add(sequence)

    @rule(most=st.integers(1, 6), depth=st.integers(0, 3))
    def a_worker_claims(self, most: int, depth: int) -> None:
        self.claims.append(claim(self.client, events=most, depth=depth))

    @precondition(lambda self: self.claims)
    @rule(which=WHICH, drawn=OUTCOMES)
    def a_worker_settles(self, which: int, drawn: list[str]) -> None:
        claimed = self.claims[which % len(self.claims)]
        outcomes = {event.sequence: outcome for event, outcome in zip(claimed.events, drawn, strict=False)}
        finished = [sequence for sequence, outcome in outcomes.items() if outcome in ("deliver", "bury")]
        released = [
            lanes.Release(sequence, 0, b"tried", COOLDOWN_MS if outcome == "cool" else 0)
            for sequence, outcome in outcomes.items()
            if outcome in ("release", "cool")
        ]
        settled = lanes.settle(queue_of(self.client), claimed.id, delivered=finished, released=released)
        self.finish(sequence for sequence in finished if sequence not in settled.lost)

    def finish(self, sequences: Iterable[int]) -> None:
        for sequence in sorted(sequences):
            earlier = {other for other in self.records if other < sequence and self.keys[other] & self.keys[sequence]}
            assert not earlier, "order per key"
            self.records.remove(sequence)
            self.delivered.append(sequence)

    @precondition(lambda self: self.records)
    @rule(which=WHICH)
    def a_record_disappears(self, which: int) -> None:
        sequence = sorted(self.records)[which % len(self.records)]
        lose_record(self.client, sequence)
        self.records.remove(sequence)

    @precondition(lambda self: self.claims)
    @rule(which=WHICH)
    def a_claim_expires(self, which: int) -> None:
        expire(self.client, self.claims[which % len(self.claims)])
        lanes.reap(queue_of(self.client))

    @rule(key=st.sampled_from("abcde"))
    def a_key_is_erased(self, key: str) -> None:
        erased = lanes.erase(queue_of(self.client), [lanes.digest(key)])
        for event in erased.events:
            assert key in self.keys[event.sequence]
            if event.how == "removed":
                self.records.remove(event.sequence)

    @rule()
    def delays_end(self) -> None:
        make_due(self.client)

    @invariant()
    def a_lane_can_be_inspected(self) -> None:
        lanes.inspect(queue_of(self.client), "a")
        assert stats(self.client).waiting == len(self.records)

    def teardown(self) -> None:
        """In the end every event that has a record is delivered."""
        for each in self.claims:
            expire(self.client, each)
        lanes.reap(queue_of(self.client))
        for _ in range(10 * len(self.keys) + 1):
            make_due(self.client)
            claimed = claim(self.client)
            sequences = [event.sequence for event in claimed.events]
            settled = lanes.settle(queue_of(self.client), claimed.id, delivered=sequences)
            assert settled.lost == ()
            self.finish(sequences)
            if not self.client.exists(READY.of(QUEUE)):
                break
        assert not self.records
        assert stats(self.client).waiting == 0


@pytest.fixture(autouse=True)
def no_log_of_missing_records(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="lanes")


@pytest.fixture(autouse=True)
def erasing_takes_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ERASE, "_MOST_STEPS", 8)


def run_damaged_histories(client: redis.Redis, examples: int) -> None:
    machine = type("DamagedHistories", (DamagedHistories,), {"connected": client})
    profile = settings(
        max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=profile)
    assert machine.histories >= examples


def test_every_history_keeps_the_promises_on_the_imitation() -> None:
    client = fakeredis.FakeStrictRedis()
    for seed in range(60):
        run_seed(client, seed)


def test_every_history_keeps_the_promises_on_a_real_server(socket_client: redis.Redis) -> None:
    for seed in range(2_000):
        run_seed(socket_client, seed)


def test_records_that_disappear_hold_no_other_event_up_on_the_imitation() -> None:
    run_damaged_histories(fakeredis.FakeStrictRedis(), examples=60)


def test_records_that_disappear_hold_no_other_event_up_on_a_real_server(socket_client: redis.Redis) -> None:
    run_damaged_histories(socket_client, examples=240)
