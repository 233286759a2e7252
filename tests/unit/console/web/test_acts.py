"""What the console does: pause, rate, plan, replay, skip, edit, find, test; and what it records of it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import orjson
import pytest
import redis

import lanes
from console.dead import listing
from console.web.state import State
from dead_letters import query
from dead_letters import replay as replaying
from dead_letters.query import Filter
from lanes import keys
from mapping.envelope import pack
from series import recent_events
from tests.conftest import RedisServer
from tests.queues import default_queue
from tests.unit.console.web.browsing import ADDRESS, DIGEST, ID, Browser, bury, event, failure, fill, state_of

CONTEXT = replaying.ReplayContext(wait=lambda _seconds: None, wake=lambda _name: None)


@pytest.fixture
def operator(state: State) -> Browser:
    return Browser(state, "operator")


def work(state: State, queue: lanes.Queue) -> None:
    """Do what the workers do for the replays of a queue."""
    for replay_id in replaying.next_up(queue):
        while replaying.step(queue, replay_id, state.session.destinations[queue.name], CONTEXT):
            pass


def audit(browser: Browser) -> list[tuple[str, Any]]:
    return [(entry["act"], entry["facts"]) for entry in browser.json("/activity")["audit"]]


def text_in(page: str) -> str:
    """Return the text of the field `event`, as a browser sends it."""
    (text,) = re.findall(r'<textarea name="event"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    return unescape(text).replace("\n", "\r\n")


def number_in(page: str) -> str:
    (count,) = re.findall(r'name="count" value="(\d+)"', page)
    return str(count)


def test_a_pause_has_a_reason_and_an_end_and_is_resumed(operator: Browser) -> None:
    assert operator.post("/destinations/demo/pause", why=" ").status_code == 400
    assert operator.post("/destinations/demo/pause", why="x", until="yesterday").status_code == 400

    page = operator.follow(operator.post("/destinations/demo/pause", why="maintenance", until="30m"))

    assert "paused by an operator" in page.text
    assert "demo is paused by Grace" in operator.get("/").text
    paused = operator.json("/destinations/demo")["operator"]["pause"]
    assert (paused["by"], paused["why"], bool(paused["until_ms"])) == ("Grace", "maintenance", True)
    operator.follow(operator.post("/destinations/demo/resume"))
    assert operator.json("/destinations/demo")["operator"]["pause"] is None
    assert [act for act, _ in audit(operator)] == ["resume", "pause", "sign in"]


@pytest.mark.parametrize("rate", ["0", "-1", "101", "many", "1e9", "9" * 50, "1.5", "0000509999"])
def test_a_rate_is_a_number_up_to_the_configured_one(operator: Browser, rate: str) -> None:
    assert operator.post("/destinations/demo/rate", requests_per_s=rate).status_code == 400
    assert operator.json("/destinations/demo")["operator"]["rate"] is None


def test_a_rate_is_set_for_a_time_and_ended(operator: Browser) -> None:
    operator.follow(operator.post("/destinations/demo/rate", requests_per_s="40", **{"for": "2h"}))
    assert operator.json("/destinations/demo")["operator"]["rate"]["requests_per_s"] == 40

    operator.follow(operator.post("/destinations/demo/rate"))

    assert operator.json("/destinations/demo")["operator"]["rate"] is None


def test_a_filter_of_the_form_is_in_the_address_with_the_person_as_a_digest(operator: Browser) -> None:
    answer = operator.post("/dead/find", person=ADDRESS, reason="invalid", view="list", destination="demo")

    address = answer.headers["location"]
    assert "lovelace" not in address
    assert [row["class"] for row in operator.json(address)] == ["invalid"]
    assert f"segue dead list --reason invalid --person digest:{DIGEST}" in operator.get(address).text


def test_a_plan_shows_what_the_replay_does_and_the_replay_does_it(state: State, operator: Browser) -> None:
    queue = default_queue(state.session.client, "demo")
    planned = operator.post("/replays/demo", reason="invalid")
    assert "running" in operator.follow(planned).text
    work(state, queue)

    plan = operator.get(planned.headers["location"])
    assert "would send: person event" in plan.text
    assert "Replay 1 dead letter" in plan.text
    begun = operator.post(
        f"{planned.headers['location']}/begin", count=number_in(plan.text), mode="mapped", per_s="500"
    )
    work(state, queue)

    replay = operator.json(begun.headers["location"])
    assert (replay["state"], replay["done"], replay["total"], replay["who"]) == ("done", 1, 1, "Grace")
    assert [each.failure.reason for each in query.matching(queue, Filter())] == ["rejected"]
    assert [act for act, _ in audit(operator)][:2] == ["replay", "plan"]


def test_a_viewer_sees_no_identity_in_the_fields_of_a_plan(state: State, operator: Browser) -> None:
    members = {"messageId": "m1", "properties": {f"shared with {name}@example.com": True for name in ("ada", "jo")}}
    bury(state.session.client, event(9, event="Shared", **members), failure("boom"))
    planned = operator.post("/replays/demo", event="Shared")
    work(state, default_queue(state.session.client, "demo"))
    viewer = Browser(state, "viewer")

    changes = viewer.json(planned.headers["location"])["changes"]

    assert changes["attributes.shared with #"] == 2
    assert "changes attributes.shared with #" in viewer.get(planned.headers["location"]).text
    assert "@" not in viewer.get("/replays", "application/json").text


def test_a_plan_whose_number_changed_is_made_again_and_nothing_is_replayed(state: State, operator: Browser) -> None:
    queue = default_queue(state.session.client, "demo")
    planned = operator.post("/replays/demo", all="yes")
    work(state, queue)
    count = number_in(operator.get(planned.headers["location"]).text)
    bury(state.session.client, event(9), failure("one more"))

    begun = operator.post(f"{planned.headers['location']}/begin", count=count, mode="mapped", per_s="500")

    assert "changed meanwhile" in operator.follow(begun).text
    assert {replay.mode for replay in replaying.history(queue)} == {"dry_run"}
    assert lanes.count_dead_letters(queue)[0] == 3


def test_a_replay_is_cancelled(state: State, operator: Browser) -> None:
    queue = default_queue(state.session.client, "demo")
    planned = operator.post("/replays/demo", all="yes")

    page = operator.follow(operator.post(f"{planned.headers['location']}/cancel"))

    assert "cancelled" in page.text
    assert replaying.running(queue) == []


def test_a_finished_plan_is_not_cancelled(state: State, operator: Browser) -> None:
    planned = operator.post("/replays/demo", all="yes")
    work(state, default_queue(state.session.client, "demo"))

    answer = operator.post(f"{planned.headers['location']}/cancel")

    assert answer.status_code == 400
    assert "It is done already." in answer.text
    assert operator.json(planned.headers["location"])["state"] == "done"


def test_nothing_is_planned_without_a_filter(operator: Browser) -> None:
    assert operator.post("/replays/demo").status_code == 400
    assert operator.post("/skip/demo", count="2").status_code == 400
    assert operator.get("/skip/demo").status_code == 400


def test_a_skip_needs_the_number_of_the_plan(state: State, operator: Browser) -> None:
    queue = default_queue(state.session.client, "demo")
    assert "1 dead letter of demo would be removed" in operator.get("/skip/demo?reason=invalid").text

    assert operator.post("/skip/demo", reason="invalid", count="2").status_code == 400
    assert lanes.count_dead_letters(queue)[0] == 2
    operator.follow(operator.post("/skip/demo", reason="invalid", count="1"))

    assert [each.failure.reason for each in query.matching(queue, Filter())] == ["rejected"]
    assert audit(operator)[0] == ("skip", {"filter": {"reason": "invalid"}, "count": 1})


def test_the_selected_dead_letters_are_skipped_and_free_what_they_block(state: State, operator: Browser) -> None:
    queue = default_queue(state.session.client, "demo")
    assert lanes.stats(queue).blocked == 2

    operator.follow(operator.post("/skip/demo", ids="1", count="1"))

    assert (lanes.stats(queue).dead, lanes.stats(queue).blocking) == (1, 0)


def test_the_audit_log_has_no_person_and_is_bounded(
    state: State, operator: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.post("/replays/demo", person=f"digest:{DIGEST}", text="Ada Lovelace")
    assert audit(operator)[0] == ("plan", {"filter": {"person": "…", "text": "…"}})
    monkeypatch.setattr("console.web.audit_log.KEPT", 3)

    for _ in range(5):
        operator.post("/destinations/demo/pause", why="again")

    assert state.session.client.llen(keys.CONSOLE_AUDIT.name) == 3


def test_an_edit_is_refused_when_another_one_came_first(state: State, operator: Browser) -> None:
    operator.reveal()
    page = operator.get("/dead/demo/4").text
    (seen,) = re.findall(r'name="seen" value="(\w+)"', page)
    edited = orjson.dumps(event(8, properties={"total": 1})).decode()

    operator.follow(operator.post("/dead/demo/4/edit", seen=seen, event=edited))
    again = operator.post("/dead/demo/4/edit", seen=seen, event=orjson.dumps(event(8)).decode())

    assert again.status_code == 400
    assert "edited meanwhile" in again.text
    queue = default_queue(state.session.client, "demo")
    (_, dead_letter) = query.matching(queue, Filter())
    assert dead_letter.event["properties"] == {"total": 1}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"type": "track", "event": "x"}'])
def test_an_event_that_ingest_would_refuse_is_not_saved(operator: Browser, text: str) -> None:
    operator.reveal()
    (seen,) = re.findall(r'name="seen" value="(\w+)"', operator.get("/dead/demo/4").text)

    answer = operator.post("/dead/demo/4/edit", seen=seen, event=text)

    assert answer.status_code == 400
    assert "Nothing was changed" in answer.text


@pytest.mark.parametrize("text", [ADDRESS, ADDRESS.upper(), f"email:{ADDRESS}"])
def test_a_person_is_found_by_an_identity_which_is_in_no_address(operator: Browser, text: str) -> None:
    answer = operator.post("/people", person=text)

    assert answer.headers["location"] == f"/people/{DIGEST}"
    page = operator.follow(answer)
    assert "2 events wait for #1, a track Order Placed" in page.text
    assert "blocks its lane" in page.text
    assert page.text.count("The item as sent") == 2


def test_an_event_is_found_by_its_number(operator: Browser) -> None:
    assert operator.post("/people", person="#1").headers["location"] == "/dead/demo/1"
    assert operator.post("/people", person="#2").headers["location"] == f"/people/{DIGEST}?destination=demo"
    assert operator.post("/people", person="#999").status_code == 404


def test_an_event_is_found_by_its_message_id(operator: Browser) -> None:
    page = operator.post("/people", person=f"of {ADDRESS} 1", kind="message")

    assert "waiting" in page.text
    assert f"/people/{DIGEST}?destination=demo" in page.text
    assert "No event with this message id" in operator.post("/people", person="unknown", kind="message").text


def test_an_unknown_person_is_said_to_be_unknown(operator: Browser) -> None:
    page = operator.post("/people", person="unknown-at-all")

    assert "Nothing is known of such a person" in page.text
    assert page.text.count("/people/") >= 2  # as a user id and as an anonymous id


def test_the_tester_shows_the_request_that_a_worker_would_send(operator: Browser) -> None:
    given = orjson.dumps({"type": "track", "event": "Order Placed", "userId": ID, "messageId": "m"}).decode()

    page = operator.post("/tester", event=given)

    assert "POST /api/v2/" in page.text
    assert "Order Placed" in page.text
    assert ID in page.text
    assert "sent" in page.text


def test_the_tester_takes_a_recent_event_of_those_that_the_user_may_see(state: State, operator: Browser) -> None:
    queue = default_queue(state.session.client, "demo")
    body = pack("demo", event(1))
    kept = lanes.ClaimedEvent(1, 0, 0, 0, 1_000, (), body)
    recent_events.RecentEvents().keep(queue, [kept])
    address = "/tester?destination=demo&source=demo&type=track&name=Order%20Placed"
    assert ADDRESS not in operator.get(address).text

    operator.reveal()

    assert address.replace("&", "&amp;").replace("%20", "+") in operator.get("/tester").text
    assert ADDRESS in operator.get(address).text


def test_the_tester_names_the_fault_and_keeps_the_event(operator: Browser) -> None:
    page = operator.post("/tester", event='{"type": ')

    assert page.status_code == 400
    assert "the event is not JSON" in page.text
    assert "{&#34;type&#34;:" in page.text


def test_the_kinds_of_errors_follow_the_dead_letters(state: State, operator: Browser) -> None:
    assert sorted(row["count"] for row in operator.json("/dead")) == [1, 1]
    bury(state.session.client, event(10), failure(f"{ID} cannot be read", "invalid"))

    rows = operator.json("/dead")

    assert sorted(row["count"] for row in rows) == [1, 2]
    assert {row["blocking"] for row in rows} == {0, 1}
    assert [row["count"] for row in operator.json("/dead?reason=rejected")] == [1]


@pytest.mark.parametrize("path", ["/dead", "/purge/demo?all=yes"])
def test_of_many_kinds_of_errors_a_page_shows_the_most_frequent(state: State, operator: Browser, path: str) -> None:
    for number in range(110):
        bury(state.session.client, event(9), failure("boom " + "a" * number))

    page = operator.get(path).text

    assert page.count('<span class="message">') == 100
    assert "12 more kinds with 12 dead letters" in page


def test_a_long_list_is_shown_page_by_page(state: State, operator: Browser) -> None:
    for number in range(60):
        bury(state.session.client, event(100 + number), failure("many"))

    first = operator.get("/dead?view=list")
    (after,) = re.findall(r"after=(\d+)", first.text)

    assert first.text.count("data-row") == 50
    assert operator.get(f"/dead?view=list&after={after}").text.count("data-row") == 12


def test_the_sentence_names_the_first_cause(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    queue = fill(redis_client)
    browser = Browser(state_of(redis_server.url), "viewer")
    texts = [cause["text"] for cause in browser.json("/")["causes"]]
    assert any("blocks later events" in text for text in texts)

    redis_client.delete(keys.WORKERS.name)
    lanes.append(queue, [lanes.NewEvent(pack("demo", event(50)), ("id:x",), "m50")])
    browser = Browser(state_of(redis_server.url), "viewer")

    assert "No worker is running, so nothing is sent." in browser.get("/about").text
    assert browser.json("/")["causes"][0]["command"] == "segue worker"


def test_a_person_who_has_only_a_dead_letter_is_found(state: State, operator: Browser) -> None:
    queue = default_queue(state.session.client, "demo")
    left = lanes.ImportedDeadLetter(None, 1_700_000_000_000, ("id:left",), pack("demo", event(1)), failure("x"))
    lanes.import_dead_letters(queue, [left])

    assert operator.post("/people", person="left").headers["location"] == f"/people/{lanes.digest('id:left').hex()}"


def test_a_damaged_dead_letter_is_counted_as_the_command_counts_it(state: State, operator: Browser) -> None:
    queue = default_queue(state.session.client, "demo")
    lanes.import_dead_letters(
        queue, [lanes.ImportedDeadLetter(None, 1_700_000_000_000, ("id:x",), b"no event", b"no failure")]
    )
    counted = listing.groups(query.matching(queue, Filter()))

    rows = operator.json("/dead")

    assert len(rows) == 3
    names = ("class", "subscription", "action", "message", "count")
    assert sorted(rows_of(rows, names)) == sorted(rows_of(counted, names))
    for path in ("/dead?view=list", f"/dead/demo/{lanes.count_dead_letters(queue)[1]}"):
        assert operator.get(path).status_code == 200


def rows_of(rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[list[str]]:
    return [[str(row[name]) for name in names] for row in rows]


@pytest.mark.parametrize("members", [15_000, 6_000], ids=["in one line", "in lines"])
def test_the_event_of_a_form_is_one_that_the_form_takes(
    redis_client: redis.Redis, operator: Browser, members: int
) -> None:
    sequence = bury(redis_client, event(9, properties={"n": [1] * members}), failure("long"))
    operator.reveal()
    path = f"/dead/demo/{sequence}"

    text = text_in(operator.get(path).text)
    seen = re.findall(r'name="seen" value="([^"]*)"', operator.get(path).text)[0]
    assert operator.post(f"{path}/edit", event=text.replace("Order Placed", "Order Sent"), seen=seen).status_code == 303
    text = text_in(operator.get(f"/tester?dead={sequence}&destination=demo").text)
    assert operator.post("/tester", event=text).status_code == 200
    assert orjson.loads(text)["event"] == "Order Sent"
