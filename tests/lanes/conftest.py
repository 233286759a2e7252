"""One behaviour suite over two servers: the quick imitation and the real thing."""

from __future__ import annotations

import fakeredis
import pytest
import redis


@pytest.fixture(params=["fakeredis", "server"])
def client(request: pytest.FixtureRequest) -> redis.Redis:
    """An empty database."""
    if request.param == "fakeredis":
        return fakeredis.FakeStrictRedis()
    return request.getfixturevalue("redis_client")
