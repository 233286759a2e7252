"""The check of order: operations of a stream must be applied in the order in which their events were accepted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from simulator.operations import NAMED
from simulator.person import Json, Trace


@dataclass(slots=True)
class _Stream:
    latest: int = 0
    seen: set[tuple[int, str, str]] = field(default_factory=set)  # position, action, name


class OrderCheck:
    """Counts operations that are applied after a later one of their stream, and events that are applied twice.

    A repeated operation is not a violation: a repeated update has no effect, a repeated event counts as applied twice.
    """

    def __init__(self) -> None:
        self.violations = 0
        self.applied_twice = 0
        self._streams: dict[str, _Stream] = defaultdict(_Stream)

    def see(self, operation: Json, trace: Trace) -> None:
        """Record that the operation was applied now."""
        stream = self._streams[trace.stream]
        what = (trace.position, operation["action"], str(operation.get("name", "")))
        if what in stream.seen:
            self.applied_twice += operation["action"] in NAMED
            return
        stream.seen.add(what)
        self.violations += trace.position < stream.latest
        stream.latest = max(stream.latest, trace.position)
