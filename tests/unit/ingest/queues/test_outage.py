"""Outages: the time to retry grows with them, and the client learns which fault Redis has."""

from __future__ import annotations

import pytest
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from ingest.queues.outage import Outage
from ingest.queues.redis_errors import fault


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_time_to_retry_grows_while_an_outage_lasts_and_is_short_after_it() -> None:
    clock = Clock()
    outage = Outage(clock)
    waits = []
    for clock.now in (0.0, 1.9, 2.0, 6.9, 7.0, 21.9, 22.0, 81.0, 130.0):
        waits.append(outage.refusal("queue_full", "the queue is full").retry_after_s)
    outage.end()

    assert waits == [2, 2, 5, 5, 15, 15, 60, 60, 60]
    assert outage.refusal("queue_full", "the queue is full").retry_after_s == 2


def test_an_outage_without_requests_is_forgotten() -> None:
    clock = Clock()
    outage = Outage(clock)
    outage.refusal("queue_full", "the queue is full")
    clock.now += 3600

    assert outage.refusal("queue_full", "the queue is full").retry_after_s == 2


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConnectionError("refused"), "redis_unavailable", "Redis is unavailable"),
        (TimeoutError(), "redis_unavailable", "Redis is unavailable"),
        (OSError(), "redis_unavailable", "Redis is unavailable"),
        (BusyLoadingError(), "redis_loading", "Redis is loading its data"),
        (OutOfMemoryError(), "redis_out_of_memory", "Redis is out of memory"),
        (ReadOnlyError(), "redis_read_only", "Redis is a read-only replica"),
        (ResponseError("MISCONF Redis is configured to save"), "redis_cannot_save", "Redis takes no writes, because"),
        (ResponseError("WRONGTYPE"), "redis_refuses", "Redis refuses the command"),
    ],
)
def test_each_fault_of_redis_has_its_own_text(error: Exception, code: str, text: str) -> None:
    found = fault(error)

    assert found.code == code
    assert found.text.startswith(text)
