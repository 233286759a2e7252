"""The promises of the lanes, held against a model through random histories over both servers.

A history appends events with overlapping keys (some twice), claims them in any portion, settles any part of any claim
in any way and any order, lets leases and delays end, lets workers vanish without a word and answer late, forgets what
has a key; some events have a hold, some are given one when they are put back, some join two keys. The model is a list
of events in order of acceptance; it knows no tails, links or counts, only who shares a key with whom. A hold is longer
than any history, but for the rule that ends the delays.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
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
from tests.lanes.driving import COOLDOWN_MS, append, claim, expire, leftovers, line_up, make_due, queue_of, stats

ERASE = import_module("lanes.erase")  # the package has a function of that name

KEYS = st.frozensets(st.sampled_from("abcde"), max_size=3)
WHICH = st.integers(0, 20)
JOINS = st.one_of(st.none(), st.none(), st.none(), st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")))
HOLDS = st.sampled_from([False, False, False, True])
RULES_PER_VERIFICATION = 6
OUTCOMES = st.lists(st.sampled_from(["deliver", "bury", "release", "hold", "keep"]), min_size=6, max_size=6)


@dataclass
class Modelled:
    """An accepted event as the model sees it."""

    sequence: int
    keys: frozenset[str]
    hold: bool
    owner: str | None = None  # the claim that owns it
    expired_claims: int = 0  # claims that ended while they owned it
    delayed: bool = False
    finished: str | None = None  # deliver | bury | forget
    empty: bool = False  # forgotten while a claim owned it


class Histories(RuleBasedStateMachine):
    """Random histories of one queue beside the model of what must be."""

    connected: ClassVar[redis.Redis]
    told: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.client: redis.Redis = self.connected
        self.events: list[Modelled] = []
        self.message_ids: set[str] = set()
        self.claims: list[lanes.Claim] = []
        self.joins: dict[str, str] = {}
        self.rules = 0
        self.rested: set[str] = set()  # the keys of all that finished
        self.apart: set[str] = set()  # the keys of what finished and had a hold

    @initialize()
    def start_empty(self) -> None:
        self.client.flushall()
        lanes.open_queue(queue_of(self.client))
        type(self).told += 1

    # What the model knows

    def unfinished(self) -> list[Modelled]:
        return [event for event in self.events if not event.finished]

    def predecessors(self, event: Modelled) -> list[Modelled]:
        return [other for other in self.unfinished() if other.sequence < event.sequence and other.keys & event.keys]

    def is_ready(self, event: Modelled) -> bool:
        return not (event.finished or event.owner or event.delayed or self.predecessors(event))

    def may_start_a_claim(self, event: Modelled) -> bool:
        """Of the events whose claims died three times, one is under way at a time."""
        return event.expired_claims < 3 or not any(other.owner and other.expired_claims >= 3 for other in self.events)

    def some_claim(self, which: int) -> lanes.Claim:
        return self.claims[which % len(self.claims)]

    def owned(self, claim_id: str) -> list[Modelled]:
        return [event for event in self.events if event.owner == claim_id]

    def with_joins(self, keys: frozenset[str]) -> frozenset[str]:
        """The keys, and those they were joined to, and so on."""
        further = keys | {self.joins[key] for key in keys if key in self.joins}
        return keys if further == keys else self.with_joins(further)

    def must_wait(self, event: Modelled) -> bool:
        return bool(event.keys & self.apart or (event.hold and event.keys & self.rested))

    def finish(self, event: Modelled, how: str) -> None:
        behind = [other for other in self.unfinished() if event in self.predecessors(other)]
        event.finished, event.owner = how, None
        if how != "forget":
            self.rested |= event.keys
            if event.hold:
                self.apart |= event.keys
        for other in behind:
            if not other.owner and not self.predecessors(other):
                other.delayed = self.must_wait(other)

    def let_go(self, event: Modelled) -> None:
        """Take an event out of its claim, and whatever follows it there."""
        claim_id, event.owner = event.owner, None
        for other in self.owned(claim_id or ""):
            if event in self.predecessors(other):
                self.let_go(other)

    # What can happen

    @rule(batch=st.lists(st.tuples(KEYS, st.integers(0, 40), HOLDS, JOINS), min_size=1, max_size=5))
    def events_arrive(self, batch: list[tuple[frozenset[str], int, bool, tuple[str, str] | None]]) -> None:
        offered = [
            lanes.NewEvent(b"body", tuple(keys), f"m{name}", cooldown_ms=COOLDOWN_MS if hold else 0, join=join)
            for keys, name, hold, join in batch
        ]

        appended = append(self.client, *offered)

        for (keys, name, hold, join), accepted in zip(batch, appended.accepted, strict=True):
            assert accepted == (f"m{name}" not in self.message_ids), "exactly the known message ids are duplicates"
            self.message_ids.add(f"m{name}")
            if accepted:
                event = Modelled(len(self.events) + 1, self.with_joins(keys), hold)
                self.events.append(event)
                event.delayed = not self.predecessors(event) and self.must_wait(event)
                if join:
                    self.joins[join[0]] = join[1]

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
            assert depths[sequence] or self.is_ready(event)
            for other in self.predecessors(event):
                assert depths.get(other.sequence, 99) < depths[sequence], "order per key: predecessors first, and here"
                assert not any((event.hold, other.hold)), "a hold keeps neighbours apart"
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
                if outcome == "hold"
            ],
        )

        assert set(settled.lost) == self.settle_model(claimed.id, outcomes), "the fence holds"

    def settle_model(self, claim_id: str, outcomes: dict[int, str]) -> set[int]:
        """Apply the outcomes to the model and return what must be reported as lost."""
        named = {sequence: outcome for sequence, outcome in outcomes.items() if outcome != "keep"}
        lost = {sequence for sequence in named if self.events[sequence - 1].owner != claim_id}
        for sequence in sorted(named.keys() - lost):
            event = self.events[sequence - 1]
            if named[sequence] in ("deliver", "bury"):
                if self.predecessors(event):
                    lost.add(sequence)
                else:
                    self.finish(event, "deliver" if event.empty else named[sequence])
        for sequence in sorted(named.keys() - lost):
            event = self.events[sequence - 1]
            if named[sequence] == "release":
                event.delayed = not self.predecessors(event)
                self.let_go(event) if event.owner else None
            elif named[sequence] == "hold":
                event.hold = True
                event.delayed = not self.predecessors(event) and self.must_wait(event)
                self.let_go(event) if event.owner else None
        return lost

    @precondition(lambda self: self.claims)
    @rule(which=WHICH)
    def a_worker_dies(self, which: int) -> None:
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
    def a_key_is_forgotten(self, key: str, before: int) -> None:
        forgotten = lanes.erase(queue_of(self.client), [lanes.digest(key)], before=before)

        how = {event.sequence: event.how for event in forgotten.events}
        for event in self.unfinished():
            if key not in event.keys or event.sequence >= before:
                assert event.sequence not in how, "nobody else is touched"
            elif event.owner:
                assert how.get(event.sequence) == (None if event.empty else "emptied")
                event.empty = True
            else:
                assert how.get(event.sequence) == "removed"
                self.finish(event, "forget")

    @rule()
    def delays_end(self) -> None:
        make_due(self.client)
        for event in self.events:
            event.delayed = False

    # What always holds

    @invariant()
    def the_figures_are_the_models(self) -> None:
        figures = stats(self.client)
        unfinished = self.unfinished()
        claimed = [event for event in unfinished if event.owner]
        delayed = [event for event in unfinished if event.delayed and not event.owner]
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
        assert figures.erased_total == sum(event.finished == "forget" for event in self.events)
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
        """Whatever happened, everything can be delivered in the end, in order, and nothing stays behind."""
        assert lanes.verify(queue_of(self.client)).violations == ()
        for each in self.claims:
            expire(self.client, each)
        lanes.reap(queue_of(self.client))
        last: dict[str, int] = {}
        for _ in range(10 * len(self.events) + 1):
            make_due(self.client)
            claimed = claim(self.client)
            for event in claimed.events:
                assert bool(event.body) != self.events[event.sequence - 1].empty
                for key in self.events[event.sequence - 1].keys:
                    assert last.get(key, 0) < event.sequence
                    last[key] = event.sequence
            lanes.settle(queue_of(self.client), claimed.id, delivered=[event.sequence for event in claimed.events])
            if stats(self.client).waiting == 0:
                break
        figures = stats(self.client)
        assert figures.waiting == 0
        ends = figures.delivered_total + figures.buried_total + figures.erased_total
        assert figures.accepted_total == len(self.events) == ends
        assert lanes.verify(queue_of(self.client)).violations == ()
        assert leftovers(self.client) <= {":dead", ":failure", ":dead_index"}


@pytest.fixture(autouse=True)
def forgetting_takes_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ERASE, "_MOST_STEPS", 8)


def run_histories(client: redis.Redis, examples: int) -> None:
    machine = type("Histories", (Histories,), {"connected": client})
    profile = settings(
        max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=profile)
    assert machine.told >= examples


def test_every_history_keeps_the_promises_on_the_imitation() -> None:
    run_histories(fakeredis.FakeStrictRedis(), examples=300)


def test_every_history_keeps_the_promises_on_a_real_server(redis_client: redis.Redis) -> None:
    run_histories(redis_client, examples=1700)
