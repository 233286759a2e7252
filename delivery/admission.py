"""Admission to a destination: what all of its workers together may send, how fast, and whether at all.

*Rate limit.* One rate for the whole workspace, kept in Redis. Each request acquires a turn, retries too. The rate
halves when the service responds 429, falls by a tenth when responses become slow, and recovers within 30 s.

*Circuit breaker.* It opens after FAILURES failures in a row. While it is open nothing is claimed, so no event spends an
attempt. Now and then it is half-open: one deliverer claims one event and sends it as a probe. The first response closes
it.

*Pause.* A fault of the set-up (credentials, region) pauses the destination at once, with the reason. Probes go on.

*One event or all.* Some failures are those of one event: a firewall refuses its text, or the service fails with it. So
the events of a request that stops the destination wait longer than the next probe, which is another event. They wait up
to SET_ASIDE_PROBES times as long, so that an event that fails always stops the others for a small part of the time.

Nothing is claimed while an operator has paused the destination (`delivery.overrides`). Nor is it while the next turn is
further away than a request waits for one. The latter follows a response with a long `Retry-After`: a 429, or a failure
such as a 503.

The reason of a stop is that of the last request. An open breaker or a pause ends when a worker starts with another
configuration or address, since the reason may not apply to it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from delivery import failures
from delivery.batching import Request
from delivery.outcomes import NOT_SENT, Outcome, Paused, RetryLater, Send
from delivery.scripts import run
from lanes import Queue, keys
from lanes.clock import reply_ms
from logs import events as log

FAILURES: Final = 5
LONGEST_PROBE_WAIT_S: Final = 30.0
# The events of a request that stops the destination are set aside for at most this many waits before a probe, and for
# no more than this many seconds.
SET_ASIDE_PROBES: Final = 20
LONGEST_SET_ASIDE_S: Final = 60.0
# A probe that did not end within this time was lost with its worker; the next one may start.
_PROBE_S = 30.0
# A reason is that of the present for so long: a probe is sent more often, unless nothing waits or Redis is in the way.
_PRESENT_MS = 90_000
# How long a rate that was cut takes to recover, as in acquire.lua.
_RECOVERY_S = 30
# Responses are slow when the last twenty or so took this many times what some hundreds took, and this much more. A
# single response says nothing: a hundredth of the responses of a healthy service is slow.
_SLOW_TIMES, _SLOW_MORE_S = 2.0, 0.25
_RECENT_WEIGHT, _USUAL_WEIGHT = 0.05, 0.005

# The fields of a stop.
_STOPPED = ("state", "reason", "reason_at", "since", "probing", "probe_at", "probe_wait", "failures")

# What `report.lua` says that a result changed.
_CHANGES: Final = {
    b"opened": log.BREAKER_OPENED,
    b"closed": log.BREAKER_CLOSED,
    b"paused": log.DESTINATION_PAUSED,
    b"resumed": log.DESTINATION_RESUMED,
    b"probe_failed": log.PROBE_FAILED,
}

Permit = Literal["all", "probe", "none"]


@dataclass(frozen=True, slots=True)
class AdmissionState:
    """The state of a destination's admission, for operators."""

    paused: bool  # a fault of the set-up: credentials, region
    breaker: Literal["closed", "open"]  # open: the service is down, only probes are sent
    reason: str | None  # why nothing is sent; also while the service asked to wait
    since_ms: int | None  # since when it is paused or the breaker is open. All times are of Redis' clock
    requests_per_s: float | None  # the rate after the last cut; None: it was never cut
    cut_ms: int | None = None  # when that was
    probe_ms: int | None = None  # when the next probe is due
    throttled: int = 0  # requests that were answered with 429
    throttled_ms: int | None = None  # when the last of them was
    now_ms: int = 0

    def rate(self, limit: float) -> float:
        """Return the requests per second that are sent at most now, as a cut rate recovers to the limit."""
        if self.requests_per_s is None or self.cut_ms is None:
            return limit
        return min(limit, self.requests_per_s + limit * (self.now_ms - self.cut_ms) / 1000 / _RECOVERY_S)


