"""The tap of ingest: one comparison an append while it is not watched, and what it copies while it is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import fakeredis
import orjson
import pytest

import lanes
import mapping
from ingest.access.sources import Source
from ingest.calls import Calls
from ingest.counters import Counters
from ingest.errors import Refusal
from ingest.tap import IngestTap
from lanes import suppression
from lanes.taps.tap import Copy
from mapping.envelope import unpack
from settings import Settings
from tests.queues import queue_of
from tests.secrets import CREDENTIALS
from tests.taps import Unwatched
from tests.unit.ingest.json_entries import json_entries
from tests.unit.ingest.queues.test_group_commit import entry, event, group_commit_of

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def watched() -> IngestTap:
    tap = IngestTap(lambda: 1.0)
    tap.watch(1)
    return tap


def appended(tap: Any, *groups: list[dict[str, Any]]) -> list[str]:
    """Append groups of events, each in one request; return the commands that Redis got."""
    client, sent = fakeredis.FakeAsyncRedis(), list[str]()
    execute = client.execute_command

    async def recorded(*command: Any, **options: Any) -> Any:
        sent.append(str(command[0]))
        return await execute(*command, **options)

    client.execute_command = recorded

    async def run() -> None:
        commits = group_commit_of(client, tap=tap)
        for group in groups:
            await commits.append([entry(commits, each) for each in group])

    asyncio.run(run())
    return sent


def facts(copy: Copy) -> tuple[Any, ...]:
    return tuple(copy.facts[name] for name in ("destination", "sequence", "fate", "source"))


def test_an_unwatched_tap_is_one_look_for_each_append_whatever_its_number_of_events() -> None:
    tap = Unwatched()

    appended(tap, [event(f"m{number}") for number in range(100)], [event("one more")])

    assert tap.looks == 2


def test_a_request_sends_no_other_command_when_the_tap_is_watched() -> None:
    """Copies are written by the tick, not by requests."""
    groups = [[event("a"), event("b")], [event("c")]]

    assert appended(watched(), *groups) == appended(Unwatched(), *groups)


def test_accepted_events_and_duplicates_are_copied_with_their_results() -> None:
    tap = watched()

    appended(tap, [event("a"), event("b")], [event("a")])

    copies = tap.taken()
    assert [facts(copy) for copy in copies] == [
        ("d", 1, "accepted", "web"),
        ("d", 2, "accepted", "web"),
        ("d", None, "duplicates", "web"),
    ]
    assert unpack(copies[0].event).event == event("a")


def test_events_of_suppressed_people_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "FRESH_S", 0.0)
    server, tap = fakeredis.FakeServer(), watched()
    operator = fakeredis.FakeRedis(server=server)

    async def run() -> None:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(server=server), tap=tap)
        suppression.suppress(queue_of(operator, "d"), [lanes.digest("id:1")])
        await commits.append([entry(commits, event("a")), entry(commits, event("b", userId="2"))])

    asyncio.run(run())

    assert [facts(copy)[2] for copy in tap.taken()] == ["suppressed", "accepted"]


def test_refused_events_are_copied_with_the_reason_and_requests_without_an_event() -> None:
    counters = Counters()
    counters.tap = watched()
    source = Source(name="web", write_key="w", destinations=["d"])
    destinations = mapping.destinations({"destinations": {"d": CREDENTIALS}})
    calls = Calls([source], json_entries, counters, Settings(), destinations)
    bad = {"type": "track", "userId": "1"}

    calls.read_call("batch", "Bearer w", orjson.dumps({"batch": [bad, {**bad, "event": "x"}]}), NOW)
    counters.refuse(Refusal(429, "the queue is full"), "web")

    event_refused, request_refused = counters.tap.taken()
    assert event_refused.facts | {"at_ms": 0} == {
        "at_ms": 0,
        "destination": None,
        "sequence": None,
        "fate": "refused",
        "source": "web",
        "reason": "HTTP 400",
        "text": event_refused.facts["text"],
    }
    assert "event" in event_refused.facts["text"]
    assert orjson.loads(event_refused.event) == bad
    assert (request_refused.facts["reason"], request_refused.event) == ("HTTP 429", b"")


def test_a_refused_event_that_cannot_be_written_is_copied_without_it() -> None:
    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    tap = watched()

    tap.refused(Refusal(400, "no"), "web", {"properties": deep})
    tap.refused(Refusal(400, "no"), "web", ["no event"])

    assert [copy.event for copy in tap.taken()] == [b"", b""]
