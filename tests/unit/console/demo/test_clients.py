"""The clients of the demo: every event is sent once, with a time of its own, and a refusal ends the demo."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from console.demo import clients
from console.demo.clients import Clients
from console.errors import CommandError

EVENTS = [{"messageId": str(number)} for number in range(60)]


@pytest.fixture(autouse=True)
def _without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_LONGEST_DELAY_S", 0)


def sent_to(ingest: httpx.Client) -> int:
    """Send EVENTS; return how many were accepted when all requests ended."""
    with ingest, Clients(ingest, EVENTS, seed=1) as sending:
        deadline = time.monotonic() + 30
        while (sent := sending.sent) < len(EVENTS) and time.monotonic() < deadline:
            time.sleep(0.001)
        return sent


def test_every_event_is_sent_once_and_happens_after_the_one_before() -> None:
    received: list[dict[str, Any]] = []

    def accept(request: httpx.Request) -> httpx.Response:
        received.extend(json.loads(request.content)["batch"])
        return httpx.Response(200)

    assert sent_to(httpx.Client(base_url="http://ingest", transport=httpx.MockTransport(accept))) == len(EVENTS)

    received.sort(key=lambda event: event["timestamp"])
    assert [event["messageId"] for event in received] == [event["messageId"] for event in EVENTS]
    assert len({event["timestamp"] for event in received}) == len(EVENTS)


def test_a_refusal_ends_the_demo() -> None:
    refusing = httpx.MockTransport(lambda _: httpx.Response(400, text="no"))

    with pytest.raises(CommandError, match="HTTP 400: no"):
        sent_to(httpx.Client(base_url="http://ingest", transport=refusing))
