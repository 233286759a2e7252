"""The service around the workspace: it accepts operations and applies them later (rules 12-15).

Random choices have a seed and the clock can be moved by hand, so a run can be repeated. There is no background task:
each read and each request first applies the operations that are due, each with its own time.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from simulator.clock import Clock
from simulator.limit import Limit
from simulator.operations import fault, size_fault, take_trace
from simulator.options import Faults, Options
from simulator.order import OrderCheck
from simulator.person import Json
from simulator.workspace import Workspace


class Service:
    """One workspace with its faults, its clock and its journal."""

    def __init__(self, seed: int) -> None:
        self.clock = Clock()
        self.options = Options()
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Delete all data and faults; keep the options and the clock."""
        self.set_faults(Faults())
        self.workspace = Workspace(self.options)
        self.journal: list[Json] = []
        self.requests: Counter[str] = Counter()
        self.limit = Limit()
        self._order = OrderCheck()
        self._accepted = self._refused = self._applied = 0
        self._pending: list[tuple[float, int, Json, float]] = []  # due time, number, operation, time of arrival
        self._in_order_until = 0.0

    def set_options(self, options: Options) -> None:
        """Replace all options."""
        self.options = options
        self.workspace.set_options(options)

    def set_faults(self, faults: Faults) -> None:
        """Replace all faults and restart the random choices; pending operations keep their time."""
        self.faults = faults
        self.dice = random.Random(self._seed if faults.seed is None else faults.seed)

    def happens(self, rate: float) -> bool:
        """Return True with the probability `rate`."""
        return rate > 0 and self.dice.random() < rate

    def is_over_the_limit(self) -> bool:
        """Count a request; return whether it exceeds the rate limit."""
        return self.limit.is_exceeded(self.clock.now(), self.faults.requests_per_s)

    def check(self, operation: Any, *, may_be_large: bool = False) -> Json | None:
        """Return why an item is refused, `{"reason", "field"?, "message"?}`; None when it is accepted.

        `may_be_large` states that its size must be checked.
        """
        found = (size_fault(operation) if may_be_large else None) or fault(operation, self.options)
        if found is None and self.happens(self.faults.item_errors):
            found = {"reason": "invalid", "field": "attributes", "message": "refused by the simulator's faults"}
        self._refused += found is not None
        if found is not None and self.faults.item_errors_bare:
            return {"reason": found["reason"]}
        return found

    def accept(self, operations: Sequence[Json]) -> None:
        """Accept the operations of one request: apply them now or schedule them."""
        self.catch_up()
        self._accepted += len(operations)
        arrived_at = self.clock.now()
        if self.faults.shuffle_batches:
            operations = self.dice.sample(operations, len(operations))
        if self.faults.apply == "at_once" and not self._pending:
            for operation in operations:
                self._apply(operation, arrived_at, arrived_at)
            return
        is_torn = self.faults.apply == "shuffled" and self.faults.shuffle_batches
        due = self._due(arrived_at)
        for number, operation in enumerate(operations, self._accepted - len(operations)):
            heapq.heappush(self._pending, (self._due(arrived_at) if is_torn else due, number, operation, arrived_at))

    def catch_up(self) -> None:
        """Apply the operations that are due."""
        now = self.clock.now()
        while self._pending and self._pending[0][0] <= now:
            due, _, operation, arrived_at = heapq.heappop(self._pending)
            self._apply(operation, arrived_at, due)

    def _due(self, arrived_at: float) -> float:
        """Return the time at which a request that arrived at `arrived_at` is applied."""
        faults = self.faults
        if faults.apply == "at_once":
            return max(arrived_at, self._in_order_until)
        least, most = faults.lag_ms
        if self.happens(faults.lag_tail):
            least, most = most, max(most, faults.lag_tail_ms)
        due = arrived_at + self.dice.uniform(least, most) * faults.lag_scale / 1000
        if faults.apply == "in_order":
            due = self._in_order_until = max(due, self._in_order_until)
        return due

    def _apply(self, operation: Json, arrived_at: float, applied_at: float) -> None:
        trace = take_trace(operation)
        if self.options.keep_journal:
            entry = {"operation": operation, "arrived_at": arrived_at, "applied_at": applied_at}
            self.journal.append(entry | ({"trace": f"{trace.stream}:{trace.position}"} if trace else {}))
        is_new = self.workspace.apply(operation, arrived_at, trace)
        self._applied += 1
        if trace is not None and is_new:
            self._order.see(operation, trace)

    def stats(self) -> Json:
        """Return the figures of `/_sim/stats`."""
        self.catch_up()
        counts = self.workspace.counts
        return {
            "requests": dict(self.requests),
            "most_requests_in_a_second": self.limit.busiest,
            "operations": self._accepted,
            "refused": self._refused,
            "applied": self._applied,
            "pending": len(self._pending),
            "people": len(self.workspace.people),
            "order_violations": self._order.violations,
            "applied_twice": self._order.applied_twice,
            **{name: counts[name] for name in _WATCHED},
        }


_WATCHED = (
    "merge_without_primary",
    "merge_without_secondary",
    "recreated",
    "stale_attribute_won",
    "skipped_update",
    "failed_attribute_change",
    "failed_event",
    "duplicate_event",
    "ignored",
)
