"""People: an event is found by its message id within the time of a page."""

from __future__ import annotations

import re

import pytest
import redis

import lanes
from console.queues import message_search
from console.web.state import State
from dead_letters import record
from lanes import keys
from mapping.envelope import pack
from tests.conftest import RedisServer
from tests.unit.console.web.browsing import ADDRESS, DIGEST, Browser, event, failure, fill, state_of


@pytest.fixture
def queue(redis_client: redis.Redis) -> lanes.Queue:
    return fill(redis_client)


@pytest.fixture
def state(redis_server: RedisServer, queue: lanes.Queue) -> State:
    assert lanes.stats(queue).waiting
    return state_of(redis_server.url)


def append(queue: lanes.Queue, *events: lanes.NewEvent) -> None:
    lanes.append(queue, events)


def wanted(message_id: str) -> lanes.NewEvent:
    return lanes.NewEvent(pack("demo", event(0, messageId=message_id)), ("id:42",), f"demo:{message_id}")


def test_a_recorded_event_is_found_by_its_message_id_without_reading_the_queue(state: State) -> None:
    found = message_search.search(state.session, "demo", ["demo"], f"of {ADDRESS}")

    assert [row["where"] for row in found.rows] == ["dead letter", "sent", "sent"]
    assert (found.read, found.unread) == (0, 0)


@pytest.mark.parametrize("message_id", ["new", "demo:new"])
def test_a_waiting_event_and_a_dead_letter_are_found_by_their_message_id(
    state: State, queue: lanes.Queue, message_id: str
) -> None:
    append(queue, wanted("new"), wanted("old"))
    body = pack("demo", event(0, messageId="buried"))
    lanes.import_dead_letters(queue, [lanes.ImportedDeadLetter(None, 1, ("id:9",), body, failure("broken"))])

    (waiting,) = message_search.search(state.session, "demo", ["demo"], message_id).rows
    (dead,) = message_search.search(state.session, "demo", ["demo"], "buried").rows

    assert (waiting["where"], waiting["message_id"], waiting["state"]) == ("waiting", "new", "ready")
    assert (dead["where"], dead["reason"]) == ("dead letter", "rejected")


def test_a_search_says_what_it_had_no_time_for_and_goes_on_when_asked(
    state: State, queue: lanes.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(queue, wanted("new"))
    monkeypatch.setattr(message_search, "_SECONDS", 0.0)
    browser = Browser(state, "operator")

    page = browser.post("/people", person="new", kind="message").text
    assert "An event with this message id was accepted for demo within the last" in page
    assert "Search all of them" in page

    page = browser.post("/people", person="new", kind="message", long="1").text
    assert "Search all of them" not in page
    assert 'data-label="Number"' in page


def test_an_unknown_message_id_is_not_searched_in_events_of_the_window(state: State, queue: lanes.Queue) -> None:
    lanes.discard(queue, [dead.sequence for dead in lanes.list_dead_letters(queue)])

    found = message_search.search(state.session, "demo", ["demo"], "typed wrongly")

    assert (found.rows, found.read, found.unread, found.is_remembered) == ([], 0, 0, False)


def test_a_person_with_dead_letters_alone_is_found(state: State, queue: lanes.Queue) -> None:
    body = pack("demo", event(0, userId="u1"))
    lanes.import_dead_letters(queue, [lanes.ImportedDeadLetter(None, 1, ("id:u1",), body, failure("broken"))])

    answer = Browser(state, "viewer").post("/people", person="u1")

    assert answer.headers["location"] == f"/people/{lanes.digest('id:u1').hex()}"


def test_the_page_of_a_person_has_the_graph_as_a_drawing_and_as_lists(state: State, queue: lanes.Queue) -> None:
    append(queue, lanes.NewEvent(pack("demo", event(7)), (f"email:{ADDRESS}", "id:42"), "m7"))
    browser = Browser(state, "viewer")

    page = browser.get(f"/people/{DIGEST}").text
    (lane,) = browser.json(f"/people/{DIGEST}")

    numbers = [each["sequence"] for each in lane["why"]["events"]]
    assert numbers == [1, 2, 3, 5]
    for element in ("<g ", "<li "):
        shown = re.findall(rf'{element}[^>]*data-sequence="(\d+)"', page)
        assert sorted(map(int, shown)) == numbers
    edges = {tuple(map(int, each)) for each in re.findall(r'data-edge="(\d+)-(\d+)"', page)}
    assert edges == {(each["before"], each["after"]) for each in lane["why"]["edges"]} == {(1, 2), (2, 3), (3, 5)}
    assert "style=" not in page
    assert '<a href="/dead/demo/1">Open the dead letter</a>' in page


def test_a_viewer_sees_a_status_and_no_other_value_of_the_last_attempt(state: State, queue: lanes.Queue) -> None:
    append(queue, wanted("a"))
    digest = lanes.digest("id:42").hex()
    for reason, shown in (("HTTP 429", "HTTP 429"), (f"no response: {ADDRESS} 4711", "no response: # #")):
        queue.client.zadd(keys.READY.of("demo"), {"5": 0})
        claim = lanes.claim(queue, lease_ms=1000, max_events=1, max_bytes=10**6, max_depth=0, poll_ms=0)
        attempt = record.attempt(0.0, reason, "worker")
        lanes.settle(queue, claim.id, released=[lanes.Release(claim.events[0].sequence, 60_000, attempt)])

        (lane,) = Browser(state, "viewer").json(f"/people/{digest}")

        assert lane["why"]["last_attempt"] == shown
