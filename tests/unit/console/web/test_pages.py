"""Every page of the console over a real Redis."""

from __future__ import annotations

import pytest
import redis

from console.web.state import State
from tests.conftest import RedisServer
from tests.unit.console.web.browsing import ADDRESS, DIGEST, ID, Browser, fill, state_of

PAGES = (
    "/",
    "/destinations",
    "/destinations/demo",
    "/destinations/demo/workbench",
    "/dead",
    "/dead?view=list",
    "/dead?view=list&reason=rejected&since=1d&source=demo&event=Order%20Placed",
    f"/dead?view=list&person=digest:{DIGEST}",
    "/dead/demo/1",
    "/replays",
    "/skip/demo?reason=rejected",
    "/people",
    f"/people/{DIGEST}",
    "/people/0123456789abcdef",
    "/tester",
    "/sources",
    "/activity",
    "/about",
)
FOR_OPERATORS = ("/tester", "/destinations/demo/workbench")


@pytest.fixture
def state(redis_server: RedisServer, redis_client: redis.Redis) -> State:
    fill(redis_client)
    return state_of(redis_server.url)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_a_document_and_json(state: State, path: str) -> None:
    browser = Browser(state, "admin")

    page = browser.get(path)

    assert page.status_code == 200, page.text
    assert page.text.count("<h1>") == 1
    assert "</html>" in page.text
    browser.json(path)


@pytest.mark.parametrize("path", PAGES)
def test_an_empty_redis_has_every_page_but_those_of_its_dead_letters(
    redis_server: RedisServer, redis_client: redis.Redis, path: str
) -> None:
    redis_client.ping()
    browser = Browser(state_of(redis_server.url), "admin")

    assert browser.get(path).status_code == (404 if path == "/dead/demo/1" else 200)


@pytest.mark.parametrize("path", [path for path in PAGES if path not in FOR_OPERATORS])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_no_page_shows_an_identity_to_a_viewer(state: State, path: str, accept: str) -> None:
    page = Browser(state, "viewer").get(path, accept)

    assert page.status_code == 200, page.text
    assert ADDRESS not in page.text
    assert ID not in page.text


def test_an_operator_sees_identities_after_asking_for_them_and_it_is_recorded(state: State) -> None:
    browser = Browser(state, "operator")
    assert ADDRESS not in browser.get("/dead/demo/1").text

    browser.reveal()
    page = browser.get("/dead/demo/1")

    assert ADDRESS in page.text
    assert [entry["act"] for entry in browser.json("/activity")["audit"]] == ["reveal", "sign in"]
    browser.post("/hide", to="/")
    assert ADDRESS not in browser.get("/dead/demo/1").text
