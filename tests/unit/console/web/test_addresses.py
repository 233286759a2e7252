"""What leads from one page to another: the choice of a destination, and forms on the result of a POST."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import redis

import lanes
from console.web import audit_log
from console.web.access import User
from console.web.routes import ROUTES
from console.web.state import State
from mapping.envelope import pack
from tests.conftest import RedisServer
from tests.pipeline import configuration
from tests.queues import default_queue
from tests.unit.console.web.browsing import DIGEST, Browser, event, failure, fill, state_of

PARTS = {"destination": "demo", "sequence": "1", "id": "none", "digest": DIGEST}


@pytest.fixture
def state(redis_server: RedisServer, redis_client: redis.Redis, tmp_path: Path) -> State:
    """A console with two destinations. Both have a dead letter 1."""
    fill(redis_client)
    body = pack("demo", event(1, userId="other"))
    dead = lanes.ImportedDeadLetter(None, 1, ("id:other",), body, failure("other"))
    lanes.import_dead_letters(default_queue(redis_client, "other"), [dead])
    config = tmp_path / "segue.toml"
    config.write_text(configuration("demo") + configuration("other"))
    return state_of(redis_server.url, config=config)


def fields(page: str, form: str) -> dict[str, str]:
    """Return the hidden fields of the form of this class or action."""
    (content,) = re.findall(rf'<form [^>]*"{form}".*?</form>', page, re.DOTALL)
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', content)
    return {name: unescape(value) for name, value in found}


@pytest.mark.parametrize("rule", [rule for rule in ROUTES if rule.method == "POST"], ids=lambda rule: rule.path)
def test_what_is_shown_by_a_post_leads_to_a_page_when_identities_are_shown(state: State, rule: Any) -> None:
    browser = Browser(state, "admin")
    shown = browser.post(re.sub(r"{(\w+)[^}]*}", lambda part: PARTS[part[1]], rule.path))
    if shown.status_code == 303 or rule.permission in ("public", "look", "reveal") or rule.path.startswith("/export"):
        return

    to = fields(shown.text, "/reveal")["to"]

    assert f'<body data-fresh="{to}">' in shown.text
    assert browser.get(to).status_code in (200, 400, 404)
    assert browser.follow(browser.post("/reveal", to=to)).status_code in (200, 400, 404)


def test_the_choice_of_a_destination_keeps_the_filter(state: State) -> None:
    browser = Browser(state, "operator")

    page = browser.get("/dead?destination=demo&view=list&reason=rejected&ids=1&after=7&done=removed").text

    assert fields(page, "picker") == {"view": "list", "reason": "rejected"}
    assert fields(browser.get(f"/people/{DIGEST}/as-of?at=1h").text, "picker") == {"at": "1h"}


@pytest.mark.parametrize("path", [f"/people/{DIGEST}", f"/people/{DIGEST}/as-of"])
def test_the_command_of_a_person_names_the_destination_of_the_address(state: State, path: str) -> None:
    browser = Browser(state, "viewer")

    assert re.search(
        r'<code id="command">segue .* --destination other</code>', browser.get(f"{path}?destination=other").text
    )
    assert "--destination" not in re.findall(r'<code id="command">(.*?)</code>', browser.get(path).text)[0]


@pytest.mark.parametrize("path", ["/dead/demo/1", "/people", "/dead"])
def test_there_is_a_choice_of_destinations_where_it_changes_the_page(state: State, path: str) -> None:
    page = Browser(state, "operator").get(path).text

    assert ('class="picker"' in page) is (path != "/dead/demo/1")


def test_a_number_that_several_destinations_have_leads_to_each(state: State) -> None:
    browser = Browser(state, "operator")

    page = browser.post("/people", person="#1").text

    assert re.findall(r'href="(/dead/[a-z]+/1)"', page) == ["/dead/demo/1", "/dead/other/1"]
    only = browser.post("/people", person="#1", destination="other")
    assert only.headers["location"] == "/dead/other/1"


def test_a_text_that_names_no_person_is_looked_for_as_a_message_id(state: State) -> None:
    lane = lanes.NewEvent(pack("demo", event(1, messageId="mine")), ("id:x",), "mine")
    lanes.append(default_queue(state.session.client, "demo"), [lane])

    page = Browser(state, "operator").post("/people", person="mine").text

    assert f'href="/people/{lanes.digest("id:x").hex()}?destination=demo"' in page or "waiting" in page
    assert "Nothing is known of such a person" not in page


def test_the_record_of_a_destination_that_was_removed_is_shown(state: State) -> None:
    audit_log.write(state.session.client, User("Grace", "admin"), "pause", "removed", why="x")
    browser = Browser(state, "viewer")

    found = browser.json("/activity?destination=removed")

    assert ([entry["act"] for entry in found["audit"]], found["receipts"]) == (["pause"], [])
    assert "<option selected>removed</option>" in browser.get("/activity?destination=removed").text


def test_an_edit_that_changes_nothing_is_told_as_such(state: State) -> None:
    browser = Browser(state, "operator")
    browser.reveal()
    page = browser.get("/dead/demo/1").text
    (text,) = re.findall(r'<textarea name="event"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    (seen,) = re.findall(r'name="seen" value="([^"]*)"', page)

    shown = browser.follow(browser.post("/dead/demo/1/edit", event=unescape(text), seen=seen))

    assert "The event is as it was." in shown.text
    assert "edit" not in [entry["act"] for entry in browser.json("/activity")["audit"]]
