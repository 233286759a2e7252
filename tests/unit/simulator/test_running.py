"""The simulator as a process: its faults as a client sees them, and the paths of `/_sim`."""

from __future__ import annotations

import socket
import subprocess
import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from simulator.options import Faults, Options
from tests.secrets import CREDENTIALS
from tests.unit.simulator.conftest import Running
from tests.unit.simulator.saying import ULID, event, identify, obj

ADA = {"id": "ada"}


def send(running: Running, *operations: Any, **options: Any) -> httpx.Response:
    return running.http.post("/api/v2/batch", json={"batch": operations or [event(ADA)]}, **options)


def test_operations_are_visible_in_people_objects_journal_and_activity(running: Running) -> None:
    send(
        running,
        identify(ADA, email="ada@example.com", plan="pro"),
        event(ADA, attributes={"sum": 3}),
        obj("identify"),
    )
    (person,) = running.http.get("/_sim/people").json()["people"]
    assert (person["id"], person["email"], person["attributes"]["plan"]) == ("ada", "ada@example.com", "pro")
    assert [(deed["name"], deed["attributes"]) for deed in person["events"]] == [("Bought", {"sum": 3})]
    (found,) = running.http.get("/_sim/objects").json()["objects"]
    assert found["object_id"] == "acme"
    journal = running.http.get("/_sim/journal").json()["journal"]
    assert [entry["operation"]["action"] for entry in journal] == ["identify", "event", "identify"]
    assert all(entry["arrived_at"] <= entry["applied_at"] for entry in journal)
    activity = running.http.get("/_sim/activity").json()["activity"]
    assert [line["type"] for line in activity] == ["profile_create"]


@pytest.mark.parametrize("status", [401, 403, 413, 429, 500, 502, 503, 504])
def test_a_refused_request_has_no_effect(running: Running, status: int) -> None:
    running.faults(**{f"status_{status}": 1})
    response = send(running)
    assert (response.status_code, "retry-after" in response.headers) == (status, False)
    assert (running.stats()["operations"], running.stats()["requests"]) == (0, {str(status): 1})


def test_a_429_has_a_retry_after_header_by_option(running: Running) -> None:
    running.faults(status_429=1, retry_after_s=2)
    assert send(running).headers["retry-after"] == "2"
    running.faults(status_429=1, retry_after_s=90, retry_after_form="date", refusal_body="<h1>Slow down</h1>")
    response = send(running)
    wait = parsedate_to_datetime(response.headers["retry-after"]) - datetime.now(UTC)
    assert 60 < wait.total_seconds() <= 90
    assert response.text == "<h1>Slow down</h1>"


@pytest.mark.parametrize(("drop_silently", "status"), [(False, 429), (True, 200)])
def test_a_request_over_the_limit_gets_a_429_or_a_200_without_effect(
    running: Running, drop_silently: bool, status: int
) -> None:
    running.http.post("/_sim/clock", json={"virtual": True})
    running.faults(requests_per_s=3, drop_silently=drop_silently)
    statuses = [send(running).status_code for _ in range(5)]
    running.http.post("/_sim/clock", json={"virtual": False})
    assert statuses == [200] * 3 + [status] * 2
    assert running.stats()["operations"] == 3
    assert running.stats()["most_requests_in_a_second"] == 5
    assert sum(running.http.get("/_sim/seconds").json().values()) == 5


@pytest.mark.parametrize(
    ("fault", "accepted", "outcome"),
    [
        ("reset_before", 0, "reset"),
        ("reset_after", 1, "reset"),
        ("timeout_before", 0, "timeout"),
        ("timeout_after", 1, "timeout"),
    ],
)
def test_connections_break_before_or_after_the_commit(
    running: Running, fault: str, accepted: int, outcome: str
) -> None:
    running.faults(**{fault: 1, "timeout_s": 0.05})
    with pytest.raises(httpx.TransportError):
        send(running)
    assert (running.stats()["operations"], running.stats()["requests"]) == (accepted, {outcome: 1})


def test_faults_can_be_limited_to_one_site_id(running: Running) -> None:
    running.faults(status_503=1, site_id="another")
    assert send(running).status_code == 200
    running.faults(status_503=1, site_id=CREDENTIALS["site_id"])
    assert send(running).status_code == 503


def test_a_request_whose_connection_breaks_counts_for_the_rate(running: Running) -> None:
    running.faults(reset_before=1)
    for _ in range(3):
        with pytest.raises(httpx.TransportError):
            send(running)
    assert sum(running.http.get("/_sim/seconds").json().values()) == 3


def test_a_client_with_a_short_timeout_gets_its_own_timeout(running: Running) -> None:
    running.faults(timeout_after=1)
    with pytest.raises(httpx.ReadTimeout):
        send(running, timeout=0.1)
    assert running.stats()["operations"] == 1


def test_a_slow_response_is_complete(running: Running) -> None:
    running.faults(slow_loris=1, slow_loris_s=0.03, latency_ms=[1, 2])
    with running.http.stream("POST", "/api/v2/batch", json={"batch": [event(ADA)]}) as response:
        assert [len(part) for part in response.iter_raw()] == [1, 1, 1]


def test_a_repeated_event_is_recognised_by_its_ulid(running: Running) -> None:
    running.faults(duplicate=1)
    send(running, event(ADA), event(ADA, "Once", id=ULID))
    (person,) = running.http.get("/_sim/people").json()["people"]
    assert [deed["name"] for deed in person["events"]] == ["Bought", "Once", "Bought"]
    assert running.stats()["duplicate_event"] == 1


def test_an_accepted_operation_is_pending_until_the_clock_moves(running: Running) -> None:
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
    response = running.http.post(f"/_sim/{what}", json=body)
    assert response.status_code == 400
    assert response.json()["errors"][0].startswith(f"{named}: ")
    assert running.http.get("/_sim/faults").json() == before


def test_faults_and_options_are_replaced_and_can_be_read(running: Running) -> None:
    running.http.post("/_sim/options", json={"identifiers": "id"})
    running.faults(status_500=1)
    running.faults(latency_ms=[0, 1])
    assert running.http.get("/_sim/faults").json() == Faults(latency_ms=(0, 1)).model_dump(mode="json")
    assert running.http.get("/_sim/options").json() == Options(identifiers="id").model_dump(mode="json")
    assert running.http.get("/_sim/nothing").status_code == 404


def test_a_simulator_that_cannot_listen_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = subprocess.run(
            [sys.executable, "-m", "simulator", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert started.returncode == 2
    assert f"cannot listen on port {port} of 127.0.0.1: [Errno 98] Address already in use" in started.stderr
    assert "Traceback" not in started.stderr
