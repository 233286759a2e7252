"""The tap of a worker: one comparison a claim while it is not watched, and the fates that it copies while it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import orjson
import pytest

import lanes
import mapping
from console.live.rows import Row
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Rejected, Response, RetryLater
from lanes.taps.tap import Copy, Tap
from mapping.envelope import pack, unpack
from settings import Settings
from tests.taps import Unwatched
from workers import deliverer
from workers.runtime import Runtime

QUEUE = "demo"


class Api:
    """A Track API that answers each request with the same outcome."""

    def __init__(self) -> None:
        self.outcome: Outcome = Delivered()

    def send(self, request: Request) -> list[Outcome]:
        return [self.outcome] * len(request.items)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def runtime(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    built = Runtime.build(Settings(), fakeredis.FakeStrictRedis(), threading.Event())
    built.track_apis[QUEUE] = api  # type: ignore[index]
    monkeypatch.setattr(deliverer, "wake", lambda _name: None)
    yield built
    built.stopping.set()


@pytest.fixture
def tap(monkeypatch: pytest.MonkeyPatch) -> Tap:
    """A tap that is watched."""
    made = Tap(lambda: 1.0)
    made.watch(1)
    monkeypatch.setattr(deliverer, "tap", made)
    return made


def deliver(runtime: Runtime, *events: dict[str, Any]) -> None:
    """Append events and deliver them by one claim."""
    destination = runtime.destinations[QUEUE]
    new = []
    for number, event in enumerate(events):
        event = {"messageId": f"m{number}", "userId": f"u{number}", **event}
        info = mapping.ordering_info(event, destination)
        new.append(lanes.NewEvent(pack("web", event), info.keys, f"web:m{number}"))
    lanes.append(runtime.queues[QUEUE], new)
    deliverer.deliver_once(runtime, QUEUE, polling=False)


def fate(copy: Copy) -> tuple[Any, ...]:
    return tuple(copy.facts[name] for name in ("sequence", "fate", "reason", "text"))


TRACK = {"type": "track", "event": "Bought"}


def test_an_unwatched_tap_is_one_look_for_a_claim(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    unwatched = Unwatched()
    monkeypatch.setattr(deliverer, "tap", unwatched)

    deliver(runtime, *[TRACK] * 50)

    assert unwatched.looks == 1
    assert lanes.stats(runtime.queues[QUEUE]).delivered_total == 50
    assert not runtime.client.keys("segue:tap*")


def test_a_sent_event_is_copied_with_its_requests(runtime: Runtime, tap: Tap) -> None:
    deliver(runtime, TRACK)

    (copy,) = tap.taken()
    assert fate(copy) == (1, "sent", "", None)
    (item,) = copy.facts["items"]
    assert (item["action"], item["outcome"], item["reason"]) == ("trackEvent", "delivered", None)
    assert orjson.loads(copy.requests)[0]["name"] == "Bought"
    assert unpack(copy.event).event["event"] == "Bought"
    assert copy.facts["accepted_ms"] <= copy.facts["at_ms"]


def test_events_that_are_not_sent_are_copied_with_the_reason(runtime: Runtime, tap: Tap) -> None:
    deliver(runtime, {**TRACK, "integrations": {"All": False}}, {"type": "page", "properties": {}})

    assert {fate(copy)[:3] for copy in tap.taken()} == {
        (1, "filtered", "integrations.All is false"),
        (2, "dead", "invalid"),
    }


def test_a_refused_event_is_copied_as_a_dead_letter_with_the_message(runtime: Runtime, tap: Tap, api: Api) -> None:
    api.outcome = Rejected("no such person", Response(400, ""))

    deliver(runtime, TRACK)

    (copy,) = tap.taken()
    assert fate(copy)[1:3] == ("dead", "rejected")
    assert "no such person" in copy.facts["text"]
    assert [item["outcome"] for item in copy.facts["items"]] == ["rejected"]


def test_an_event_that_will_be_sent_again_is_copied_with_why(runtime: Runtime, tap: Tap, api: Api) -> None:
    api.outcome = RetryLater("HTTP 429", Response(429, ""), after_s=0)

    deliver(runtime, TRACK)

    (copy,) = tap.taken()
    assert fate(copy)[1] == "released"
    assert "429" in copy.facts["text"]


def test_a_shadow_event_is_copied_with_the_requests_that_would_be_sent(
    tap: Tap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "segue.toml").write_text(f'[destinations.{QUEUE}]\nsite_id = "s"\napi_key = "k"\nmode = "shadow"\n')
    monkeypatch.setenv("SEGUE_CONFIG", str(tmp_path / "segue.toml"))
    monkeypatch.setattr(deliverer, "wake", lambda _name: None)

    deliver(Runtime.build(Settings.load(), fakeredis.FakeStrictRedis(), threading.Event()), TRACK)

    (copy,) = tap.taken()
    assert fate(copy) == (1, "shadowed", "", None)
    assert [item["outcome"] for item in copy.facts["items"]] == ["shadowed"]
    assert orjson.loads(copy.requests)[0]["name"] == "Bought"


def test_one_event_in_so_many_is_copied_by_its_sequence(runtime: Runtime, tap: Tap) -> None:
    tap.watch(8)

    deliver(runtime, *[TRACK] * 40)

    assert sorted(copy.facts["sequence"] for copy in tap.taken()) == [8, 16, 24, 32, 40]


def test_an_event_that_cannot_be_read_becomes_a_dead_letter_and_holds_up_no_other(runtime: Runtime, tap: Tap) -> None:
    lanes.append(runtime.queues[QUEUE], [lanes.NewEvent(b"neither JSON nor Zstandard", ("id:1",), "web:damaged")])

    deliver(runtime, TRACK)

    stats = lanes.stats(runtime.queues[QUEUE])
    assert (stats.dead, stats.delivered_total, stats.claimed) == (1, 1, 0)
    copies = tap.taken()
    assert [(copy.facts["source"], copy.facts["fate"]) for copy in copies] == [("web", "sent"), ("", "dead")]
    row = Row("1", runtime.destinations, copies[1:])
    assert (row.event, row.name, row.keys, row.json()["event"]) == (None, "", (), None)
