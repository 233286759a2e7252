"""The service around the workspace: it accepts, and applies when and in which order it pleases.

Seeded, and driven by a clock that can be moved on by hand, so that a run can be repeated. It also watches: an operation
applied before one of its stream that stands earlier is a violation of order.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from simulator.operations import fault, take_trace
from simulator.options import Faults, Options
from simulator.people import Workspace

Json = dict[str, Any]

_NAMED = frozenset({"event", "page", "screen"})


class Service:
    """One workspace with its faults, its clock and its journal."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.clock_ahead_s = 0.0
        self.options = Options()
        self.reset()

    def reset(self) -> None:
        """Forget everybody and everything but the options."""
        self.set_faults(Faults(seed=self.seed))
        self.workspace = Workspace(self.options)
        self.journal: list[Json] = []
        self.requests: Counter[str] = Counter()
        self.accepted = 0
        self.applied = 0
        self.order_violations = 0
        self.applied_twice = 0
        self._pending: list[tuple[float, int, Json, float]] = []  # when, number, operation, arrival
        self._number = 0
        self._in_order_until = 0.0
        self._last: dict[str, int] = {}  # by stream
        self._seen: set[tuple[str, int, str]] = set()
        self._seconds: Counter[int] = Counter()

    def set_faults(self, faults: Faults) -> None:
        self.faults = faults
        self.dice = random.Random(faults.seed)

    def now(self) -> float:
        return time.time() + self.clock_ahead_s

    def happens(self, rate: float) -> bool:
        return rate > 0 and self.dice.random() < rate

    def is_over_the_limit(self) -> bool:
        """Count one more request of this second; return whether it is too many."""
        second = int(self.now())
        self._seconds[second] += 1
        limit = self.faults.requests_per_s
        return limit is not None and self._seconds[second] > limit

    def requests_by_second(self) -> dict[int, int]:
        return dict(self._seconds)

    def check(self, operation: Any) -> Json | None:
        """Return why an item is refused, by its form or by a fault; None when it is accepted."""
        found = fault(operation)
        if found is None and self._has_bad_ulid(operation):
            found = {"reason": "invalid", "field": "id", "message": "must be a ULID"}
        if found is None and self.happens(self.faults.item_errors):
            found = {"reason": "invalid", "field": "attributes", "message": "refused by the simulator's faults"}
        if found is not None and self.faults.item_errors_bare:
            return {"reason": found["reason"]}
        return found

    def _has_bad_ulid(self, operation: Json) -> bool:
        event_id = operation.get("id")
        if self.options.invalid_ulid == "regenerate" or operation["action"] not in _NAMED or event_id is None:
            return False
        return not (isinstance(event_id, str) and len(event_id) == 26 and event_id.isalnum())

    def accept(self, operations: Sequence[Json]) -> None:
        """Take the operations of one request: apply them, or put them down for later."""
        self.accepted += len(operations)
        arrived_at = self.now()
        self.catch_up()
        if self.faults.apply == "at_once" and not self._pending:
            for operation in operations:
                self._apply(operation, arrived_at, arrived_at)
            return
        due = self._due(arrived_at)
        for operation in operations:
            if self.faults.apply == "shuffled" and self.faults.shuffle_batches:
                due = self._due(arrived_at)
            self._number += 1
            heapq.heappush(self._pending, (due, self._number, operation, arrived_at))

    def _due(self, arrived_at: float) -> float:
        """Return when a request that arrived now is applied."""
        if self.faults.apply == "at_once":
            return max(arrived_at, self._in_order_until)
        if self.happens(self.faults.lag_tail):
            lag_s = self.dice.uniform(self.faults.lag_ms[1], self.faults.lag_tail_ms) / 1000
        else:
            lag_s = self.dice.uniform(*self.faults.lag_ms) / 1000
        due = arrived_at + lag_s
        if self.faults.apply == "in_order":
            due = self._in_order_until = max(due, self._in_order_until)
        return due

    def catch_up(self) -> None:
        """Apply what is due by now."""
        now = self.now()
        while self._pending and self._pending[0][0] <= now:
            due, _, operation, arrived_at = heapq.heappop(self._pending)
            self._apply(operation, arrived_at, due)

    def _apply(self, operation: Json, arrived_at: float, applied_at: float) -> None:
        trace = take_trace(operation)
        if self.options.keep_journal:
            entry = {"operation": operation, "arrived_at": arrived_at, "applied_at": applied_at}
            self.journal.append(entry | ({"trace": f"{trace[0]}:{trace[1]}"} if trace else {}))
        if trace is not None:
            self._watch(trace)
        duplicates = self.workspace.counts["duplicate_event"]
        self.workspace.apply(operation, arrived_at, trace)
        self.applied += 1
        if trace is not None and operation["action"] in _NAMED:
            done = (*trace, str(operation["name"]))
            if done in self._seen and self.workspace.counts["duplicate_event"] == duplicates:
                self.applied_twice += 1
            self._seen.add(done)

    def _watch(self, trace: tuple[str, int]) -> None:
        stream, place = trace
        last = self._last.get(stream, 0)
        if place < last:
            self.order_violations += 1
        self._last[stream] = max(place, last)

    def stats(self) -> Json:
        """Return the figures of `/_sim/stats`."""
        self.catch_up()
        return {
            "requests": dict(self.requests),
            "operations": self.accepted,
            "applied": self.applied,
            "pending": len(self._pending),
            "people": len(self.workspace.people),
            "order_violations": self.order_violations,
            "applied_twice": self.applied_twice,
            "most_requests_in_a_second": max(self._seconds.values(), default=0),
            **{name: self.workspace.counts[name] for name in _WATCHED},
        }


_WATCHED = (
    "merge_without_primary",
    "merge_without_secondary",
    "stale_attribute_won",
    "skipped_update",
    "recreated_after_merge",
    "failed_attribute_change",
    "duplicate_event",
    "ignored",
)
