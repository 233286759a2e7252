"""A short run, through all depths. `python -m tests.fuzz.containment` makes longer ones."""

from __future__ import annotations

import redis

from tests.conftest import RedisServer
from tests.fuzz.containment import run


def test_odd_events_among_plain_ones_hurt_only_themselves(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    report = run(redis_client, redis_server.url, seed=7, count=4_000)

    assert not report.faults, "\n".join(report.faults[:20])
    assert report.delivered > 3_000
    assert report.dead.keys() >= {"rejected", "internal", "invalid"}
