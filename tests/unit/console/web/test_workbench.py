"""The workbench: changed subscriptions against the events of the destination, without saving anything."""

from __future__ import annotations

import pytest
import redis

from console.web.state import State
from lanes import ClaimedEvent
from mapping.envelope import pack
from series.recent_events import RecentEvents
from tests.conftest import RedisServer
from tests.queues import default_queue
from tests.unit.console.web.browsing import ADDRESS, Browser, event, state_of

WORKBENCH = "/destinations/demo/workbench"
# The preset has another value for one field.
CHANGED = """
[[subscriptions]]
name = "Track Event"
mapping.data = { "@literal" = { kind = "order" } }
"""


@pytest.fixture
def state(redis_server: RedisServer, redis_client: redis.Redis) -> State:
    queue = default_queue(redis_client, "demo")
    RecentEvents().keep(queue, [ClaimedEvent(1, 0, 0, 0, 0, (), pack("demo", event(1)))])
    return state_of(redis_server.url)


def test_a_changed_mapping_names_the_field_that_differs(state: State) -> None:
    browser = Browser(state, "operator")
    browser.reveal()

    page = browser.post(WORKBENCH, toml=CHANGED)

    assert page.status_code == 200, page.text
    assert '<th scope="row">attributes.kind</th>' in page.text
    assert ADDRESS in page.text


def test_values_and_ids_are_masked_until_they_are_shown(state: State) -> None:
    page = Browser(state, "operator").post(WORKBENCH, toml=CHANGED)

    assert "attributes.total" in page.text
    assert ADDRESS not in page.text
    assert "99.5" not in page.text


def test_nothing_differs_without_a_change(state: State) -> None:
    assert "Every request stays as it is." in Browser(state, "admin").post(WORKBENCH, toml="").text


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ("[[subscriptions", "the text: is not TOML"),
        ("a = " + "[" * 5000, "the text: must have at most 250 levels"),
        ("presets = " + "{a=" * 3000, "the text: must have at most 250 levels"),
        ("presets = 99999999999999999999", "the text: must have at most 250 levels, and integers of 64 bits"),
        ('api_key = "other"', "api_key: the workbench takes presets, subscriptions, filters"),
        ('[[subscriptions]]\nname = "X"\naction = "nothing"\ntrigger = "type ="', "subscriptions[0]"),
    ],
    ids=["syntax", "lists", "tables", "integer", "other key", "action"],
)
def test_a_fault_is_named_and_the_text_stays(state: State, toml: str, text: str) -> None:
    page = Browser(state, "operator").post(WORKBENCH, toml=toml)

    assert page.status_code == 400
    assert text in page.text
    assert toml.splitlines()[0].replace('"', "&#34;") in page.text


def test_a_viewer_may_not_use_it(state: State) -> None:
    browser = Browser(state, "viewer")

    assert browser.get(WORKBENCH).status_code == 403
    assert browser.post(WORKBENCH, toml="").status_code == 403
    assert "Workbench" not in browser.get("/destinations/demo").text
