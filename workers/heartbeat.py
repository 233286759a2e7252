"""The worker processes that run: each sends a heartbeat on every tick, and is removed when it stops or falls silent.

A process has the name that Celery has for it.
"""

from __future__ import annotations

import os
import socket

import redis

from lanes import keys, scripts
from lanes.cluster import at

_SILENCE_S = float(keys.HEARTBEAT_S)


def name_of(pid: int) -> str:
    """Return the name of the worker process with this number on this machine."""
    return f"segue-{pid}@{socket.gethostname()}"


NAME = name_of(os.getpid())


def send(client: redis.Redis, silence_s: float = _SILENCE_S) -> int:
    """Record that this process runs, and remove the processes without a heartbeat for `silence_s` seconds; return how
    many run."""
    return int(scripts.run_script(client, scripts.load("workers", "heartbeat"), keys.WORKERS.name, [NAME, silence_s]))


def remove(client: redis.Redis) -> None:
    """Remove this process, which stops."""
    client.zrem(keys.WORKERS.name, NAME)


def count(client: redis.Redis) -> int:
    """Return how many worker processes sent a heartbeat in the last 5 seconds."""
    return int(client.zcount(keys.WORKERS.name, _now_s(client) - _SILENCE_S, "+inf"))


def names(client: redis.Redis) -> list[str]:
    """Return the names of the worker processes that sent a heartbeat in the last 5 seconds."""
    found = client.zrangebyscore(keys.WORKERS.name, _now_s(client) - _SILENCE_S, "+inf")
    return sorted(name.decode() for name in found if isinstance(name, bytes))


def runs_here(client: redis.Redis) -> bool:
    """Return whether a worker process of this machine sent a heartbeat in the last 5 seconds."""
    return any(name.endswith(f"@{socket.gethostname()}") for name in names(client))


def _now_s(client: redis.Redis) -> float:
    seconds, microseconds = at(client, keys.WORKERS.name).time()
    return float(seconds) + microseconds / 1e6
