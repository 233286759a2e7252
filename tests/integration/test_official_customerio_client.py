"""The official Customer.io client, unmodified, against the simulator over a real socket."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from customerio import CustomerIO, CustomerIOException

from tests.pipeline import free_port, wait_until


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    chosen = free_port()
    process = subprocess.Popen([sys.executable, "-m", "simulator", "--port", str(chosen)])
    try:
        wait_until(lambda: answers(chosen), "the simulator answers")
        yield chosen
    finally:
        process.terminate()
        process.wait(timeout=15)


@pytest.fixture
def simulator(port: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        client.post("/_sim/reset")
        yield client


@pytest.fixture
def cio(port: int) -> CustomerIO:
    return client_for(port)


def client_for(port: int, api_key: str = "demo") -> CustomerIO:
    client = CustomerIO("demo", api_key, host="127.0.0.1", port=port, retries=0)
    client.base_url = f"http://127.0.0.1:{port}/api/v1"  # it knows https alone
    return client


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/_sim/stats").is_success
    except httpx.HTTPError:
        return False


def person(simulator: httpx.Client, name: str) -> dict[str, Any]:
    people = simulator.get("/_sim/people").json()["people"]
    return next(one for one in people if name in (one["id"], one["email"]))


def test_people_are_identified_and_what_they_do_is_kept(cio: CustomerIO, simulator: httpx.Client) -> None:
    cio.identify(id="ada", email="ada@example.com", plan="pro")
    cio.track("ada", "Report exported", {"pages": 3})
    cio.pageview(customer_id="ada", page="/pricing")
    cio.backfill("ada", "Signed up", datetime(2024, 3, 5, tzinfo=UTC), source="import")

    ada = person(simulator, "ada")
    assert (ada["email"], ada["attributes"]["plan"]) == ("ada@example.com", "pro")
    assert [(event["type"], event["name"]) for event in ada["events"]] == [
        ("event", "Report exported"),
        ("page", "/pricing"),
        ("event", "Signed up"),
    ]
    assert ada["events"][2]["timestamp"] == datetime(2024, 3, 5, tzinfo=UTC).timestamp()


def test_a_visitor_is_merged_into_who_they_turn_out_to_be(cio: CustomerIO, simulator: httpx.Client) -> None:
    cio.track_anonymous(anonymous_id="visitor", name="Pricing viewed")
    cio.identify(id="bo", anonymous_id="visitor")

    assert [event["name"] for event in person(simulator, "bo")["events"]] == ["Pricing viewed"]


def test_devices_come_and_go(cio: CustomerIO, simulator: httpx.Client) -> None:
    cio.identify(id="cy")
    cio.add_device(customer_id="cy", device_id="token/1", platform="ios")
    assert [device["token"] for device in person(simulator, "cy")["devices"]] == ["token/1"]

    cio.delete_device(customer_id="cy", device_id="token/1")
    assert person(simulator, "cy")["devices"] == []


def test_people_are_merged(cio: CustomerIO, simulator: httpx.Client) -> None:
    cio.identify(id="new", plan="pro")
    cio.identify(id="old", plan="free", city="Oslo")
    cio.merge_customers("id", "new", "id", "old")

    attributes = person(simulator, "new")["attributes"]
    assert (attributes["plan"], attributes["city"]) == ("pro", "Oslo")
    assert len(simulator.get("/_sim/people").json()["people"]) == 1


def test_the_suppressed_stay_away_until_they_are_not(cio: CustomerIO, simulator: httpx.Client) -> None:
    cio.identify(id="di")
    cio.suppress("di")
    cio.identify(id="di")
    assert simulator.get("/_sim/people").json()["people"] == []

    cio.unsuppress("di")
    cio.identify(id="di")
    assert person(simulator, "di")

    cio.delete("di")
    assert simulator.get("/_sim/people").json()["people"] == []


def test_a_wrong_key_is_refused(port: int) -> None:
    with pytest.raises(CustomerIOException, match="401"):
        client_for(port, "wrong").identify(id="eve")
