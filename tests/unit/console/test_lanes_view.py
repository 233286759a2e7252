"""`segue lanes show`: what the events of a person wait for, the person's dead letters, and what is refused as a key."""

from __future__ import annotations

import json
import re
import time

import pytest
import redis
from typer.testing import CliRunner

import lanes
from console import cli
from dead_letters import record
from delivery import log as delivery_log
from delivery.batching import Item, Request
from delivery.outcomes import Delivered
from lanes.keys import ADMISSION, EVENT, READY
from mapping.envelope import pack
from mapping.operation import BATCH_PATH
from tests.queues import queue_of
from workers import heartbeat

runner = CliRunner()


def append_one(store: redis.Redis, key: str = "id:42") -> None:
    event = lanes.NewEvent(pack("demo", {"type": "track", "event": "Bought"}), (key,), "m1")
    lanes.append(queue_of(store, "demo"), [event])


def shown(key: str) -> list[str]:
    return runner.invoke(cli.app, ["lanes", "show", key], env={"COLUMNS": "200"}).stdout.splitlines()


def test_lanes_show_names_an_open_breaker_and_a_pause_with_the_next_probe(store: redis.Redis) -> None:
    append_one(store)
    heartbeat.send(store)
    now_ms = int(time.time() * 1000)
    stop = {"state": "open", "reason": "HTTP 503", "since": now_ms, "reason_at": now_ms, "probe_at": now_ms + 60_000}
    store.hset(ADMISSION.of("demo"), mapping=stop | {"throttled": 3, "throttled_at": 1_767_614_400_000})

    lines = shown("id:42")
    store.hset(ADMISSION.of("demo"), mapping={"state": "paused", "reason": "HTTP 401"})
    paused = shown("id:42")

    assert re.search(r"nothing is sent: breaker open, next probe in (60|59) s: HTTP 503$", lines[1])
    assert lines[2].startswith("demo: breaker open since 20")
    assert lines[3] == "demo: 3 responses 429, the last one at 2026-01-05 12:00:00Z"
    assert "nothing is sent: paused, next probe in " in paused[1]


def test_lanes_show_takes_an_event_that_cannot_be_read(store: redis.Redis) -> None:
    lanes.append(queue_of(store, "demo"), [lanes.NewEvent(b"neither JSON nor Zstandard", ("id:42",), "m1")])
    heartbeat.send(store)

    lines = shown("id:42")

    assert lines[0] == "demo: 1 events of id:42 are waiting; the first:"
    assert re.match(r"#1 \(unreadable\), accepted \d+ s ago: ready for", lines[1])


def test_lanes_show_names_an_event_without_a_record(store: redis.Redis) -> None:
    append_one(store)
    store.hdel(EVENT.of("demo"), "1")

    line = shown("id:42")[1]

    assert line == "#1: its record is missing: the next claim sets it aside, and frees those behind it"


def test_lanes_show_distinguishes_what_delays_an_event(store: redis.Redis) -> None:
    append_one(store)
    queue = queue_of(store, "demo")
    line = record.attempt(0.0, "HTTP 500", "worker")
    for release in (lanes.Release(1, 60_000), lanes.Release(1, 60_000, line)):
        store.zadd(READY.of("demo"), {"1": 0})
        claim = lanes.claim(queue, lease_ms=9_000, max_events=1, max_bytes=10**6, max_depth=1, poll_ms=0)
        lanes.settle(queue, claim.id, released=[release])
        if not release.attempt:
            assert shown("id:42")[1].endswith(
                "s: an event before it has a cooldown, or it was returned without an attempt"
            )

    assert shown("id:42")[1].endswith("s: it is sent again after 1 attempt, the last one: HTTP 500")


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("42", "42 is no ordering key; it must begin with one of id:, email:,"),
        ("user_id:42", "user_id:42 is no ordering key;"),
        ("email:JO@example.com", "email:JO@example.com must be in lower case, email:jo@example.com"),
    ],
)
@pytest.mark.usefixtures("store")
def test_lanes_show_refuses_what_no_event_has_as_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, key: str, fault: str
) -> None:
    monkeypatch.setattr("sys.argv", ["segue", "lanes", "show", key])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert fault in capsys.readouterr().err


def test_lanes_show_lists_the_dead_letters_of_the_person(store: redis.Redis) -> None:
    queue = queue_of(store, "demo")
    for number, key in enumerate(("id:42", "id:7"), start=1):
        lanes.append(queue, [lanes.NewEvent(pack("demo", {"type": "track", "event": "x"}), (key,), f"m{number}")])
    claim = lanes.claim(queue, lease_ms=9_000, max_events=9, max_bytes=10**6, max_depth=1, poll_ms=0)
    failure = record.FailureRecord(
        reason=record.Reason.REJECTED, message="name: too long", faults=(), buried_at_ms=1_767_614_400_000
    )
    burials = [lanes.Burial(event.sequence, failure.to_bytes()) for event in claim.events]
    lanes.settle(queue, claim.id, buried=burials)

    (lane,) = json.loads(runner.invoke(cli.app, ["lanes", "show", "id:42", "--json"]).stdout)

    assert [found["sequence"] for found in lane["dead_letters"]] == [1]
    assert shown("id:42") == [
        "demo: no event of id:42 is waiting",
        "demo: 1 dead letter of id:42; the last:",
        "  #1 rejected, 2026-01-05 12:00:00Z: name: too long",
    ]


def test_lanes_show_says_that_what_was_accepted_will_not_be_applied(store: redis.Redis) -> None:
    event = lanes.ClaimedEvent(7, 0, 0, 0, 1_700_000_000_000, (lanes.digest("id:42"),), b"")
    recorder = delivery_log.Recorder(queue_of(store, "demo"), lanes.Claim("c", (event,), None, False), "worker")
    item = Item(7, 0, "createUpdatePerson", "update", "", b"{}", "web:m7", unapplied="address_conflict")
    recorder.recording(lambda _: [Delivered()])(Request(BATCH_PATH, (item,)))
    recorder.write()

    lines = shown("id:42")

    text = "accepted, but will not be applied: the e-mail address belongs to another person"
    assert lines[1].endswith(f": {text}")
