"""`/_sim/…` refuses what a web page of another site can send."""

from __future__ import annotations

import pytest

from simulator.origin import refusal
from tests.unit.simulator.conftest import Running

JSON = (b"content-type", b"application/json; charset=utf-8")
FORMS = [b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data", b""]


@pytest.mark.parametrize("host", ["localhost", "localhost:8090", "127.0.0.1:8090", "[::1]:8090", "10.0.0.7"])
def test_the_address_of_this_machine_is_served(host: str) -> None:
    assert refusal("GET", [(b"host", host.encode())]) is None
    assert refusal("POST", [(b"host", host.encode()), JSON]) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a@b"]
)
def test_a_name_that_leads_here_is_refused(host: str) -> None:
    for method in ("GET", "POST"):
        refused = refusal(method, [(b"host", host.encode()), JSON])
        assert refused is not None
        assert refused.status == 421


@pytest.mark.parametrize("content_type", FORMS)
def test_a_change_without_json_is_refused(content_type: bytes) -> None:
    headers = [(b"host", b"localhost"), (b"content-type", content_type)]

    refused = refusal("POST", headers)

    assert refused is not None
    assert refused.status == 415
    assert refusal("GET", headers) is None


def test_the_process_refuses_and_keeps_its_data(running: Running) -> None:
    person = {"type": "person", "action": "identify", "identifiers": {"id": "ada"}}
    assert running.http.post("/api/v2/entity", json=person).status_code == 200

    reset = running.http.post("/_sim/reset", content="{}", headers={"content-type": "text/plain"})
    read = running.http.get("/_sim/people", headers={"host": "evil.example"})

    assert (reset.status_code, read.status_code) == (415, 421)
    assert len(running.http.get("/_sim/people").json()["people"]) == 1
