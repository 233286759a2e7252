"""The hot lanes of `segue status`: the ordering key of each, as its first event names it."""

from __future__ import annotations

import redis

import lanes
import mapping
from console.state import hot_lanes
from mapping.envelope import pack
from tests.queues import queue_of
from tests.secrets import CREDENTIALS

DEMO = mapping.destinations({"destinations": {"demo": CREDENTIALS}})["demo"]


def key_of(store: redis.Redis, body: bytes) -> str | None:
    queue = queue_of(store, "demo")
    lanes.append(queue, [lanes.NewEvent(body, ("id:jo",), "m1")])
    (found,) = hot_lanes.gather(queue, DEMO, (lanes.HotLane(lanes.digest("id:jo"), 1000),))
    key: str | None = found["key"]
    return key


def test_the_first_event_names_the_key(store: redis.Redis) -> None:
    assert key_of(store, pack("web", {"type": "track", "event": "x", "userId": "jo"})) == "id:jo"


def test_an_event_that_cannot_be_read_names_none(store: redis.Redis) -> None:
    assert key_of(store, b"neither JSON nor Zstandard") is None
