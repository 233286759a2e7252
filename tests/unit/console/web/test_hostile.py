"""Texts of events come from anyone: on every page they are text, and no character of them acts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import redis

from console.web.rendering import html
from console.web.state import State
from console.web.visit import fields_of
from tests.conftest import RedisServer
from tests.unit.console.web.browsing import (
    DIGEST,
    HOSTILE,
    Browser,
    bury,
    copy,
    event,
    failure,
    fill,
    state_of,
)

ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
PLACES = ("/live", "/dead", "/dead?view=list", f"/people/{DIGEST}", "/activity", "/replays", "/destinations/demo", "/")


class Document(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.inline_scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.inline_scripts += tag == "script" and "src" not in dict(attrs)


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.fixture
def state(redis_server: RedisServer, redis_client: redis.Redis) -> State:
    fill(redis_client)
    for text in HOSTILE:
        members = {"event": text, "messageId": text, "properties": {text: text, "url": f"javascript:{text}"}}
        bury(redis_client, event(1, **members), failure(f"the field '{text}' {text}"), source=text)
    bury(redis_client, event(2, properties={"n": 12345678901234567890, "long": "x" * 31_000}), failure("long"))
    bury(redis_client, event(3, properties={f"a{n}": n for n in range(300)}), failure("many"))
    bury(redis_client, event(4, properties=deep(60)), failure("deep"))
    bury(redis_client, event(5, properties=deep(150)), failure("deeper"))
    for number, text in enumerate(HOSTILE):
        members = {"event": text, "messageId": text, "userId": text, "properties": {text: text}}
        copy(redis_client, event(1, **members), "dead", text=text, sequence=number, items=True, reason=text)
        copy(redis_client, event(1, **members, type=text), "refused", text=text, sequence=None, source=text)
    copy(redis_client, event(2, properties={"n": 12345678901234567890, "long": "x" * 31_000}), "sent", sequence=50)
    copy(redis_client, event(3, properties={f"a{n}": n for n in range(300)}), "sent", sequence=51)
    copy(redis_client, event(4, properties=deep(60)), "sent", sequence=52)
    state = state_of(redis_server.url)
    browser = Browser(state, "operator", HOSTILE[0])
    for text in HOSTILE:
        browser.post("/destinations/demo/pause", why=text)
        browser.post("/replays/demo", event=text)
    return state


def check(text: str) -> None:
    document = Document(text)
    assert "img" not in document.tags or document.tags.count("img") == 1  # that of the heading
    assert document.inline_scripts == 0
    assert "style" not in document.tags
    assert not [name for name, _ in document.attributes if name.startswith("on") or name == "style"]
    assert not [value for name, value in document.attributes if name in ("href", "src") and "javascript:" in str(value)]
    assert "{{ 7*7 }}" in text or "49{%" not in text
    assert ACTIVE.search(text) is None, ACTIVE.search(text)


@pytest.mark.parametrize("is_revealing", [False, True], ids=["masked", "revealed"])
def test_a_hostile_text_is_text_on_every_page(state: State, is_revealing: bool) -> None:
    browser = Browser(state, "operator", HOSTILE[4])
    if is_revealing:
        browser.reveal()
    sequences = [row["sequence"] for row in browser.json("/dead?view=list")]
    assert len(sequences) == 11
    for path in (*PLACES, *(f"/dead/demo/{sequence}" for sequence in sequences)):
        answer = browser.get(path)
        assert answer.status_code == 200, (path, answer.text)
        check(answer.text)
        browser.json(path)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_of_the_user_is_text_in_the_answer(state: State, text: str) -> None:
    browser = Browser(state, "operator")
    for answer in (
        browser.post("/tester", event=text),
        browser.post("/tester", event='{"type": "track", "event": "x", "userId": "1"}', source=text),
        browser.post("/people", person=text),
        browser.post("/people", person=text, kind="message"),
        browser.get(f"/dead?reason={quote(text)}"),
        browser.get(f"/dead?event={quote(text)}&view=list&since={quote(text)}"),
        browser.get(f"/activity?who={quote(text)}"),
        browser.get(f"/{quote(text)}"),
        browser.get(f"/people/{quote(text)}"),
        browser.get(f"/sign-in?to={quote(text)}"),
        browser.get(f"/about?done={quote(text)}"),
        browser.post("/live/find", event=text, source=text, person=text),
        browser.get(f"/live?event={quote(text)}&source={quote(text)}"),
    ):
        assert answer.status_code in (200, 303, 400, 404), answer.text
        check(answer.text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_of_an_admin_is_text_in_the_answer(state: State, text: str) -> None:
    browser = Browser(state, "admin")
    line = orjson.dumps({"source": "demo", "event": {text: text}, "failure": {"class": "invalid", text: 1}})
    for answer in (browser.upload("/import", line), browser.upload("/import", text.encode(), destination=text)):
        assert answer.status_code in (200, 400), answer.text
        check(answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/dead?ids=x",
        "/dead?ids=" + "9" * 30,
        "/dead?after=-1&view=list",
        "/dead?since=yesterday",
        "/dead?since=" + "9" * 400 + "d",
        "/dead?person=id:42",
        "/dead?person=digest:xyz",
        "/dead?text=a@b.example",
        "/dead?event=" + "x" * 501,
        f"/people/{DIGEST}/as-of?at=99999999d",
        f"/people/{DIGEST}/as-of?and=" + "9" * 400 + "d",
        "/activity?until=99999999d",
        "/live?person=id:42",
        "/live?fate=other",
        "/live?most=x",
        "/live?event=" + "x" * 201,
        "/activity?first=x",
        "/skip/demo",
        "/?" + "&".join(f"a{n}=1" for n in range(2000)),
    ],
)
def test_a_bad_value_of_an_address_is_named(state: State, path: str) -> None:
    answer = Browser(state, "operator").get(path)

    assert answer.status_code == 400
    check(answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/destinations/other",
        "/dead?destination=other",
        "/dead/demo/999999",
        "/dead/demo/99999999999999999999",
        "/dead/demo/" + "9" * 4301,
        "/dead/demo/one",
        "/dead/other/1",
        "/replays/demo/none",
        "/people/xyz",
        "/people/0123456789ABCDEF",
        "/nowhere",
        "/static/..%2Fapp.py",
        "/static/none.js",
    ],
)
def test_what_does_not_exist_is_not_found(state: State, path: str) -> None:
    assert Browser(state, "operator").get(path).status_code == 404


def test_an_address_with_thousands_of_digits_leads_to_the_sign_in(state: State) -> None:
    """Python makes no number of more than 4,300 digits."""
    assert Browser(state).get("/dead/demo/" + "9" * 4301).status_code == 303


def test_a_long_body_is_refused(state: State) -> None:
    answer = Browser(state, "operator").post("/tester", event="x" * 400_000)

    assert answer.status_code == 413


def test_a_viewer_cannot_look_for_contents_by_text(state: State) -> None:
    assert Browser(state, "viewer").get("/dead?text=lovelace").status_code == 403
    assert Browser(state, "operator").get("/dead?text=lovelace").status_code == 200


def test_an_unhandled_exception_shows_nothing_of_itself(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret of the code")

    monkeypatch.setattr(State, "figures", fail)

    answer = Browser(state, "viewer").get("/sources")

    assert answer.status_code == 500
    assert "secret of the code" not in answer.text
    assert "Traceback" not in answer.text


def test_fields_are_bounded() -> None:
    assert fields_of("a=1&a=2&b=") == {"a": ["1", "2"], "b": [""]}
    assert "&lt;b&gt;" in html("error.html", _LAYOUT | {"data": {"error": "<b>"}})


_LAYOUT: dict[str, Any] = {
    "user": None,
    "navigation": (),
    "path": "/",
    "address_now": "/",
    "destinations": [],
    "is_result": False,
    "has_picker": False,
    "kept": [],
    "picked": "",
    "notice": "",
    "cause": None,
    "more_causes": 0,
    "badge": {"new": 0, "blocking": 0},
    "auth": "none",
    "title": "x",
    "command": "",
}
