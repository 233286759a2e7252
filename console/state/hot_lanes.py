"""The hot lanes of a queue, each with its ordering key."""

from __future__ import annotations

from typing import Any

import lanes
import mapping
from mapping.envelope import readable


def gather(
    queue: lanes.Queue, destination: mapping.Destination, hot: tuple[lanes.HotLane, ...]
) -> list[dict[str, Any]]:
    """Return `[{"digest", "length", "key"}]`. `key` is null when the first event of the lane does not name it: it has
    the key by a merge, or by another configuration."""
    return [
        {"digest": lane.digest.hex(), "length": lane.length, "key": _key(queue, destination, lane.digest)}
        for lane in hot
    ]


def line(lane: dict[str, Any]) -> str:
    """Return what is to be said of a hot lane."""
    key = f"the ordering key {lane['key']}" if lane["key"] else "one ordering key"
    advice = "if they belong to different people, add the key to ignored_keys; the events that wait keep it"
    return f"hot lane: {lane['length']:,} events share {key} (digest {lane['digest']}); {advice}"


def _key(queue: lanes.Queue, destination: mapping.Destination, digest: bytes) -> str | None:
    for first in lanes.lane_events(queue, digest, most=1):
        _, event = readable(first.body)
        return next((key for key in mapping.ordering_keys(event, destination) if lanes.digest(key) == digest), None)
    return None
