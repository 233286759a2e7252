"""`segue test --from-ledger`: cases of recorded events, without personal data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import orjson
import pytest
import redis

import lanes
from console.cases.pseudonyms import Pseudonyms
from mapping.envelope import pack
from series.recent_events import RecentEvents
from tests.queues import queue_of
from tests.unit.console.cases.configured import LEAD, run

RECORDED: dict[str, Any] = LEAD | {
    "messageId": "m-1",
    "anonymousId": "6d1ff5b4-9a5c-4d6e-8f3a-1f6f0d6c8e55",
    "properties": {"email": "jo@acme.io", "plan": "trial", "note": "call Jo Doe", "phone": 4915112345678, "seats": 3},
    "context": {"ip": "8.8.4.4", "library": {"name": "analytics.js"}, "page": {"url": "https://acme.io/jo?t=1"}},
    "timestamp": "2026-03-04T05:06:07.000Z",
    "receivedAt": "2026-03-04T05:06:08.000Z",
}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    with fakeredis.FakeRedis() as client:
        monkeypatch.setattr(redis.Redis, "from_url", lambda *_, **__: client)
        yield client


def keep(client: redis.Redis, event: dict[str, Any], source: str = "web") -> None:
    RecentEvents().keep(queue_of(client, "journeys"), [lanes.ClaimedEvent(1, 0, 0, 0, 0, (), pack(source, event))])


def bury(client: redis.Redis, event: dict[str, Any]) -> None:
    failure = {"class": "rejected", "message": "no", "faults": [], "buried_at_ms": 1_700_000_000_000}
    buried = lanes.ImportedDeadLetter(None, 1, ("id:u1",), pack("app", event), orjson.dumps(failure))
    lanes.import_dead_letters(queue_of(client, "journeys"), [buried])


def test_recorded_events_become_cases_that_pass_without_personal_data(client: redis.Redis, cases: Path) -> None:
    keep(client, RECORDED)

    result = run("--from-ledger", "5", cases)

    assert result.exit_code == 0, result.exception
    assert result.stdout.splitlines()[0] == "cases/track-lead-captured-1.json"
    assert "1 case with pseudonyms in place of personal data; look through them before you commit" in result.stdout
    text = (cases / "track-lead-captured-1.json").read_text()
    assert not [value for value in ("jo@", "Jo", "u1", "6d1f", "8.8.4", "acme", "4915", "m-1") if value in text]
    written = json.loads(text)
    assert (written["source"], written["expect"]["fates"]) == ("web", {"journeys": "sent", "archive": "filtered"})
    assert written["event"]["properties"]["plan"] == "trial"  # the configuration compares with it
    assert written["event"]["properties"]["seats"] == 3
    assert run("cases").stdout == "1 case in 1 file: 1 passed, 0 failed\n"


def test_the_newest_events_and_dead_letters_come_first_and_files_stay(client: redis.Redis, cases: Path) -> None:
    bury(client, RECORDED | {"event": "Old", "messageId": "m-0", "receivedAt": "2026-03-03T00:00:00.000Z"})
    bury(client, RECORDED | {"event": "Dead", "messageId": "m-2", "receivedAt": "2026-03-05T00:00:00.000Z"})
    keep(client, RECORDED, source="gone")
    run("--from-ledger", "2", cases)
    before = {path: path.read_bytes() for path in cases.iterdir()}

    run("--from-ledger", "2", cases)

    assert sorted(path.name for path in before) == ["track-dead-1.json", "track-lead-captured-1.json"]
    assert "source" not in json.loads((cases / "track-lead-captured-1.json").read_text())
    assert len(list(cases.iterdir())) == 4
    assert {path: path.read_bytes() for path in before} == before
    assert run("cases").exit_code == 0


def test_a_value_has_the_same_pseudonym_everywhere_in_the_form_that_mappings_need() -> None:
    pseudonyms = Pseudonyms({"pro"})
    first, second = (
        pseudonyms.event({"type": "identify", "userId": user, "traits": traits})
        for user, traits in (
            ("jo@x.com", {"id": "jo@x.com", "born": "1990-01-02", "at": "2026-01-02T03:04:05Z", "plan": "pro"}),
            (
                "123456",
                {"manager": "jo@x.com", "cio": "cio_f00", "created": 1_700_000_000, "tags": ["vip"], "on": True},
            ),
        )
    )

    assert first == {
        "type": "identify",
        "userId": "person-1@example.com",
        "traits": {"id": "person-1@example.com", "born": "2000-01-01", "at": "2026-01-02T03:04:05Z", "plan": "pro"},
    }
    assert second["userId"].isdecimal()
    assert second["userId"] != "123456"
    assert second["traits"] == {
        "manager": "person-1@example.com",
        "cio": "cio_3",
        "created": 1_700_000_000,
        "tags": ["text-4"],
        "on": True,
    }


def test_options_of_integrations_keep_their_names_alone() -> None:
    event = {"type": "track", "integrations": {"All": False, "Customer.io": {"email": "jo@acme.io", "on": True}}}

    assert Pseudonyms().event(event)["integrations"] == {
        "All": False,
        "Customer.io": {"email": "person-1@example.com", "on": True},
    }
