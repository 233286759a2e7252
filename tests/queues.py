"""Queues as tests use them."""

from __future__ import annotations

import time
from dataclasses import asdict

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import lanes
from settings import Settings

DAY_S = 86_400
REMEMBER_DAYS = 30  # the default of a destination


def queue_of(client: redis.Redis, name: str, **values: int) -> lanes.Queue:
    """Return an open queue: with the values that are stored beside it, else those of a default set-up."""
    stored = lanes.stored_config(client, name)
    known = asdict(stored) if stored else {"dedupe_s": DAY_S, "join_s": 30 * DAY_S}
    return lanes.open_queue(lanes.Queue(client=client, name=name, **{**known, **values}))


def default_queue(client: redis.Redis, name: str) -> lanes.Queue:
    """Return the queue of a destination with default values, opened with the settings of this process."""
    return lanes.open_queue(lanes.Queue(client=client, name=name, **Settings().queue_config(REMEMBER_DAYS)))


def queue_in(client: redis.Redis, name: str) -> lanes.Queue:
    """Return a queue of a running pipeline, with the values that the pipeline stored; waits until it did."""
    deadline = time.monotonic() + 30
    while (stored := lanes.stored_config(client, name)) is None:
        assert time.monotonic() < deadline, f"no process opened the queue {name}"
        time.sleep(0.02)
    return lanes.Queue(client=client, name=name, **asdict(stored))


def unavailable() -> redis.Redis:
    """Return a client of a Redis that refuses connections; it fails at once, without retries."""
    return redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
