"""The kinds of errors of dead letters: counted at once, or by a thread where counting takes long."""

from __future__ import annotations

import threading
from typing import Any, Final

import orjson
import pytest
import redis

import lanes
from console.web import groups
from console.web.groups import Groups
from dead_letters import query
from dead_letters.query import Filter
from tests.conftest import RedisServer
from tests.pipeline import wait_until
from tests.queues import default_queue
from tests.unit.console.web.browsing import Browser, bury, event, failure, state_of

ALL: Final = Filter()


def counts(rows: list[dict[str, Any]] | None) -> list[int]:
    return [row["count"] for row in rows or []]


@pytest.fixture
def queue(redis_client: redis.Redis) -> lanes.Queue:
    bury(redis_client, event(1), failure("x", "invalid"))
    return default_queue(redis_client, "demo")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a thread count, as it does where there are many dead letters."""
    monkeypatch.setattr(groups, "_AT_ONCE", 0)


def counted(kinds: Groups, queue: lanes.Queue, wanted: Filter = ALL) -> list[dict[str, Any]]:
    """Return the rows of this moment, when they are counted."""

    def is_counted() -> bool:
        rows, at_ms = kinds.latest(queue, wanted)
        return rows is not None and at_ms is None

    wait_until(is_counted, "the dead letters are counted")
    return kinds.latest(queue, wanted).rows or []


def test_few_dead_letters_are_always_of_this_moment(queue: lanes.Queue, redis_client: redis.Redis) -> None:
    kinds = Groups()
    assert counts(kinds.latest(queue, ALL).rows) == [1]
    bury(redis_client, event(2), failure("x", "invalid"))

    assert kinds.latest(queue, ALL) == (kinds.of(queue, ALL), None)
    assert counts(kinds.of(queue, ALL)) == [2]


@pytest.mark.usefixtures("slow")
def test_many_are_shown_with_their_time_and_counted_again(queue: lanes.Queue, redis_client: redis.Redis) -> None:
    kinds = Groups()
    counted(kinds, queue)
    bury(redis_client, event(2), failure("x", "invalid"))

    rows, counted_at_ms = kinds.latest(queue, ALL)

    assert counts(rows) == [1]
    assert counted_at_ms
    assert counts(counted(kinds, queue)) == [2]


@pytest.mark.usefixtures("slow")
def test_a_first_page_does_not_wait_for_the_count(
    queue: lanes.Queue, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(state_of(redis_server.url, console_auth="none"))
    goes_on, stored = threading.Event(), lanes.list_dead_letters(queue)
    monkeypatch.setattr(query, "stored", lambda _: stored if goes_on.wait(60) else [])

    page = browser.get("/dead")

    assert "The kinds of errors of 1 dead letter are being counted." in page.text
    assert browser.json("/dead") is None
    goes_on.set()
    wait_until(lambda: browser.json("/dead") is not None, "the dead letters are counted")
    assert counts(browser.json("/dead")) == [1]


@pytest.mark.usefixtures("slow", "queue")
def test_the_console_counts_before_a_page_asks(redis_server: RedisServer) -> None:
    state = state_of(redis_server.url, console_auth="none")

    state.count_dead_letters()

    wait_until(lambda: Browser(state).json("/dead") is not None, "the dead letters are counted")


def test_a_console_without_redis_starts(redis_server: RedisServer) -> None:
    state = state_of(redis_server.url.replace("redis://", "redis://other:wrong@"), console_auth="none")

    state.count_dead_letters()


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"reason": "rejected"},
        {"reason": "poison"},
        {"action": "trackEvent"},
        {"source": "demo"},
        {"source": "other"},
        {"since_ms": 2000},
        {"until_ms": 2000},
        {"since_ms": 2000, "until_ms": 3000, "reason": "invalid"},
    ],
    ids=str,
)
def test_what_was_counted_once_answers_every_filter_of_classes(
    conditions: dict[str, Any], redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at_ms in (1000, 2000, 3000):
        for reason in ("invalid", "rejected"):
            bury(redis_client, event(at_ms), orjson.dumps(orjson.loads(failure("x", reason)) | {"buried_at_ms": at_ms}))
    queue, kinds, wanted = default_queue(redis_client, "demo"), Groups(), Filter(**conditions)
    found = list(query.matching(queue, wanted))
    kinds.of(queue, ALL)
    monkeypatch.setattr(query, "stored", lambda _: pytest.fail("the dead letters are read again"))

    rows = kinds.of(queue, wanted)

    assert sum(counts(rows)) == len(found)
    if found:
        times = [dead_letter.failure.buried_at_ms for dead_letter in found]
        assert min(row["first_ms"] for row in rows) == min(times)
        assert max(row["last_ms"] for row in rows) == max(times)


def test_a_filter_of_contents_is_counted_of_its_own(queue: lanes.Queue, redis_client: redis.Redis) -> None:
    bury(redis_client, event(2) | {"event": "Other"}, failure("x", "invalid"))
    kinds = Groups()

    assert sum(counts(kinds.of(queue, ALL))) == 2
    assert sum(counts(kinds.of(queue, Filter(event="Other")))) == 1
    assert sum(counts(kinds.of(queue, Filter(event="Other", reason="rejected")))) == 0


@pytest.mark.usefixtures("slow")
def test_a_skip_names_the_number_of_this_moment(
    redis_server: RedisServer, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(redis_client, event(1), failure("x", "invalid"))
    monkeypatch.setattr(groups, "_REST", 10**9)
    browser = Browser(state_of(redis_server.url, console_auth="none"))
    wait_until(lambda: browser.json("/dead") is not None, "the dead letters are counted")
    bury(redis_client, event(2), failure("x", "invalid"))

    assert counts(browser.json("/dead")) == [1]
    assert "as of" in browser.get("/dead").text
    assert browser.json("/skip/demo?reason=invalid")["count"] == 2
