"""The kinds of errors of dead letters: counted at once, or by a thread where counting takes long."""

from __future__ import annotations

from typing import Any

import pytest
import redis

import lanes
from console.web import groups
from console.web.groups import Groups
from dead_letters.query import Filter
from tests.conftest import RedisServer
from tests.pipeline import wait_until
from tests.queues import default_queue
from tests.unit.console.web.browsing import Browser, bury, event, failure, state_of


def counts(rows: list[dict[str, Any]]) -> list[int]:
    return [row["count"] for row in rows]


@pytest.fixture
def queue(redis_client: redis.Redis) -> lanes.Queue:
    bury(redis_client, event(1), failure("x", "invalid"))
    return default_queue(redis_client, "demo")


def test_what_is_counted_quickly_is_always_of_this_moment(queue: lanes.Queue, redis_client: redis.Redis) -> None:
    kinds = Groups()
    assert counts(kinds.latest(queue, Filter())[0]) == [1]
    bury(redis_client, event(2), failure("x", "invalid"))

    assert kinds.latest(queue, Filter()) == (kinds.of(queue, Filter()), None)
    assert counts(kinds.of(queue, Filter())) == [2]


def test_what_is_counted_slowly_is_shown_with_its_time_and_counted_again(
    queue: lanes.Queue, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "_LONG_S", 0.0)
    kinds = Groups()
    assert kinds.latest(queue, Filter())[1] is None
    bury(redis_client, event(2), failure("x", "invalid"))

    rows, counted_at_ms = kinds.latest(queue, Filter())

    assert counts(rows) == [1]
    assert counted_at_ms
    wait_until(lambda: counts(kinds.latest(queue, Filter())[0]) == [2], "they are counted again")
    assert kinds.latest(queue, Filter())[1] is None


def test_a_skip_names_the_number_of_this_moment(
    redis_server: RedisServer, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(redis_client, event(1), failure("x", "invalid"))
    monkeypatch.setattr(groups, "_LONG_S", 0.0)
    monkeypatch.setattr(groups, "_REST", 10**9)
    browser = Browser(state_of(redis_server.url, console_auth="none"))
    assert counts(browser.json("/dead")) == [1]
    bury(redis_client, event(2), failure("x", "invalid"))

    assert counts(browser.json("/dead")) == [1]
    assert "as of" in browser.get("/dead").text
    assert browser.json("/skip/demo?reason=invalid")["count"] == 2
