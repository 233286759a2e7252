"""Why the events of a person wait: the graph, and a sentence about its cause. Pages and commands show the same."""

from __future__ import annotations

import re
import time
from typing import Any, Final

import lanes
from console.output import counted
from console.queues import lane_graph
from console.queues.lane_graph import Graph, GraphEvent
from dead_letters.record import reason_of
from mapping.envelope import name_of, readable, type_of

_STATUS: Final = re.compile(r"HTTP \d{3}")


def gather(queue: lanes.Queue, digest: bytes, length: int, stop: str | None) -> dict[str, Any] | None:
    """Return `{"cause", "subject", "reason", "last_attempt", "events", "edges", "unread"}` of the ordering key with
    this digest; None when no event waits. `length`: how many wait; `stop`: why nothing is sent at this time.

    `cause` is the number of the event for which the others wait. `subject` and `reason` are the parts of a sentence
    about it; `last_attempt` is why its last attempt failed, null without one. An event is `{"sequence", "type", "name",
    "source", "message_id", "age_s", "state", "due_in_ms", "worker", "depth", "is_own", "is_cause"}`, an edge
    `{"before", "after", "key", "is_direct"}`: `key` is the digest of an ordering key; events are between those of an
    edge that is not direct. `unread` is the number of further events of the key.
    """
    found = lane_graph.read(queue, digest) if length else None
    if found is None or found.cause is None:
        return None
    cause = next(each for each in found.events if each.event.sequence == found.cause)
    delay = lanes.delay_of(queue, found.cause) if cause.event.state == "delayed" else None
    last_attempt = reason_of(delay.attempts[-1]) if delay and delay.attempts else None
    return {
        "cause": found.cause,
        "subject": _subject(cause, length),
        "reason": _reason(cause.event, delay, stop),
        "last_attempt": last_attempt,
        "events": [_event_json(each, found.cause) for each in found.events],
        "edges": _edges_json(found),
        "unread": found.unread,
    }


def sentence(why: dict[str, Any]) -> str:
    """Return the result of `gather` as a sentence."""
    last, reason = why["last_attempt"], why["reason"]
    if last is None:
        return f"{why['subject']}: {reason}."
    response = (
        f"that Customer.io answered with {last}" if _STATUS.match(last) else f"whose last attempt failed ({last})"
    )
    return f"{why['subject']} {response}; {reason}."


def is_plain(attempt: str) -> bool:
    """Whether why an attempt failed has no data of a person: it is a status alone."""
    return _STATUS.fullmatch(attempt) is not None


def _subject(cause: GraphEvent, length: int) -> str:
    """Return the beginning of the sentence: what waits for what."""
    others = length - 1 if cause.is_own else length
    _, event = readable(cause.event.body)
    kind = f"{type_of(event) or 'event'} {name_of(event)}".rstrip()
    what = f"#{cause.event.sequence}, {'an' if kind[:1] in 'aeiou' else 'a'} {kind}"
    if not others:
        return f"1 event waits: {what}"
    return f"{counted(others, 'event')} {'waits' if others == 1 else 'wait'} for {what}"


def _reason(event: lanes.ListedEvent, delay: lanes.Delay | None, stop: str | None) -> str:
    due_s = (event.due_in_ms or 0) / 1000
    match event.state:
        case "blocking":
            return "a dead letter that blocks its lane until it is replayed or skipped"
        case "claimed":
            return f"{event.by} is delivering it"
        case "ready":
            return f"nothing is sent: {stop}" if stop else "it is ready, and no worker has claimed it yet"
        case "delayed" if delay and delay.attempts:
            return f"its next try is in {due_s:.0f} s" + (f", and nothing is sent: {stop}" if stop else "")
        case "delayed":
            return f"it is due in {due_s:.1f} s, after a cooldown or for earlier events"
    return "it is behind events that left meanwhile"


def _event_json(found: GraphEvent, cause: int) -> dict[str, Any]:
    event = found.event
    source, received = readable(event.body)
    return {
        "sequence": event.sequence,
        "type": type_of(received) or ("event" if received else "(erased)"),
        "name": name_of(received),
        "source": source,
        "message_id": received.get("messageId"),
        "age_s": max(0.0, time.time() - event.accepted_at_ms / 1000),
        "state": event.state,
        "due_in_ms": event.due_in_ms,
        "worker": event.by,
        "depth": found.depth,
        "is_own": found.is_own,
        "is_cause": event.sequence == cause,
    }


def _edges_json(found: Graph) -> list[dict[str, Any]]:
    return [
        {"before": edge.before, "after": edge.after, "key": edge.digest.hex(), "is_direct": edge.is_direct}
        for edge in found.edges
    ]