@dataclass(slots=True, kw_only=True)
class Admission:
    """The admission of a destination, as one process uses it. Threads may share it."""

    queue: Queue
    requests_per_s: float  # the destination's limit
    probe_wait_s: float  # before the first probe; doubles from probe to probe
    turn_s: float  # the longest wait for a turn
    clock: Callable[[], float] = time.monotonic
    between: Callable[[float, float], float] = random.uniform
    _usual_s: float | None = field(default=None, init=False)
    _recent_s: float = field(default=0.0, init=False)

    def permit(self) -> Permit:
        """Return what may be claimed now: all, nothing, or one event as a probe.

        "probe" is given to one caller at a time, and takes effect by being returned.
        """
        reply: bytes = run(self.queue, "permit", int(_PROBE_S * 1000), int(self.turn_s * 1000))
        permit = cast(Permit, reply.decode())
        if permit == "probe":
            log.BREAKER_HALF_OPEN.write(destination=self.queue.name)
        return permit

    def guard(self, send: Send) -> Send:
        """Return `send` as a function that acquires a turn first and reports the outcome.

        The outcomes are Paused when a request got no turn in time, or an operator has paused the destination. They are
        Paused too when a failure stops the destination. Those of such a failure wait longer than the next probe.
        """

        def guarded(request: Request) -> list[Outcome]:
            too_long_s, had_failures = self._acquire()
            if too_long_s is None or too_long_s:
                return [_without_turn(too_long_s)] * len(request.items)
            sent_at = self.clock()
            outcomes = send(request)
            return self._reported(outcomes, self.clock() - sent_at, had_failures=had_failures)

        return guarded

    def pace(self, send: Send) -> Send:
        """Return `send` as a function that acquires a turn first. Its outcomes are reported to nothing: they say
        nothing of the service."""

        def paced(request: Request) -> list[Outcome]:
            too_long_s, _ = self._acquire()
            if too_long_s is None or too_long_s:
                return [_without_turn(too_long_s)] * len(request.items)
            return send(request)

        return paced

    def _acquire(self) -> tuple[float | None, bool]:
        """Wait for a turn.

        Return 0, or the seconds that would be too long to wait, or None while an operator has paused the destination.
        Also return whether a success must be reported. A caller that waited asks again when its turn has come: it may
        be late, and then leaves beside requests that are on time.
        """
        until, turn = self.clock() + self.turn_s, 0
        while True:
            patience_us = max(0, int((until - self.clock()) * 1e6))
            turn, wait_us, had_failures = run(self.queue, "acquire", self.requests_per_s, patience_us, turn)
            if turn < 0:
                return None, bool(had_failures)
            if wait_us <= 0:
                return -wait_us / 1e6, bool(had_failures)
            time.sleep(wait_us / 1e6)

    def _reported(self, outcomes: list[Outcome], elapsed_s: float, *, had_failures: bool) -> list[Outcome]:
        first = outcomes[0]
        if isinstance(first, Paused):
            return self._set_aside(outcomes, first, self._report("misconfigured", first))
        if isinstance(first, RetryLater) and first.is_throttled:
            self._report("throttled", first, first.after_s or 0.0)
        elif isinstance(first, RetryLater):
            probe_wait_s = self._report("failed", first, first.after_s or 0.0)
            if probe_wait_s:
                return self._set_aside(outcomes, first, probe_wait_s)
        else:
            if had_failures:
                self._report("responded")
            self._watch(elapsed_s)
        return outcomes

    def _set_aside(self, outcomes: list[Outcome], failed: Paused | RetryLater, probe_wait_s: float) -> list[Outcome]:
        """Return outcomes by which the items wait for longer than the next probe, each of them for another time."""
        longest_s = max(min(SET_ASIDE_PROBES * probe_wait_s, LONGEST_SET_ASIDE_S), probe_wait_s)
        return [
            Paused(failed.reason, failed.response, (failed.after_s or 0.0) + self.between(probe_wait_s, longest_s))
            for _ in outcomes
        ]

    def _watch(self, elapsed_s: float) -> None:
        """Update the usual and the recent response time, and report when the recent one is much longer."""
        if self._usual_s is None:
            self._usual_s = self._recent_s = elapsed_s
        self._usual_s += _USUAL_WEIGHT * (elapsed_s - self._usual_s)
        self._recent_s += _RECENT_WEIGHT * (elapsed_s - self._recent_s)
        if self._recent_s > _SLOW_TIMES * self._usual_s + _SLOW_MORE_S:
            self._report("slow")

    def _report(self, result: str, failed: Paused | RetryLater | None = None, after_s: float = 0.0) -> float:
        """Report the result of a request, and write what it changed; return the wait before a probe in seconds. It is 0
        while the circuit breaker is closed and the destination not paused."""
        probe_wait_ms, change, rate = run(
            self.queue,
            "report",
            result,
            self.requests_per_s,
            FAILURES,
            int(self.probe_wait_s * 1000),
            int(max(LONGEST_PROBE_WAIT_S, self.probe_wait_s) * 1000),
            int(after_s * 1000),
            failed.reason if failed else "",
        )
        if change:
            _CHANGES[change].write(destination=self.queue.name, reason=failures.reason(failed) if failed else None)
        if rate:
            requests_per_s = round(float(rate), 1)
            log.RATE_LOWERED.write(destination=self.queue.name, reason=result, requests_per_s=requests_per_s)
        return float(probe_wait_ms / 1000)


