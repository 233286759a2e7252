"""The promises of the lanes, compared with a model through random histories over both servers.

A history appends events with overlapping keys (some twice), claims them in any portion, settles any part of any claim
in any way and any order, ends leases and delays, lets workers disappear and respond late, and erases by key. Some
events have a cooldown, some are given one when they are released, some join two keys. The model is a list of events in
order of acceptance, and for each key a list in the order of the lane; it has no tails, links or counts. A cooldown and
a wait for earlier events are longer than any history, except for the rules that end them.

In a damaged history, records disappear as well. Nothing fails then, and every other event is delivered, in order.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

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
from lanes import records
from lanes.keys import READY
from tests.lanes.driving import (
    COOLDOWN_MS,
    QUEUE,
    accepted_at_ms,
    append,
    claim,
    end_waits,
    expire,
    forget_ranks,
    leftovers,
    line_up,
    lose_record,
    make_due,
    queue_of,
    stats,
)

ERASE = import_module("lanes.erase")  # the package has a function of that name

KEYS = st.frozensets(st.sampled_from("abcde"), max_size=3)
WHICH = st.integers(0, 20)
JOINS = st.one_of(st.none(), st.none(), st.none(), st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")))
COOLDOWNS = st.sampled_from([False, False, False, True])
RUNS = st.sampled_from(["", "x", "x", "y"])
# When an event happened, in steps of 100 ms; whether it waits for earlier ones; its client.
RANKS = st.one_of(st.none(), st.tuples(st.integers(0, 9), st.booleans(), st.sampled_from(["a", "b"])))
WAIT_MS, STEP_MS, CLOSE_MS = 9_000, 100, 250
RULES_PER_VERIFICATION = 6
OUTCOMES = st.lists(st.sampled_from(["deliver", "bury", "release", "cool", "keep"]), min_size=6, max_size=6)


@dataclass
class Modelled:
    """An accepted event in the model."""

    sequence: int
    keys: frozenset[str]
    cools: bool
    run: str = ""  # of events with a cooldown
    owner: str | None = None  # the claim that owns it
    expired_claims: int = 0  # claims that ended while they owned it
    delayed: bool = False
    waits: bool = False  # for earlier events
    cools_early: bool = False  # it has had its cooldown from the start
    client: str = ""
    rank: tuple[int, int] = (0, 0)  # ms, and what orders equal times
    is_known: bool = True  # the rank is not forgotten
    is_fresh: bool = True  # arrived in this very call
    finished: str | None = None  # deliver | bury | erase
    empty: bool = False  # erased while a claim owned it


class Histories(RuleBasedStateMachine):
    """Random histories of one queue, compared with the model."""

    connected: ClassVar[redis.Redis]
    histories: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.client: redis.Redis = self.connected
        self.events: list[Modelled] = []
        self.message_ids: set[str] = set()
        self.claims: list[lanes.Claim] = []
        self.joins: dict[str, str] = {}
        self.rules = 0
        self.finished_keys: set[str] = set()  # of the events without a cooldown that finished
        self.cooling_keys: dict[str, str] = {}  # of those with a cooldown, with the run of the last one
        self.lanes: dict[str, list[Modelled]] = defaultdict(list)  # in their order, with what has finished
        self.start_ms = 0

    @initialize()
    def start_empty(self) -> None:
        self.client.flushall()
        lanes.open_queue(queue_of(self.client))
        self.start_ms = int(time.time() * 1000) - 5_000
        type(self).histories += 1

    # The model

    def unfinished(self) -> list[Modelled]:
        return [event for event in self.events if not event.finished]

    def predecessors(self, event: Modelled) -> list[Modelled]:
        """Return the unfinished events that are before this one in a lane, each once."""
        found = {}
        for key in event.keys:
            lane = self.lanes[key]
            for other in lane[: lane.index(event)]:
                found[other.sequence] = other
        return [other for other in found.values() if not other.finished]

    def is_ready(self, event: Modelled) -> bool:
        return not (event.finished or event.owner or event.delayed or event.waits or self.predecessors(event))

    def may_be_overtaken(self, event: Modelled) -> bool:
        if event.owner or event.finished or not event.is_known:
            return False
        return event.waits or (event.cools_early and bool(event.delayed or self.predecessors(event)))

    def position(self, event: Modelled, key: str) -> tuple[int, tuple[int, int]]:
        """Return where the event belongs in a lane, and the greatest rank of those that stay before it."""
        lane = self.lanes[key]
        index, greatest = len(lane), (0, 0)
        for at in range(len(lane) - 1, -1, -1):
            other = lane[at]
            if other.finished:
                continue
            if other.rank <= event.rank or not self.may_be_overtaken(other):
                return index, max(greatest, other.rank)
            if other.client == event.client or other.rank[0] - event.rank[0] >= CLOSE_MS:
                index, greatest = at, (0, 0)
            else:
                greatest = max(greatest, other.rank)
        return index, greatest

    def enter(self, event: Modelled) -> None:
        """Put an event into its lanes. One that goes before another waits no longer than that one."""
        positions: dict[str, int] = {}
        for _ in range(len(self.events) + 1):  # until its rank is that of all that stay before it
            found = {key: self.position(event, key) for key in sorted(event.keys)}
            positions = {key: index for key, (index, _) in found.items()}
            greatest = max((rank for _, rank in found.values()), default=(0, 0))
            if greatest <= event.rank:
                break
            event.rank = greatest
        for key, index in positions.items():
            behind = next((other for other in self.lanes[key][index:] if not other.finished), None)
            if behind:
                behind.delayed = False  # it is due when this one has finished
            self.lanes[key].insert(index, event)

    def may_start_a_claim(self, event: Modelled) -> bool:
        """Of the events with three expired claims, one is claimed at a time."""
        return event.expired_claims < 3 or not any(other.owner and other.expired_claims >= 3 for other in self.events)

    def some_claim(self, which: int) -> lanes.Claim:
        return self.claims[which % len(self.claims)]

    def owned(self, claim_id: str) -> list[Modelled]:
        return [event for event in self.events if event.owner == claim_id]

    def with_joins(self, keys: frozenset[str]) -> frozenset[str]:
        """Return the keys, those they were joined to, and so on."""
        further = keys | {self.joins[key] for key in keys if key in self.joins}
        return keys if further == keys else self.with_joins(further)

    def must_wait(self, event: Modelled) -> bool:
        cools = any(
            not event.run or self.cooling_keys[key] != event.run for key in event.keys & self.cooling_keys.keys()
        )
        return bool(cools or (event.cools and event.keys & self.finished_keys))

    @staticmethod
    def are_run_mates(event: Modelled, other: Modelled) -> bool:
        return event.cools and other.cools and event.run == other.run != ""

    def finish(self, event: Modelled, how: str) -> None:
        behind = [other for other in self.unfinished() if event in self.predecessors(other)]
        event.finished, event.owner = how, None
        if how != "erase":
            if event.cools:
                self.cooling_keys |= dict.fromkeys(event.keys, event.run)
            else:
                self.finished_keys |= event.keys
        for other in behind:
            if not other.owner and not self.predecessors(other):
                other.delayed = self.must_wait(other)

    def release(self, event: Modelled) -> None:
        """Let an event and its successors in the claim leave the claim."""
        claim_id, event.owner = event.owner, None
        for other in self.owned(claim_id or ""):
            if event in self.predecessors(other):
                self.release(other)

    # Rules

    @rule(batch=st.lists(st.tuples(KEYS, st.integers(0, 40), COOLDOWNS, JOINS, RANKS, RUNS), min_size=1, max_size=5))
    def events_arrive(self, batch: list[tuple[frozenset[str], int, bool, tuple[str, str] | None, Any, str]]) -> None:
        batch = sorted(batch, key=lambda row: records.order(self.stored_rank(row[4])))
        offered = [
            lanes.NewEvent(
                b"body",
                tuple(keys),
                f"m{name}",
                COOLDOWN_MS if cools else 0,
                join,
                rank=self.stored_rank(rank),
                run=run,
            )
            for keys, name, cools, join, rank, run in batch
        ]

        appended = append(self.client, *offered)

        for (keys, name, cools, join, rank, run), accepted in zip(batch, appended.accepted, strict=True):
            assert accepted == (f"m{name}" not in self.message_ids), "exactly the known message ids are duplicates"
            self.message_ids.add(f"m{name}")
            if accepted:
                event = Modelled(len(self.events) + 1, self.with_joins(keys), cools, run if cools else "")
                accepted_ms = accepted_at_ms(self.client, event.sequence)
                event.rank, event.is_known, event.cools_early = (accepted_ms, 1), rank is not None, cools
                if rank is not None:
                    event.rank = (self.start_ms + rank[0] * STEP_MS, 0)
                    event.waits, event.client = rank[1], rank[2]
                self.enter(event)
                self.events.append(event)
                event.delayed = not self.predecessors(event) and self.must_wait(event)
                if join:
                    self.joins[join[0]] = join[1]
        for event in self.events:
            if not (event.finished or event.waits or event.cools_early) and event.is_known and event.is_fresh:
                event.is_known = False  # the rank of an event that nothing may go before is not kept
                event.rank = (accepted_at_ms(self.client, event.sequence), 1)
            event.is_fresh = False

    def stored_rank(self, rank: tuple[int, bool, str] | None) -> bytes:
        if rank is None:
            return b""
        at, waits, client = rank
        tie = records.tie(0, 0, 0)
        return records.rank(WAIT_MS if waits else 0, client.encode() * 8, self.start_ms + at * STEP_MS, tie)

    @rule(most=st.integers(1, 6), depth=st.integers(0, 3))
    def a_worker_claims(self, most: int, depth: int) -> None:
        ready = [event for event in self.events if self.is_ready(event)]
        looked_at = [event for event in ready[:most] if self.may_start_a_claim(event)]

        line_up(self.client)
        claimed = claim(self.client, events=most, depth=depth)

        assert bool(claimed.events) == bool(looked_at), "a claim finds work exactly when there is some"
        assert len(claimed.events) <= most
        depths = {event.sequence: event.depth for event in claimed.events}
        for sequence in depths:
            event = self.events[sequence - 1]
            assert not event.finished
            assert event.owner is None, "no event is claimed twice"
            assert not event.delayed
            assert not event.waits, "no event is claimed before it has waited for earlier ones"
            mates = [other for other in self.predecessors(event) if self.are_run_mates(event, other)]
            assert depths[sequence] or self.is_ready(event) or (mates and not self.must_wait(event))
            if mates:
                event.is_known = False  # nothing may go before it any more
                event.rank = (accepted_at_ms(self.client, sequence), 1)
            for other in self.predecessors(event):
                if other in mates:
                    assert depths.get(other.sequence) == depths[sequence] == 0, "a run is claimed at one depth"
                    continue
                assert depths.get(other.sequence, 99) < depths[sequence], "order per key: predecessors first, and here"
                assert not any((event.cools, other.cools)), "a cooldown passes between events that share a key"
            assert depths[sequence] == 0 or not self.must_wait(event)
        for sequence in depths:
            self.events[sequence - 1].owner = claimed.id
        if claimed.events:
            self.claims.append(claimed)

    @precondition(lambda self: self.claims)
    @rule(which=WHICH, drawn=OUTCOMES)
    def a_worker_settles(self, which: int, drawn: list[str]) -> None:
        """Any part of any claim, also of one that was lost, in any combination."""
        claimed = self.some_claim(which)
        outcomes = {event.sequence: outcome for event, outcome in zip(claimed.events, drawn, strict=False)}

        settled = lanes.settle(
            queue_of(self.client),
            claimed.id,
            delivered=[sequence for sequence, outcome in outcomes.items() if outcome == "deliver"],
            buried=[lanes.Burial(sequence, b"failure") for sequence, outcome in outcomes.items() if outcome == "bury"],
            released=[
                lanes.Release(sequence, 60_000, b"tried")
                for sequence, outcome in outcomes.items()
                if outcome == "release"
            ]
            + [
                lanes.Release(sequence, 0, cooldown_ms=COOLDOWN_MS)
                for sequence, outcome in outcomes.items()
                if outcome == "cool"
            ],
        )

        assert set(settled.lost) == self.settle_model(claimed.id, outcomes), "only events of the claim are settled"

    def settle_model(self, claim_id: str, outcomes: dict[int, str]) -> set[int]:
        """Apply the outcomes to the model and return what must be reported as lost."""
        named = {sequence: outcome for sequence, outcome in outcomes.items() if outcome != "keep"}
        lost = {sequence for sequence in named if self.events[sequence - 1].owner != claim_id}
        finishing = {sequence for sequence in named.keys() - lost if named[sequence] in ("deliver", "bury")}
        while free := [s for s in finishing if not self.predecessors(self.events[s - 1])]:
            for sequence in sorted(free):
                event = self.events[sequence - 1]
                self.finish(event, "deliver" if event.empty else named[sequence])
            finishing -= set(free)
        lost |= finishing
        for sequence in sorted(named.keys() - lost):
            event = self.events[sequence - 1]
            if named[sequence] == "release":
                event.delayed = not self.predecessors(event)
                self.release(event) if event.owner else None
            elif named[sequence] == "cool":
                event.cools = True
                event.delayed = not self.predecessors(event) and self.must_wait(event)
                self.release(event) if event.owner else None
        return lost

    @precondition(lambda self: self.claims)
    @rule(which=WHICH)
    def a_claim_expires(self, which: int) -> None:
        dead = self.some_claim(which)
        owned = self.owned(dead.id)
        expire(self.client, dead)

        assert lanes.reap(queue_of(self.client)).events == len(owned)

        for event in owned:
            event.owner = None
            event.expired_claims += 1

    @precondition(lambda self: self.claims)
    @rule(which=WHICH)
    def a_worker_asks_for_time(self, which: int) -> None:
        asking = self.some_claim(which).id

        assert lanes.extend(queue_of(self.client), asking, lease_ms=60_000) == bool(self.owned(asking))

    @rule(key=st.sampled_from("abcde"), before=st.integers(1, 30))
    def a_key_is_erased(self, key: str, before: int) -> None:
        erased = lanes.erase(queue_of(self.client), [lanes.digest(key)], before=before)

        how = {event.sequence: event.how for event in erased.events}
        for event in self.unfinished():
            if key not in event.keys or event.sequence >= before:
                assert event.sequence not in how, "no other event is changed"
            elif event.owner:
                assert how.get(event.sequence) == (None if event.empty else "emptied")
                event.empty = True
            else:
                assert how.get(event.sequence) == "removed"
                self.finish(event, "erase")

    @rule()
    def delays_end(self) -> None:
        make_due(self.client)
        self.all_waits_end()
        for event in self.events:
            event.delayed = False

    def all_waits_end(self) -> None:
        end_waits(self.client)
        heads = [event for event in self.unfinished() if event.waits and not self.predecessors(event)]
        due = {event.sequence: 0 for event in heads if not event.delayed}
        if due:
            self.client.zadd(READY.of(QUEUE), due, xx=True)
        for event in self.events:
            event.waits = False

    @rule()
    def waits_end(self) -> None:
        self.all_waits_end()

    @rule()
    def ranks_are_forgotten(self) -> None:
        """Some time after their waits have ended."""
        self.all_waits_end()
        forget_ranks(self.client)
        for event in self.unfinished():
            event.is_known = False
            event.rank = (accepted_at_ms(self.client, event.sequence), 1)

    # Invariants

    @invariant()
    def the_figures_are_the_models(self) -> None:
        figures = stats(self.client)
        unfinished = self.unfinished()
        claimed = [event for event in unfinished if event.owner]
        heads = [event for event in unfinished if not event.owner and not self.predecessors(event)]
        delayed = [event for event in heads if event.delayed or event.waits]
        ready = [event for event in unfinished if self.is_ready(event)]

        assert (figures.waiting, figures.claimed, figures.delayed, figures.ready) == (
            len(unfinished),
            len(claimed),
            len(delayed),
            len(ready),
        )
        assert figures.blocked == len(unfinished) - len(claimed) - len(delayed) - len(ready)
        assert figures.dead == figures.buried_total == sum(event.finished == "bury" for event in self.events)
        assert figures.delivered_total == sum(event.finished == "deliver" for event in self.events)
        assert figures.erased_total == sum(event.finished == "erase" for event in self.events)
        assert figures.claims == len({event.owner for event in claimed})

    @invariant()
    def no_two_claims_share_a_key(self) -> None:
        owner: dict[str, str] = {}
        for event in self.unfinished():
            for key in event.keys if event.owner else ():
                assert owner.setdefault(key, event.owner or "") == event.owner

    @invariant()
    def the_stored_queue_is_sound(self) -> None:
        """Checked after some of the rules, since it reads everything."""
        self.rules += 1
        if self.rules % RULES_PER_VERIFICATION == 0:
            assert lanes.verify(queue_of(self.client)).violations == ()

    def teardown(self) -> None:
        """In the end everything can be delivered, in order, and nothing is left."""
        assert lanes.verify(queue_of(self.client)).violations == ()
        for each in self.claims:
            expire(self.client, each)
        lanes.reap(queue_of(self.client))
        end_waits(self.client)
        order: dict[str, list[int]] = defaultdict(list)
        for _ in range(10 * len(self.events) + 1):
            make_due(self.client)
            claimed = claim(self.client)
            for event in claimed.events:
                assert bool(event.body) != self.events[event.sequence - 1].empty
                for key in self.events[event.sequence - 1].keys:
                    order[key].append(event.sequence)
            lanes.settle(queue_of(self.client), claimed.id, delivered=[event.sequence for event in claimed.events])
            if stats(self.client).waiting == 0:
                break
        for key, lane in self.lanes.items():
            expected = [event.sequence for event in lane if not event.finished]
            assert order[key] == expected, "order per key: by rank among those whose waits overlapped"
        figures = stats(self.client)
        assert figures.waiting == 0
        ends = figures.delivered_total + figures.buried_total + figures.erased_total
        assert figures.accepted_total == len(self.events) == ends
        assert lanes.verify(queue_of(self.client)).violations == ()
        assert leftovers(self.client) <= {":dead", ":failure", ":dead_index"}


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


def run_histories(histories: type[RuleBasedStateMachine], client: redis.Redis, examples: int) -> None:
    machine = type(histories.__name__, (histories,), {"connected": client})
    profile = settings(
        max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=profile)
    assert machine.histories >= examples


def test_every_history_keeps_the_promises_on_the_imitation() -> None:
    run_histories(Histories, fakeredis.FakeStrictRedis(), examples=150)


def test_every_history_keeps_the_promises_on_a_real_server(redis_client: redis.Redis) -> None:
    run_histories(Histories, redis_client, examples=850)


def test_records_that_disappear_hold_no_other_event_up_on_the_imitation() -> None:
    run_histories(DamagedHistories, fakeredis.FakeStrictRedis(), examples=60)


def test_records_that_disappear_hold_no_other_event_up_on_a_real_server(redis_client: redis.Redis) -> None:
    run_histories(DamagedHistories, redis_client, examples=240)
