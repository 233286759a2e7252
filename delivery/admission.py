"""The gate of a destination: what all workers together may send, how fast, and whether at all.

One rate for the whole workspace, kept in Redis: every send takes a turn, retries too. The rate halves when the service
answers 429, falls by a tenth when answers become slow, and comes back by itself. The gate shuts when the service is
dead (FAILURES in a row) or the set-up is at fault (credentials, region); then nothing is claimed, so no event spends an
attempt, and from time to time one deliverer claims a little and probes. The first answer opens it. Nothing is claimed
either while the service asked for a longer wait than a turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from delivery.batching import Request
from delivery.outcomes import Outcome, Paused, Response, RetryLater
from delivery.scripts import run
from lanes import Queue, keys

FAILURES = 5
LONGEST_PROBE_WAIT_S = 30.0
# A probe that has not come to an end by then has died; the next one may go.
_PROBE_S = 30.0
# Answers have become slow when the last twenty or so take this many times what some hundreds took, and this much more.
# One alone says nothing: a hundredth of the answers of a healthy service is slow.
_SLOW_TIMES, _SLOW_MORE_S = 2.0, 0.25
_RECENT_WEIGHT, _USUAL_WEIGHT = 0.05, 0.005

Admission = Literal["open", "shut", "probe"]
Send = Callable[[Request], list[Outcome]]


@dataclass(frozen=True, slots=True)
class GateState:
    """How the gate stands, for whoever looks."""

    paused: bool  # the set-up is at fault: credentials, region
    breaker: Literal["closed", "open"]  # open: the service is dead, nothing is sent but probes
    reason: str | None
    since_ms: int | None  # Redis' clock
    requests_per_s: float | None  # the present rate, when it was cut


@dataclass(slots=True)
class Gate:
    """The gate as one deliverer uses it. `requests_per_s` is the destination's limit, durations are seconds."""

    queue: Queue
    requests_per_s: float
    probe_wait_s: float
    turn_s: float  # the longest wait for a turn
    clock: Callable[[], float] = time.monotonic
    _usual_s: float | None = field(default=None, init=False)
    _recent_s: float = field(default=0.0, init=False)

    def admit(self) -> Admission:
        """Return whether to claim: as usual, not now, or a little, as a probe."""
        answer: bytes = run(self.queue.client, "admit", _key(self.queue), int(_PROBE_S * 1000), int(self.turn_s * 1000))
        return "open" if answer == b"open" else "probe" if answer == b"probe" else "shut"

    def guard(self, send: Send) -> Send:
        """Return `send` in turn, its answers reported; events of a request that cannot be sent now are Paused."""

        def guarded(request: Request) -> list[Outcome]:
            too_long_s, troubled = self._depart()
            if too_long_s:
                answer = Response(None, "not sent")
                return [Paused("the rate limit has no room", answer, too_long_s)] * len(request.items)
            sent_at = self.clock()
            outcomes = send(request)
            return self._reported(outcomes, self.clock() - sent_at, troubled=troubled)

        return guarded

    def _depart(self) -> tuple[float, bool]:
        """Wait until a request may leave.

        Return 0, or the seconds that would be too long to wait, and whether a success should be reported. Whoever had
        to wait asks once more when the turn has come: it may be late, and leave beside those on time.
        """
        until, turn = self.clock() + self.turn_s, 0
        while True:
            patience_us = max(0, int((until - self.clock()) * 1e6))
            turn, wait_us, troubled = run(
                self.queue.client, "depart", _key(self.queue), self.requests_per_s, patience_us, turn
            )
            if wait_us <= 0:
                return -wait_us / 1e6, bool(troubled)
            time.sleep(wait_us / 1e6)

    def _reported(self, outcomes: list[Outcome], elapsed_s: float, *, troubled: bool) -> list[Outcome]:
        first = outcomes[0]
        if isinstance(first, Paused):
            self._report("refused", first.reason)
        elif isinstance(first, RetryLater) and first.is_throttled:
            self._report("throttled", after_s=first.after_s or 0.0)
        elif isinstance(first, RetryLater):
            if self._report("failed", first.reason):
                return [Paused(first.reason, first.response)] * len(outcomes)
        else:
            if troubled:
                self._report("answered")
            self._notice(elapsed_s)
        return outcomes

    def _notice(self, elapsed_s: float) -> None:
        """Keep the usual time of an answer and that of the last ones, and report when these are much slower."""
        if self._usual_s is None:
            self._usual_s = self._recent_s = elapsed_s
        self._usual_s += _USUAL_WEIGHT * (elapsed_s - self._usual_s)
        self._recent_s += _RECENT_WEIGHT * (elapsed_s - self._recent_s)
        if self._recent_s > _SLOW_TIMES * self._usual_s + _SLOW_MORE_S:
            self._report("slow")

    def _report(self, what: str, reason: str = "", after_s: float = 0.0) -> bool:
        """Report how a send went; return whether the gate is shut now."""
        return bool(
            run(
                self.queue.client,
                "report",
                _key(self.queue),
                what,
                self.requests_per_s,
                FAILURES,
                int(self.probe_wait_s * 1000),
                int(max(LONGEST_PROBE_WAIT_S, self.probe_wait_s) * 1000),
                int(after_s * 1000),
                reason,
            )
        )


def read(queue: Queue) -> GateState:
    """Return how the gate of the destination stands."""
    state, reason, since, rate = queue.client.hmget(_key(queue), "state", "reason", "since", "rate")
    return GateState(
        paused=state == b"refused",
        breaker="open" if state == b"dead" else "closed",
        reason=str(reason, "utf-8") if isinstance(reason, bytes) else None,
        since_ms=int(since) if since else None,
        requests_per_s=float(rate) if rate else None,
    )


def _key(queue: Queue) -> str:
    return keys.ADMISSION.of(queue.name)
