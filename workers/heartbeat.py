"""Which worker processes live, by the names that Celery has for them: each says so on every tick, and is forgotten when
it has not for a while."""

from __future__ import annotations

import os
import socket

import redis

from lanes import keys

_SILENCE_S = 5.0


def name_of(pid: int) -> str:
    """Return the name of the worker process on this machine that has this number."""
    return f"segue-{pid}@{socket.gethostname()}"


NAME = name_of(os.getpid())


def announce(client: redis.Redis, silence_s: float = _SILENCE_S) -> None:
    """Say that this process lives, and forget those that were silent for `silence_s` seconds."""
    now_s = _now_s(client)
    client.zadd(keys.WORKERS.name, {NAME: now_s})
    client.zremrangebyscore(keys.WORKERS.name, "-inf", now_s - silence_s)


def retire(client: redis.Redis) -> None:
    """Say that this process ends."""
    client.zrem(keys.WORKERS.name, NAME)


def count(client: redis.Redis) -> int:
    """Return how many worker processes spoke in the last seconds."""
    return int(client.zcount(keys.WORKERS.name, _now_s(client) - _SILENCE_S, "+inf"))


def _now_s(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return float(seconds) + microseconds / 1e6