def _without_turn(too_long_s: float | None) -> Paused:
    """Return the outcome of an item whose request got no turn: the seconds to wait, None while it is paused."""
    if too_long_s is None:
        return Paused("an operator has paused the destination", NOT_SENT)
    return Paused("the rate limit has no room", NOT_SENT, too_long_s)


def begin(queue: Queue, set_up: str) -> None:
    """End an open breaker or a pause that came about with another `set_up`: configuration and address."""
    if run(queue, "begin", set_up, *_STOPPED):
        log.DESTINATION_RESUMED.write(destination=queue.name)


def read(queue: Queue) -> AdmissionState:
    """Return the state of the destination's admission."""
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hgetall(keys.ADMISSION.of(queue.name))
        pipeline.time()
        stored, reply = pipeline.execute()
    fields = {name.decode(): value.decode("utf-8", "replace") for name, value in stored.items()}
    now_ms, state = reply_ms(reply), fields.get("state")
    return AdmissionState(
        paused=state == "paused",
        breaker="open" if state == "open" else "closed",
        reason=_reason(fields, now_ms),
        since_ms=_number(fields, "since"),
        requests_per_s=float(fields["rate"]) if "rate" in fields else None,
        cut_ms=_number(fields, "cut_at"),
        probe_ms=_number(fields, "probe_at"),
        throttled=_number(fields, "throttled") or 0,
        throttled_ms=_number(fields, "throttled_at"),
        now_ms=now_ms,
    )


def _number(fields: dict[str, str], name: str) -> int | None:
    return int(fields[name]) if name in fields else None


def _reason(fields: dict[str, str], now_ms: int) -> str | None:
    """Return why nothing is sent at this time; a reason of the past is said to be one."""
    if "state" in fields:
        silent_ms = now_ms - int(fields.get("reason_at", now_ms))
        reason = fields.get("reason", "")
        if silent_ms < _PRESENT_MS:
            return reason
        return f"no request for {silent_ms // 60_000} min; the last one: {reason}"
    return fields.get("wait_reason") if now_ms < int(fields.get("wait_until", 0)) else None
