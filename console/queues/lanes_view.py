"""What `segue lanes` prints: why the events of one ordering key wait and what was sent for it, and a verification."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import lanes
import mapping
from console.output import counted, utc
from console.queues import ordering_key, why
from console.session import Session, setting_of
from console.state import available, deliveries, events, history
from dead_letters import query
from dead_letters.record import DeadLetter, reason_of
from delivery.unapplied import REASONS
from mapping.envelope import encoded

_MOST_SENT = 20
_MOST_DEAD, _MOST_DEAD_PRINTED = 100, 5
_STATIONS = ("claimed", "sent", "responded")


def gather(session: Session, names: Iterable[str], key: str) -> list[dict[str, Any]]:
    """Return `{"key", "destination", "length", "deliveries", "steps", "why", "dead_letters", "dead_letter_count",
    "sent"}` of the lane at each destination whose events may have the key, which may be given
    by its digest.

    `deliveries` is that of `console.state.deliveries`. `steps` begins with the head of the lane; a step in state
    "waiting" waits for the next one. `why` is the graph of `console.queues.why`. `length` 0 means that no event waits.
    `dead_letters` are the last 100 with the key, each as `{"sequence", "reason", "message", "buried_at_ms", "blocks"}`.
    `sent` has the last items that were sent, and the decisions by which nothing was sent, the newest first, as
    `console.state.history.all_for` has them.

    Raises CommandError: no event may have the key.
    """
    workers = available.workers(session.client)
    destinations = [session.destinations[name] for name in names]
    faults = ordering_key.faults("KEY", key, (each.identifiers for each in destinations))
    return [
        _lane(session, destination, key, workers)
        for destination, fault in zip(destinations, faults, strict=True)
        if fault is None
    ]


def _lane(session: Session, destination: mapping.Destination, key: str, workers: int | None) -> dict[str, Any]:
    queue = session.queue(destination.name)
    digest = ordering_key.digest(key)
    lane, row = lanes.inspect(queue, digest), deliveries.gather(queue, destination.delivery, workers)
    dead_letters, dead_letter_count = query.last_of_key(queue, digest, _MOST_DEAD)
    stop = deliveries.stop(row)
    return {
        "key": key,
        "destination": queue.name,
        "length": lane.length if lane else 0,
        "deliveries": row,
        "steps": [_step_json(queue, step, stop) for step in (lane.steps if lane else ())],
        "why": why.gather(queue, digest, lane.length if lane else 0, stop),
        "dead_letters": [_dead_json(dead_letter) for dead_letter in dead_letters],
        "dead_letter_count": dead_letter_count,
        "sent": history.all_for(session, queue, digest, _MOST_SENT),
    }


def render(lane: dict[str, Any]) -> Iterator[str]:
    """Yield the result of `gather` as lines for people; what was sent is in order of time."""
    yield from _waiting(lane)
    yield from _dead(lane)
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
        event = " ".join(filter(None, (f"#{step['sequence']}", step["type"], step["name"])))
        age = "" if step["age_s"] is None else f", accepted {step['age_s']:.0f} s ago"
        yield f"{'  ' * depth}{event}{age}: {step['reason']}"
    for line in deliveries.lines(lane["deliveries"]):
        yield f"{lane['destination']}: {line}"


def _dead(lane: dict[str, Any]) -> Iterator[str]:
    """Yield how many dead letters have the key, and a line for each of the last ones."""
    found = lane["dead_letters"]
    if found:
        yield f"{lane['destination']}: {counted(lane['dead_letter_count'], 'dead letter')} of {lane['key']}; the last:"
    for dead_letter in found[-_MOST_DEAD_PRINTED:]:
        blocking = ", blocks its lanes" if dead_letter["blocks"] else ""
        when = f"#{dead_letter['sequence']} {dead_letter['reason']}{blocking}, {utc(dead_letter['buried_at_ms'])}"
        yield f"  {when}: {dead_letter['message']}"


def _sent(sent: dict[str, Any]) -> Iterator[str]:
    """Yield two lines: the times and the response of one item, then its request; of a decision one line."""
    accepted = datetime.fromtimestamp(sent["accepted_ms"] / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")
    is_decision = sent["path"] is None
    names = _STATIONS[:1] if is_decision else _STATIONS
    offsets = {station: (sent[f"{station}_ms"] - sent["accepted_ms"]) / 1000 for station in names}
    stations = ", ".join(f"{station} {seconds:+.3f} s" for station, seconds in offsets.items())
    response = sent["refusal"] or _accepted(sent["unapplied"])
    if is_decision:
        response = ": ".join(dict.fromkeys((sent["outcome"], sent["refusal"])))
    item = f"#{sent['sequence']} {sent['message_id']} accepted {accepted[:-6]} UTC"
    yield f"{item}, {stations}, by {sent['worker']}: {response}"
    if not is_decision:
        yield f"  {sent['path']} {encoded(sent['item']).decode()}"


def _dead_json(dead_letter: DeadLetter) -> dict[str, Any]:
    failure = dead_letter.failure
    return {
        "sequence": dead_letter.sequence,
        "reason": failure.reason,
        "message": failure.message,
        "buried_at_ms": failure.buried_at_ms,
        "blocks": dead_letter.blocks,
    }


def _accepted(unapplied: str | None) -> str:
    if unapplied is None:
        return "accepted by Customer.io"
    return f"accepted, but will not be applied: {REASONS.get(unapplied, unapplied)}"


def _step_json(queue: lanes.Queue, step: lanes.Step, stop: str | None) -> dict[str, Any]:
    is_missing = step.state == "missing"
    return {
        "sequence": step.sequence,
        "state": step.state,
        "reason": _reason(queue, step, stop),
        "claim": step.claim,
        "worker": step.by,
        "age_s": None if is_missing else max(0.0, time.time() - step.accepted_at_ms / 1000),
        **events.names(step.body),
        **({"name": ""} if is_missing else {}),
    }


def _reason(queue: lanes.Queue, step: lanes.Step, stop: str | None) -> str:
    """Return what a step waits for. `stop`: why no event is sent at this time."""
    seconds = step.figure / 1000
    match step.state:
        case "ready":
            why = f"nothing is sent: {stop}" if stop else "no worker has claimed it yet"
            return f"ready for {seconds:.1f} s, {why}"
        case "delayed":
            return f"due in {seconds:.1f} s: {_delay(lanes.delay_of(queue, step.sequence))}"
        case "reordering":
            return f"waits {seconds:.1f} s more for earlier events"
        case "claimed":
            return f"being delivered by {step.by}; its lease ends in {seconds:.1f} s"
        case "blocking":
            return f"a dead letter that blocks its lane: `segue dead show {step.sequence}`, then replay or skip it"
        case "missing":
            return "its record is missing: the next claim sets it aside, and frees those behind it"
    return f"behind other events in {step.figure} lanes; one of them:"


def _delay(delay: lanes.Delay) -> str:
    if delay.attempts:
        last = reason_of(delay.attempts[-1])
        return f"it is sent again after {counted(len(delay.attempts), 'attempt')}, the last one: {last}"
    if delay.has_cooldown:
        return "it is in its cooldown"
    return "an event before it has a cooldown, or it was returned without an attempt"
