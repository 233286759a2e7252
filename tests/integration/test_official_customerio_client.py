"""The official `customerio` client, unchanged but for its address, against the simulator over a real socket.

It always speaks TLS; this test changes only the scheme of its addresses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from customerio import CustomerIO, CustomerIOException

from tests.pipeline import free_port, wait_until
from tests.secrets import PAIRS, SIMULATOR

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


class OverHttp(CustomerIO):  # type: ignore[misc]
    """The client with `http` for `https`."""

    def send_request(self, method: str, url: str, data: dict[str, Any]) -> Any:
        return super().send_request(method, url.replace("https://", "http://", 1), data)


class World:
    """A simulator and a client of each of its APIs."""

    def __init__(self, port: int) -> None:
        site, key = PAIRS[0]
        self.client = OverHttp(site, key, host="127.0.0.1", port=port)
        self.intruder = OverHttp(site, "wrong", host="127.0.0.1", port=port)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {key}"})

    def answers(self) -> bool:
        try:
            return self.http.get("/_sim/stats").is_success
        except httpx.TransportError:
            return False

    def people(self) -> list[dict[str, Any]]:
        people: list[dict[str, Any]] = self.http.get("/_sim/people").json()["people"]
        return people

    def person(self) -> dict[str, Any]:
        (person,) = self.people()
        return person

    def deeds(self) -> list[tuple[str, str]]:
        return [(event["type"], event["name"]) for event in self.person()["events"]]


@pytest.fixture(scope="module")
def process() -> Iterator[World]:
    port = free_port()
    simulator = subprocess.Popen([sys.executable, "-m", "simulator", "--port", str(port)], env=os.environ | SIMULATOR)
    world = World(port)
    wait_until(world.answers, "the simulator answers")
    yield world
    for client in (world.client, world.intruder, world.http):
        client.close()
    simulator.terminate()
    simulator.wait(timeout=10)


@pytest.fixture
def world(process: World) -> World:
    """A workspace without people."""
    process.http.post("/_sim/reset", json={})
    return process


def test_identify_makes_and_updates_a_person(world: World) -> None:
    born = datetime(2026, 1, 1, tzinfo=UTC)
    world.client.identify(id="ada / lovelace", email="ada@example.com", plan="free", created_at=born)
    world.client.identify(id="ada / lovelace", plan="pro", score=float("nan"))
    person = world.person()
    assert (person["id"], person["email"]) == ("ada / lovelace", "ada@example.com")
    assert person["attributes"] == {"plan": "pro", "created_at": int(born.timestamp())}


def test_events_pages_and_history_are_attached_to_the_person(world: World) -> None:
    world.client.track(customer_id="ada", name="Bought", data={"sum": 3}, id=ULID)
    world.client.track(customer_id="ada", name="Bought", data={"sum": 3}, id=ULID)
    world.client.pageview(customer_id="ada", page="/pricing", referrer="/")
    world.client.backfill(customer_id="ada", name="Signed up", timestamp=datetime(2024, 3, 5, tzinfo=UTC), plan="free")
    assert world.deeds() == [("event", "Bought"), ("page", "/pricing"), ("event", "Signed up")]
    assert world.person()["events"][2]["timestamp"] == datetime(2024, 3, 5, tzinfo=UTC).timestamp()


def test_what_a_visitor_did_belongs_to_who_they_turn_out_to_be(world: World) -> None:
    world.client.track_anonymous(anonymous_id="visitor", name="Looked", data={"at": "shoes"})
    assert world.people() == []
    world.client.identify(id="ada", anonymous_id="visitor")
    assert world.deeds() == [("event", "Looked")]


def test_devices_come_and_go(world: World) -> None:
    world.client.add_device(customer_id="ada", device_id="a/b", platform="ios", last_used=1_700_000_000)
    assert world.person()["devices"] == [{"token": "a/b", "platform": "ios", "last_used": 1_700_000_000}]
    world.client.delete_device(customer_id="ada", device_id="a/b")
    assert world.person()["devices"] == []


def test_a_merge_leaves_one_person(world: World) -> None:
    world.client.identify(id="ada", plan="pro")
    world.client.identify(id="older", plan="free", city="London")
    world.client.merge_customers("id", "ada", "id", "older")
    assert {"plan": "pro", "city": "London"}.items() <= world.person()["attributes"].items()


def test_deletion_and_suppression(world: World) -> None:
    world.client.identify(id="ada")
    world.client.delete(customer_id="ada")
    assert world.people() == []
    world.client.suppress(customer_id="ada")
    world.client.identify(id="ada")
    assert world.people() == []
    world.client.unsuppress(customer_id="ada")
    world.client.identify(id="ada")
    assert world.person()["id"] == "ada"


def test_a_batch_is_taken_item_by_item(world: World) -> None:
    good = {"type": "person", "action": "identify", "identifiers": {"id": "ada"}, "attributes": {"plan": "pro"}}
    answer = world.client.batch([good, good | {"action": "fly"}])
    assert (answer.status_code, answer.json()["errors"][0]["batch_index"]) == (207, 1)
    assert world.person()["id"] == "ada"


def test_what_was_written_is_read_through_the_app_api(world: World) -> None:
    world.client.identify(id="ada", email="ada@example.com", age=36)
    (found,) = world.http.get("/v1/customers", params={"email": "ada@example.com"}).json()["results"]
    assert found["id"] == "ada"
    shown = world.http.get(f"/v1/customers/{found['cio_id']}/attributes", params={"id_type": "cio_id"}).json()
    assert shown["customer"]["attributes"]["age"] == "36"


def test_the_client_tells_of_wrong_credentials_and_of_bad_calls(world: World) -> None:
    with pytest.raises(CustomerIOException, match=r"^401: .*Unauthorized request"):
        world.intruder.identify(id="ada")
    with pytest.raises(CustomerIOException, match=r"^400: .*platform"):
        world.client.add_device(customer_id="ada", device_id="t", platform="web")
    assert world.people() == []
