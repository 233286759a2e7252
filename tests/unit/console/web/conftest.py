"""What the tests of pages share."""

from __future__ import annotations

import pytest
import redis

from console.web.state import State
from tests.conftest import RedisServer
from tests.unit.console.web.browsing import Browser, fill, state_of


@pytest.fixture
def state(redis_server: RedisServer, redis_client: redis.Redis) -> State:
    """A console whose destination has waiting events and dead letters."""
    fill(redis_client)
    return state_of(redis_server.url)


@pytest.fixture
def admin(state: State) -> Browser:
    """The browser of an admin."""
    return Browser(state, "admin")
