"""A person as of a moment, and at two moments side by side."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import redis

import lanes
from console.web.state import State
from delivery.batching import Item, Request
from delivery.log import Recorder
from delivery.outcomes import Delivered
from mapping.operation import BATCH_PATH
from tests.conftest import RedisServer
from tests.queues import default_queue
from tests.unit.console.web.browsing import ADDRESS, DIGEST, ID, Browser, state_of

FIRST_MS = 1_767_614_400_000  # 2026-01-05 12:00 UTC
WHO = {"email": ADDRESS}


def send(client: redis.Redis, number: int, monkeypatch: pytest.MonkeyPatch, **body: Any) -> None:
    """Have a worker record an accepted item, an hour after the one before."""
    monkeypatch.setattr("delivery.log.machine_ms", lambda: FIRST_MS + 3_600_000 * number)
    event = lanes.ClaimedEvent(number, 0, 0, 0, FIRST_MS, (bytes.fromhex(DIGEST),), b"")
    recorder = Recorder(default_queue(client, "demo"), lanes.Claim(f"c{number}", (event,), None, False), "w1@host")
    content = orjson.dumps({"type": "person", "identifiers": WHO, **body})
    item = Item(number, 0, "slug", str(body["action"]), BATCH_PATH, content, f"demo:message-of-{ADDRESS}-{number}")
    recorder.recording(lambda _: [Delivered()])(Request(BATCH_PATH, (item,)))
    recorder.write()


@pytest.fixture
def state(redis_server: RedisServer, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> State:
    """Three updates and an event of one person, an hour apart."""
    device = {"token": "token-20151210", "platform": "ios"}
    send(redis_client, 0, monkeypatch, action="identify", attributes={"plan": "free", "city": "Rome", "code": ID})
    send(redis_client, 1, monkeypatch, action="identify", attributes={"plan": "pro", "city": ""})
    send(redis_client, 2, monkeypatch, action="event", name="Order Placed")
    send(redis_client, 3, monkeypatch, action="add_device", device=device)
    return state_of(redis_server.url)


def test_a_person_as_of_a_moment_has_what_was_sent_until_then(state: State) -> None:
    browser = Browser(state, "operator")
    browser.reveal()

    (found,) = browser.json(f"/people/{DIGEST}/as-of?at=2026-01-05T13:30")
    page = browser.get(f"/people/{DIGEST}/as-of?at=2026-01-05T13:30").text

    (moment,) = found["moments"]
    assert {each["name"]: (each["value"], each["sequence"]) for each in moment["attributes"]} == {
        "plan": ("pro", 1),
        "code": (ID, 0),
    }
    assert (moment["keys"], moment["events"], moment["devices"]) == ([f"email:{ADDRESS}"], [], [])
    assert "<code>&#34;pro&#34;</code>" in page
    assert "What others write to the workspace is not in it" in page
    assert "the delivery log alone was searched, which begins at 2026-01-05 12:00:00Z" in page


def test_two_moments_are_side_by_side_with_what_differs(state: State) -> None:
    (found,) = Browser(state, "admin").json(f"/people/{DIGEST}/as-of?and=2026-01-05T12:30&at=2026-01-06")

    assert [moment["at_ms"] for moment in found["moments"]] == [FIRST_MS + 1_800_000, FIRST_MS + 12 * 3_600_000]
    assert [(row["what"], row["change"]) for row in found["changes"]] == [
        ("attribute", "removed"),
        ("attribute", "same"),
        ("attribute", "changed"),
        ("device", "added"),
    ]
    assert [event["name"] for event in found["moments"][1]["events"]] == ["Order Placed"]
    page = Browser(state, "admin").get(f"/people/{DIGEST}/as-of?at=2026-01-05T12:30&and=2026-01-06").text
    assert '<span class="pill warn">between</span>' in page


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("query", ["at=2026-01-06", "at=2026-01-05T12:30&and=2026-01-06"])
def test_a_viewer_sees_names_and_no_values(state: State, accept: str, query: str) -> None:
    page = Browser(state, "viewer").get(f"/people/{DIGEST}/as-of?{query}", accept).text

    for hidden in (ADDRESS, ID, '"pro"', "&#34;pro&#34;", "20151210", "token-"):
        assert hidden not in page
    for shown in ("plan", "Order Placed", "text, 3 characters"):
        assert shown in page


def test_a_person_without_records_says_what_would_fill_the_page(state: State) -> None:
    page = Browser(state, "viewer").get("/people/0123456789abcdef/as-of").text

    assert "Nothing was sent for this person until then, as far as the records reach." in page
    assert "<code>segue ledger</code>" in page


@pytest.mark.parametrize(("query", "status"), [("at=yesterday", 400), ("at=2026-01-05T12:00:00%2B01:00", 200)])
def test_a_moment_is_a_time_or_a_duration(state: State, query: str, status: int) -> None:
    assert Browser(state, "viewer").get(f"/people/{DIGEST}/as-of?{query}").status_code == status


def test_an_address_that_is_no_digest_is_not_found(state: State) -> None:
    assert Browser(state, "viewer").get("/people/ada/as-of").status_code == 404
