"""What `segue lanes` prints: why the events of one ordering key wait and what was sent for it, and a verification."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import lanes
from console.output import counted
from console.session import setting_of
from delivery import log as delivery_log
from mapping.envelope import encoded, unpack

_MOST_SENT = 20
_STATIONS = ("claimed", "sent", "responded")


def gather(queue: lanes.Queue, key: str) -> dict[str, Any]:
    """Return `{"key", "destination", "length", "steps", "sent"}` of a lane.

    `steps` begins with the head of the lane; a step in state "waiting" waits for the next one. `length` 0 means that no
    event waits. `sent` has the items of the delivery log, the newest first.
    """
    lane = lanes.inspect(queue, key)
    steps = lane.steps if lane else ()
    return {
        "key": key,
        "destination": queue.name,
        "length": lane.length if lane else 0,
        "steps": [_step_json(step) for step in steps],
        "sent": [asdict(item) for item in delivery_log.sent_for(queue, lanes.digest(key), _MOST_SENT)],
    }


def render(lane: dict[str, Any]) -> Iterator[str]:
    """Yield the result of `gather` as lines for people; what was sent is in order of time."""
    yield from _waiting(lane)
    for sent in reversed(lane["sent"]):
        yield from _sent(sent)


def config_lines(destination: str, stored: lanes.QueueConfig | None, own: lanes.QueueConfig) -> Iterator[str]:
    """Yield a line for each queue-wide value: the stored one, and the one of this environment."""
    if stored is None:
        yield f"{destination}: no values are stored: no process has used the queue yet"
        return
    before = asdict(stored)
    for value, now in asdict(own).items():
        setting, (old, new) = setting_of(destination, value, before[value], now)
        yield f"{destination}: {setting} is {old} in Redis and {new} here" + ("" if old == new else "; it differs")


def changed_lines(destination: str, changes: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Yield a line for each value that was changed: name → (before, now)."""
    for value, (before, now) in changes.items():
        setting, (old, new) = setting_of(destination, value, before, now)
        yield f"{destination}: {setting} was {old} and is {new}"
    if not changes:
        yield f"{destination}: nothing to change"


def verification_json(destination: str, verification: lanes.Verification) -> dict[str, Any]:
    """Return `{"destination", "checked": {"events", "lanes", "claims", "dead_letters"}, "violations"}`; a violation is
    `{"object", "invariant", "text"}`.
    """
    violations = [
        {"object": violation.subject, "invariant": violation.invariant, "text": violation.text}
        for violation in verification.violations
    ]
    return {"destination": destination, "checked": verification.checked, "violations": violations}


def verification_lines(destination: str, verification: lanes.Verification) -> Iterator[str]:
    """Yield a line for each violation, and one with the figures."""
    for violation in verification.violations:
        yield f"{violation.subject}: {violation.text}"
    nouns = {"events": "event", "lanes": "lane", "dead_letters": "dead letter"}
    checked = ", ".join(counted(verification.checked[name], noun) for name, noun in nouns.items())
    number = len(verification.violations)
    yield f"queue {destination}: {checked} checked: {counted(number, 'violation') if number else 'nothing wrong'}"


def _waiting(lane: dict[str, Any]) -> Iterator[str]:
    if not lane["length"]:
        yield f"{lane['destination']}: no event of {lane['key']} is waiting"
        return
    yield f"{lane['destination']}: {lane['length']:,} events of {lane['key']} are waiting; the first:"
    for depth, step in enumerate(lane["steps"]):
        event = f"#{step['sequence']} {step['type']} {step['name']}".rstrip()
        yield f"{'  ' * depth}{event}, accepted {step['age_s']:.0f} s ago: {step['reason']}"


def _sent(sent: dict[str, Any]) -> Iterator[str]:
    """Yield two lines: the times and the response of one item, then its request."""
    accepted = datetime.fromtimestamp(sent["accepted_ms"] / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")
    offsets = {station: (sent[f"{station}_ms"] - sent["accepted_ms"]) / 1000 for station in _STATIONS}
    stations = ", ".join(f"{station} {seconds:+.3f} s" for station, seconds in offsets.items())
    response = sent["refusal"] or "accepted by Customer.io"
    item = f"#{sent['sequence']} {sent['message_id']} accepted {accepted[:-6]} UTC"
    yield f"{item}, {stations}, by {sent['worker']}: {response}"
    yield f"  {sent['path']} {encoded(sent['item']).decode()}"


def _step_json(step: lanes.Step) -> dict[str, Any]:
    source, event = unpack(step.body)[:2] if step.body else ("", {"name": "(erased)"})
    return {
        "sequence": step.sequence,
        "state": step.state,
        "reason": _reason(step),
        "claim": step.claim,
        "worker": step.by,
        "age_s": max(0.0, time.time() - step.accepted_at_ms / 1000),
        "source": source,
        "type": event.get("type"),
        "name": event.get("event") or event.get("name") or "",
        "message_id": event.get("messageId"),
    }


def _reason(step: lanes.Step) -> str:
    seconds = step.figure / 1000
    match step.state:
        case "ready":
            return f"ready for {seconds:.1f} s, no worker has claimed it yet"
        case "delayed":
            return f"due in {seconds:.1f} s: it is being retried, or in its cooldown"
        case "reordering":
            return f"waits {seconds:.1f} s more for earlier events"
        case "claimed":
            return f"being delivered by {step.by}; its lease ends in {seconds:.1f} s"
        case "blocking":
            return f"a dead letter that blocks its lane: `segue dead show {step.sequence}`, then replay or skip it"
    return f"behind other events in {step.figure} lanes; one of them:"
