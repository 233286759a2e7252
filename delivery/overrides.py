"""Overrides: what an operator sets for a destination, in place of its configuration and state.

A *pause* stops deliveries: nothing is claimed, and what is claimed is not sent. A *rate* replaces `requests_per_s`.
Both are in Redis, so every worker follows them from its next request on. Restarts and other configurations do not end
them. Each ends by itself at its time. The scripts of `delivery.admission` read them. Times are Unix milliseconds of
Redis' clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lanes import Queue, keys
from lanes.clock import redis_ms, reply_ms

_NO_END: Final = 9_999_999_999_999
_PAUSE: Final = ("pause_until", "pause_at", "pause_by", "pause_why")
_RATE: Final = ("limit", "limit_until", "limit_at", "limit_by")


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause by an operator."""

    until_ms: int | None  # None: until it is ended
    since_ms: int
    by: str  # the operator
    why: str

    def json(self) -> dict[str, Any]:
        """Return `{"until_ms", "since_ms", "by", "why"}`."""
        return {"until_ms": self.until_ms, "since_ms": self.since_ms, "by": self.by, "why": self.why}


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate that an operator has set."""

    requests_per_s: float
    until_ms: int | None  # None: until it is ended
    since_ms: int
    by: str

    def json(self) -> dict[str, Any]:
        """Return `{"requests_per_s", "until_ms", "since_ms", "by"}`."""
        times = {"until_ms": self.until_ms, "since_ms": self.since_ms}
        return {"requests_per_s": self.requests_per_s, **times, "by": self.by}


@dataclass(frozen=True, slots=True)
class Overrides:
    """What an operator has set and has not ended."""

    pause: Pause | None
    rate: Rate | None


def pause(queue: Queue, *, by: str, why: str, until_ms: int | None = None) -> None:
    """Pause the destination; a pause that it has is replaced."""
    _set(queue, _PAUSE, (until_ms or _NO_END, redis_ms(queue.client), by, why))


def resume(queue: Queue) -> bool:
    """End the pause by an operator; return whether there was one."""
    is_paused = read(queue).pause is not None
    queue.client.hdel(keys.ADMISSION.of(queue.name), *_PAUSE)
    return is_paused


def set_rate(queue: Queue, requests_per_s: float, *, by: str, until_ms: int | None = None) -> None:
    """Let this be the most requests per second of all workers together, in place of the configured rate."""
    _set(queue, _RATE, (requests_per_s, until_ms or _NO_END, redis_ms(queue.client), by))


def end_rate(queue: Queue) -> bool:
    """Let the configured rate apply again; return whether another one did."""
    is_set = read(queue).rate is not None
    queue.client.hdel(keys.ADMISSION.of(queue.name), *_RATE)
    return is_set


def read(queue: Queue) -> Overrides:
    """Return what an operator has set and what has not ended."""
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hmget(keys.ADMISSION.of(queue.name), [*_PAUSE, *_RATE])
        pipeline.time()
        stored, reply = pipeline.execute()
    texts = ["" if value is None else value.decode("utf-8", "replace") for value in stored]
    now_ms = reply_ms(reply)
    until, since, by, why, limit, limit_until, limit_since, limit_by = texts
    pause = Pause(_end(until), int(since), by, why) if until and now_ms < int(until) else None
    is_set = limit and now_ms < int(limit_until)
    rate = Rate(float(limit), _end(limit_until), int(limit_since), limit_by) if is_set else None
    return Overrides(pause, rate)


def _set(queue: Queue, names: tuple[str, ...], values: tuple[Any, ...]) -> None:
    queue.client.hset(keys.ADMISSION.of(queue.name), mapping=dict(zip(names, values, strict=True)))


def _end(until: str) -> int | None:
    return None if int(until) == _NO_END else int(until)
