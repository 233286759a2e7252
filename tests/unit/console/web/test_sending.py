"""Sending from the tester: the requests that were shown, byte for byte, by the steps of a worker, by an admin."""

from __future__ import annotations

import re
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis

from console import tester
from console.web.state import State
from delivery import admission, overrides
from delivery.customerio import TrackApi
from tests.conftest import RedisServer
from tests.queues import default_queue
from tests.secrets import CREDENTIALS_TOML
from tests.unit.console.web.browsing import HOSTILE, ID, Browser, state_of

TWO = f"""
[sources.demo]
write_key = "demo"
trust = "server"
destinations = ["demo"]

[destinations.demo]
{CREDENTIALS_TOML}
[[destinations.demo.subscriptions]]
name = "Buyer"
action = "createUpdatePerson"
trigger = 'type = "track"'
"""
ORDER = {"type": "track", "event": "Order Placed", "userId": ID, "properties": {"total": 9.5}}


class Service:
    """A workspace that keeps the bodies of requests, and answers as it is told to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.answer = (200, b"{}")

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        status, body = self.answer
        return httpx.Response(status, content=body)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    made = Service()
    monkeypatch.setattr(tester, "TrackApi", partial(TrackApi, transport=httpx.MockTransport(made)))
    return made


def result_of(browser: Browser, event: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the page of a test, and the fields of the form that would send its requests."""
    page = browser.post("/tester", event=orjson.dumps(event).decode()).text
    form = page.partition('action="/tester/send"')[2].partition("</form>")[0]
    return page, {name: unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}


def test_the_request_that_was_shown_is_sent_byte_for_byte_and_recorded(admin: Browser, service: Service) -> None:
    page, form = result_of(admin, ORDER)
    assert service.bodies == []
    assert "This is real: the workspace of demo (region us, https://track.customer.io)" in page

    answer = admin.post("/tester/send", **form)

    (body,) = service.bodies
    assert f"-d &#39;{body.decode()}&#39;".replace('"', "&#34;") in page
    assert '<span class="pill good">accepted</span>' in answer.text
    entry = admin.json("/activity")["audit"][0]
    assert (entry["act"], entry["destination"]) == ("send", "demo")
    assert entry["facts"] == {"actions": ["trackEvent"], "accepted": 1}


def test_each_item_has_its_answer_and_what_is_behind_a_refused_one_is_not_sent(
    redis_server: RedisServer, redis_client: redis.Redis, service: Service, tmp_path: Path
) -> None:
    redis_client.ping()
    config = tmp_path / "segue.toml"
    config.write_text(TWO, encoding="utf-8")
    admin = Browser(state_of(redis_server.url, config=config), "admin")
    _, form = result_of(admin, ORDER)
    service.answer = (400, b'{"errors": [{"reason": "invalid", "field": "email", "message": "is no address"}]}')

    page = admin.post("/tester/send", **form).text

    assert len(service.bodies) == 1
    assert page.count(">not accepted<") == 2
    assert "is no address" in page
    assert "behind one that was not accepted" in page


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seen": "0" * 64}, "The requests are others now"),
        ({"event": '{"type": "track", "event": "x", "userId": "7", "messageId": "m"}'}, "The requests are others now"),
        ({"at": "1700000000000"}, "The test was too long ago"),
        ({"at": "9" * 15}, "The test was too long ago"),
        ({"at": ""}, "The test was too long ago"),
        ({"destination": "moon"}, "there is no destination"),
        ({"event": "{"}, "is not JSON"),
    ],
)
def test_other_requests_than_the_shown_ones_are_not_sent(
    admin: Browser, service: Service, changes: dict[str, str], text: str
) -> None:
    _, form = result_of(admin, ORDER)

    answer = admin.post("/tester/send", **(form | changes))

    assert (answer.status_code, service.bodies) == (400, [])
    assert text in answer.text


def test_nothing_is_sent_while_workers_send_nothing(state: State, admin: Browser, service: Service) -> None:
    queue = default_queue(state.session.client, "demo")
    _, form = result_of(admin, ORDER)
    overrides.pause(queue, by="Ada", why="x")
    assert "an operator has paused it" in admin.post("/tester/send", **form).text
    overrides.resume(queue)
    service.answer = (401, b"{}")
    assert "the credentials were refused" in admin.post("/tester/send", **form).text
    assert admission.read(queue).paused

    answer = admin.post("/tester/send", **form)

    assert (answer.status_code, len(service.bodies)) == (400, 1)
    assert "the credentials were refused (HTTP 401)" in answer.text


def test_a_shadow_event_is_not_sent(
    redis_server: RedisServer, redis_client: redis.Redis, service: Service, tmp_path: Path
) -> None:
    redis_client.ping()
    config = tmp_path / "segue.toml"
    config.write_text(TWO, encoding="utf-8")
    admin = Browser(state_of(redis_server.url, config=config), "admin")
    _, form = result_of(admin, ORDER)
    config.write_text(TWO.replace("[destinations.demo]", '[destinations.demo]\nmode = "shadow"'), encoding="utf-8")
    admin = Browser(state_of(redis_server.url, config=config), "admin")

    page, hidden = result_of(admin, ORDER)
    answer = admin.post("/tester/send", **form)

    assert "A shadow event: workers send nothing of it" in page
    assert hidden == {}
    assert (answer.status_code, service.bodies) == (400, [])
    assert "this is a shadow event of demo" in answer.text


def test_an_operator_tests_and_has_no_button_to_send(state: State, service: Service) -> None:
    page, form = result_of(Browser(state, "operator"), ORDER)

    assert form == {}
    assert "POST /api/v2/" in page
    assert service.bodies == []


def test_the_result_says_what_the_event_would_wait_for(admin: Browser) -> None:
    page, _ = result_of(admin, ORDER | {"userId": "ada.lovelace@example.com"})

    assert "3 events of email:ada.lovelace@example.com" in page


def test_hostile_texts_of_an_event_and_of_the_answer_are_text(admin: Browser, service: Service) -> None:
    for text in HOSTILE:
        service.answer = (400, orjson.dumps({"errors": [{"reason": text, "message": text}]}))
        page, form = result_of(admin, ORDER | {"event": text, "messageId": text})
        answer = admin.post("/tester/send", **form)
        assert answer.status_code == 200
        for shown in (page, answer.text):
            assert "<script>alert" not in shown
            assert "<img src=x" not in shown
