"""The simulator as a process: its faults as a client meets them, and what `/_sim` says and takes."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from simulator.options import Faults, Options
from tests.unit.simulator.conftest import Running
from tests.unit.simulator.saying import ULID, event, identify, thing

ADA = {"id": "ada"}


def send(running: Running, *operations: Any, **options: Any) -> httpx.Response:
    return running.http.post("/api/v2/batch", json={"batch": operations or [event(ADA)]}, **options)


def test_what_was_sent_is_seen_in_people_objects_journal_and_activity(running: Running) -> None:
    send(
        running,
        identify(ADA, email="ada@example.com", plan="pro"),
        event(ADA, attributes={"sum": 3}),
        thing("identify"),
    )
    (person,) = running.http.get("/_sim/people").json()["people"]
    assert (person["id"], person["email"], person["attributes"]["plan"]) == ("ada", "ada@example.com", "pro")
    assert [(one["name"], one["attributes"]) for one in person["events"]] == [("Bought", {"sum": 3})]
    (thing_there,) = running.http.get("/_sim/objects").json()["objects"]
    assert thing_there["object_id"] == "acme"
    journal = running.http.get("/_sim/journal").json()["journal"]
    assert [entry["operation"]["action"] for entry in journal] == ["identify", "event", "identify"]
    assert all(entry["arrived_at"] <= entry["applied_at"] for entry in journal)
    activity = running.http.get("/_sim/activity").json()["activity"]
    assert [line["type"] for line in activity] == ["profile_create"]


@pytest.mark.parametrize("status", [401, 403, 413, 429, 500, 502, 503, 504])
def test_every_refusal_that_is_asked_for_takes_nothing(running: Running, status: int) -> None:
    running.faults(**{f"status_{status}": 1})
    answer = send(running)
    assert (answer.status_code, "retry-after" in answer.headers) == (status, False)
    assert (running.stats()["operations"], running.stats()["requests"]) == (0, {str(status): 1})


def test_a_429_says_when_to_come_back_if_told_to(running: Running) -> None:
    running.faults(status_429=1, retry_after_s=2)
    assert send(running).headers["retry-after"] == "2"
    running.faults(status_429=1, retry_after_s=90, retry_after_form="date", refusal_body="<h1>Slow down</h1>")
    answer = send(running)
    wait = parsedate_to_datetime(answer.headers["retry-after"]) - datetime.now(UTC)
    assert 60 < wait.total_seconds() <= 90
    assert answer.text == "<h1>Slow down</h1>"


@pytest.mark.parametrize(("drop_silently", "status"), [(False, 429), (True, 200)])
def test_over_the_limit_there_is_a_429_or_silence(running: Running, drop_silently: bool, status: int) -> None:
    running.http.post("/_sim/clock", json={"virtual": True})
    running.faults(requests_per_s=3, drop_silently=drop_silently)
    answers = [send(running).status_code for _ in range(5)]
    running.http.post("/_sim/clock", json={"virtual": False})
    assert answers == [200] * 3 + [status] * 2
    assert running.stats()["operations"] == 3
    assert running.stats()["most_requests_in_a_second"] == 5
    assert sum(running.http.get("/_sim/seconds").json().values()) == 5


@pytest.mark.parametrize(
    ("fault", "taken", "seen"),
    [
        ("reset_before", 0, "reset"),
        ("reset_after", 1, "reset"),
        ("timeout_before", 0, "timeout"),
        ("timeout_after", 1, "timeout"),
    ],
)
def test_connections_break_before_or_after_the_commit(running: Running, fault: str, taken: int, seen: str) -> None:
    running.faults(**{fault: 1, "timeout_s": 0.05})
    with pytest.raises(httpx.TransportError):
        send(running)
    assert (running.stats()["operations"], running.stats()["requests"]) == (taken, {seen: 1})


def test_faults_may_be_those_of_one_workspace_only(running: Running) -> None:
    running.faults(status_503=1, site_id="somebody else")
    assert send(running).status_code == 200
    running.faults(status_503=1, site_id="demo")
    assert send(running).status_code == 503


def test_a_request_that_breaks_counts_for_the_rate_as_well(running: Running) -> None:
    running.faults(reset_before=1)
    for _ in range(3):
        with pytest.raises(httpx.TransportError):
            send(running)
    assert sum(running.http.get("/_sim/seconds").json().values()) == 3


def test_a_client_that_does_not_wait_meets_its_own_timeout(running: Running) -> None:
    running.faults(timeout_after=1)
    with pytest.raises(httpx.ReadTimeout):
        send(running, timeout=0.1)
    assert running.stats()["operations"] == 1


def test_a_slow_answer_comes_whole_in_the_end(running: Running) -> None:
    running.faults(slow_loris=1, slow_loris_s=0.03, latency_ms=[1, 2])
    with running.http.stream("POST", "/api/v2/batch", json={"batch": [event(ADA)]}) as answer:
        assert [len(part) for part in answer.iter_raw()] == [1, 1, 1]


def test_what_is_delivered_twice_is_told_apart_by_its_ulid(running: Running) -> None:
    running.faults(duplicate=1)
    send(running, event(ADA), event(ADA, "Once", id=ULID))
    (person,) = running.http.get("/_sim/people").json()["people"]
    assert [one["name"] for one in person["events"]] == ["Bought", "Once", "Bought"]
    assert running.stats()["duplicate_event"] == 1


def test_what_is_accepted_is_pending_until_the_clock_is_moved_on(running: Running) -> None:
    running.http.post("/_sim/clock", json={"virtual": True})
    running.faults(apply="in_order", lag_ms=[1000, 2000], lag_tail=0)
    send(running)
    assert (running.stats()["pending"], running.http.get("/_sim/people").json()) == (1, {"people": []})
    running.http.post("/_sim/clock", json={"advance_s": 2, "virtual": False})
    assert (running.stats()["pending"], running.stats()["people"]) == (0, 1)


@pytest.mark.parametrize(
    ("what", "body", "named"),
    [
        ("faults", {"status_418": 1}, "status_418"),
        ("faults", {"status_500": 2}, "status_500"),
        ("faults", {"apply": "sometimes"}, "apply"),
        ("options", {"identifiers": "phone"}, "identifiers"),
        ("clock", {"advance_s": -1}, "advance_s"),
    ],
)
def test_what_is_unknown_or_impossible_is_refused_by_name(
    running: Running, what: str, body: dict[str, Any], named: str
) -> None:
    before = running.http.get("/_sim/faults").json()
    answer = running.http.post(f"/_sim/{what}", json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0].startswith(f"{named}: ")
    assert running.http.get("/_sim/faults").json() == before


def test_faults_and_options_are_replaced_and_can_be_read(running: Running) -> None:
    running.http.post("/_sim/options", json={"identifiers": "id"})
    running.faults(status_500=1)
    running.faults(latency_ms=[0, 1])
    assert running.http.get("/_sim/faults").json() == Faults(latency_ms=(0, 1)).model_dump(mode="json")
    assert running.http.get("/_sim/options").json() == Options(identifiers="id").model_dump(mode="json")
    assert running.http.get("/_sim/nothing").status_code == 404
