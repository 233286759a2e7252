"""The page of the live tail: what each role sees, its filters, and the stream that follows it."""

from __future__ import annotations

import re

import httpx
import pytest
import redis

from console.live.rows import FATES
from console.web.pages import live
from console.web.state import State
from lanes import keys
from tests.conftest import RedisServer
from tests.unit.console.web.browsing import ADDRESS, DIGEST, ID, Browser, copy, event, fill, state_of


@pytest.fixture
def state(redis_server: RedisServer, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> State:
    fill(redis_client)
    monkeypatch.setattr(live, "_STREAM_S", 0.0)  # one message
    return state_of(redis_server.url)


def stream(browser: Browser, path: str, **headers: str) -> httpx.Response:
    return browser.get(path, "text/event-stream", **headers)


def messages(answer: httpx.Response) -> list[tuple[str, str]]:
    """Return the id and the data of each message."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in filter(None, answer.text.split("\n\n")):
        fields = [line.partition(": ") for line in block.split("\n")]
        data = "\n".join(value for name, _, value in fields if name == "data")
        found.append((next(value for name, _, value in fields if name == "id"), data))
    return found


def position(page: str) -> str:
    (found,) = re.findall(r'data-after="([^"]*)"', page)
    return str(found)


def test_a_row_joins_what_ingest_and_a_worker_copied(state: State) -> None:
    browser = Browser(state, "operator")
    browser.reveal()

    rows = browser.json("/live")["rows"]

    assert [row["fate"] for row in rows] == ["refused", "dead", "sent"]
    sent = rows[-1]
    assert [step["fate"] for step in sent["steps"]] == ["accepted", "sent"]
    assert (sent["id"], sent["source"], sent["name"]) == ("demo-20", "demo", "Order Placed")
    assert (sent["actions"], sent["keys"], sent["person"]) == (["trackEvent"], [f"email:{ADDRESS}"], DIGEST)
    assert sent["requests"][0]["body"]["identifiers"] == {"email": ADDRESS}
    assert sent["event"] == event(20)


def test_looking_has_the_processes_copy(state: State, redis_client: redis.Redis) -> None:
    redis_client.delete(keys.TAP_WATCHED.name)

    share = Browser(state, "viewer").json("/live?most=0")["share"]

    assert share["every"] == 1
    assert redis_client.get(keys.TAP_WATCHED.name) == b"1"


@pytest.mark.parametrize(
    ("query", "fates"),
    [
        ("source=demo", ["refused", "dead", "sent"]),
        ("source=other", []),
        ("destination=demo", ["dead", "sent"]),
        ("type=track", ["refused", "dead", "sent"]),
        ("type=page", []),
        ("event=Order%20Placed&fate=sent", ["sent"]),
        ("event=track&fate=dead", ["dead"]),
        (f"person=digest:{DIGEST}", ["dead", "sent"]),
        ("person=digest:0123456789abcdef", []),
        ("most=1", ["refused"]),
    ],
)
def test_a_filter_of_the_address_chooses_rows(state: State, query: str, fates: list[str]) -> None:
    assert [row["fate"] for row in Browser(state, "viewer").json(f"/live?{query}")["rows"]] == fates


def test_a_form_leads_to_an_address_that_names_the_person_by_digest(state: State) -> None:
    browser = Browser(state, "viewer")

    answer = browser.post("/live/find", person=ADDRESS, fate="dead", destination="demo")

    assert "lovelace" not in answer.headers["location"]
    assert f"segue live --destination demo --fate dead --person digest:{DIGEST}" in browser.follow(answer).text
    assert [row["fate"] for row in browser.json(answer.headers["location"])["rows"]] == ["dead"]


@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/event-stream"])
def test_a_viewer_sees_no_identity_and_no_content(state: State, accept: str) -> None:
    answer = Browser(state, "viewer").get("/live", accept)

    assert "Order Placed" in answer.text
    for text in (ADDRESS, ID, "lovelace", "99.5"):
        assert text not in answer.text
    assert "a…@example.com" in answer.text


def test_who_reveals_sees_them_and_may_test_the_event(state: State) -> None:
    browser = Browser(state, "operator")
    assert "Test this event" not in browser.get("/live").text
    browser.reveal()

    page = browser.get("/live").text

    assert ADDRESS in page
    assert "Test this event" in page
    assert f"/people/{DIGEST}?destination=demo" in page
    assert "/dead/demo/21" in page
    assert "/tester?destination=demo&amp;source=demo&amp;type=track&amp;name=Order+Placed" in page


def test_a_stream_has_what_came_after_the_page(state: State, redis_client: redis.Redis) -> None:
    browser = Browser(state, "viewer")
    after = position(browser.get("/live").text)
    copy(redis_client, event(30), "filtered", sequence=20, items=True, reason="filter: internal")

    ((last, data),) = messages(stream(browser, f"/live?after={after}"))

    assert data.count("<li id=") == 1
    assert 'id="row-demo-20"' in data
    assert "filter: internal" in data
    assert "accepted" in data, "a row has the steps from before"
    ((again, data),) = messages(stream(browser, f"/live?after={after}", **{"Last-Event-ID": last}))
    assert again == last
    assert "<li id=" not in data


def test_a_stream_has_the_rows_that_its_filter_chooses(state: State) -> None:
    ((_, data),) = messages(stream(Browser(state, "viewer"), "/live?fate=dead"))

    assert data.count("<li id=") == 1


@pytest.mark.parametrize("after", ["", "x", "1-1", "1-1_x-y", "9" * 400, "1-1_2-2_3-3"])
def test_a_stream_from_nowhere_begins_at_the_beginning(state: State, after: str) -> None:
    ((_, data),) = messages(stream(Browser(state, "viewer"), f"/live?after={after}"))

    assert data.count("<li id=") == 3


def test_a_stream_ends_when_the_console_stops(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_STREAM_S", 600.0)
    state.is_stopping = lambda: True

    assert len(messages(stream(Browser(state, "viewer"), "/live"))) == 1


def test_every_fate_has_its_words_and_one_of_a_newer_worker_is_shown(state: State, redis_client: redis.Redis) -> None:
    assert set(live.WORDS) == set(FATES)
    copy(redis_client, event(31), "new fate", sequence=31, items=True)

    assert "new fate" in Browser(state, "viewer").get("/live").text


def test_a_stream_needs_a_user(state: State) -> None:
    assert stream(Browser(state), "/live").status_code == 303


def test_an_empty_tail_says_why(state: State, redis_client: redis.Redis) -> None:
    redis_client.delete(keys.TAP_INGEST.name, keys.TAP_WORKERS.name)

    assert "Nothing was copied in the last minute" in Browser(state, "viewer").get("/live").text
