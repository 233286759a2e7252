"""The badge on Dead letters: how many there are since the user last looked, and how many block."""

from __future__ import annotations

import re

import pytest
import redis

import lanes
from console.web import cookies
from console.web.state import State
from lanes import fates
from mapping.envelope import pack
from tests.conftest import RedisServer
from tests.unit.console.web.browsing import Browser, event, failure, fill, state_of


@pytest.fixture
def queue(redis_client: redis.Redis) -> lanes.Queue:
    return fill(redis_client)


@pytest.fixture
def state(redis_server: RedisServer, queue: lanes.Queue) -> State:
    assert queue.name == "demo"
    return state_of(redis_server.url)


def badge(browser: Browser, path: str = "/about") -> list[str]:
    text = browser.get(path).text.partition('id="badge"')[2].partition("</a>")[0]
    return re.findall(r"([0-9,]+ (?:new|blocked))", text)


def bury_one(state: State, queue: lanes.Queue) -> None:
    """Have a worker bury another event, of another person."""
    body = pack("demo", event(70))
    lanes.append(queue, [lanes.NewEvent(body, ("id:other",), "m70", counted_as=fates.name("accepted", "demo"))])
    claim = lanes.claim(queue, lease_ms=1000, max_events=1, max_bytes=10**6, max_depth=0, poll_ms=0)
    lanes.settle(queue, claim.id, buried=[lanes.Burial(claim.events[0].sequence, failure("x"), blocks=False)])
    state.forget_figures()


def test_those_since_the_last_look_are_new_and_those_that_block_stay(state: State, queue: lanes.Queue) -> None:
    browser = Browser(state, "viewer")
    assert badge(browser) == ["2 new", "1 blocked"]

    assert badge(browser, "/dead") == ["1 blocked"]
    assert badge(browser) == ["1 blocked"]
    bury_one(state, queue)
    assert badge(browser) == ["1 new", "1 blocked"]

    browser.json("/dead")  # a program looked
    assert badge(browser) == ["1 new", "1 blocked"]
    assert badge(Browser(state, "viewer")) == ["3 new", "1 blocked"]


def test_a_forged_cookie_counts_as_none(state: State) -> None:
    browser = Browser(state, "viewer")
    badge(browser, "/dead")
    browser.cookies[cookies.SEEN] = browser.cookies[cookies.SEEN][:-2] + "xx"

    assert badge(browser) == ["2 new", "1 blocked"]
