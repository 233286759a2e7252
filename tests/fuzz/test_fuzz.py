"""A short run. `python -m tests.fuzz` makes longer ones."""

from __future__ import annotations

import redis

from tests.conftest import RedisServer
from tests.fuzz.run import run


def test_mutated_requests_get_documented_responses_and_workers_deliver_what_was_accepted(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    report = run(redis_client, redis_server.url, seed=7, count=2_000)

    assert not report.faults, "\n".join(report.faults[:20])
    assert report.events > 1_000
    assert report.statuses.keys() >= {200, 204, 400, 401, 404, 405, 415}
