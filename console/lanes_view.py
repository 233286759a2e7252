"""Why a person is waiting: the head of its lane, and whatever that waits for, step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import redis

import lanes
from mapping.event import unpack


def gather(client: redis.Redis, queue: str, key: str) -> dict[str, Any]:
    """Return `{"key", "destination", "length", "steps": [...]}`: the first step is the head of the lane, each waiting
    one is explained by the one after it. A lane of length 0 waits for nothing."""
    lane = lanes.inspect(client, queue, key)
    steps = lane.steps if lane else ()
    return {
        "key": key,
        "destination": queue,
        "length": lane.length if lane else 0,
        "steps": [_described(step) for step in steps],
    }


def render(lane: dict[str, Any]) -> Iterator[str]:
    """Yield the same as lines for people."""
    if not lane["length"]:
        yield f"{lane['destination']}: no event of {lane['key']} is waiting"
        return
    yield f"{lane['destination']}: {lane['length']:,} events of {lane['key']} are waiting; the first:"
    for depth, step in enumerate(lane["steps"]):
        what = f"#{step['sequence']} {step['type']} {step['name']}".rstrip()
        yield f"{'  ' * depth}{what}, accepted {step['age_s']:.0f} s ago: {step['why']}"


def _described(step: lanes.Step) -> dict[str, Any]:
    source, event, _ = unpack(step.body)
    return {
        "sequence": step.sequence,
        "state": step.state,
        "why": _why(step),
        "claim": step.claim,
        "age_s": max(0.0, time.time() - step.accepted_at_ms / 1000),
        "source": source,
        "type": event.get("type"),
        "name": event.get("event") or event.get("name") or "",
        "message_id": event.get("messageId"),
    }


def _why(step: lanes.Step) -> str:
    seconds = step.figure / 1000
    match step.state:
        case "ready":
            return f"ready for {seconds:.1f} s, no worker has taken it yet"
        case "delayed":
            return f"due in {seconds:.1f} s: it is being retried, or held"
        case "claimed":
            return f"being delivered (claim {step.claim}); its lease ends in {seconds:.1f} s"
        case "held":
            return f"a dead letter that holds its place: `segue dead show {step.sequence}`, then replay or skip it"
    return f"behind other events in {step.figure} lanes, of which this one:"
