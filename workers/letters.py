"""Dead letters: why an event was set aside, in a form that operators and scripts can read.

A letter is a JSON object: `{"class", "message", "faults", "unsent", "attempts", "deaths", "keys", "accepted_at_ms",
"buried_at_ms", "worker", "configuration", "original"?}`.

A fault is `{"subscription", "action", "message"}`, and with `path`, `payload`, `request` and `answer` (status, body,
index in the batch) when a request was refused. `unsent` are the operations behind that one, in the same form but for
their answers. `attempts` has the time, the worker and the end of every try, `configuration` tells versions of it apart,
`original` is the event before it was edited. The event itself is kept beside the letter by the lanes.
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict
from enum import StrEnum
from typing import Any

import orjson

import mapping
from lanes import ClaimedEvent
from mapping import Failure
from mapping.event import JsonObject, unpack
from workers.outcomes import Rejected, RetryLater
from workers.requests import Item

# A letter that is replayed and fails again remembers this many attempts, the last ones.
MOST_ATTEMPTS = 60
WORKER = f"{socket.gethostname()}:{os.getpid()}"[-60:]
_LONGEST_REASON = 100


class Reason(StrEnum):
    """The classes of reasons for which an event is set aside."""

    INVALID = "invalid"  # a mapping could not be filled, or its payload is not what the action takes
    REJECTED = "rejected"  # Customer.io refused the operation for good
    EXHAUSTED = "exhausted"  # tried too often
    DEADLY = "deadly"  # the workers that claimed it died, again and again
    DELETED = "deleted"  # it came late for a person who was deleted


def attempt(now_s: float, reason: str) -> bytes:
    """Return what is noted of an attempt when its event goes back to its place: one short line."""
    return orjson.dumps([int(now_s * 1000), WORKER, reason[:_LONGEST_REASON]])


def letter(
    event: ClaimedEvent,
    destination: mapping.Destination,
    now_s: float,
    reason: Reason,
    *,
    failures: tuple[Failure, ...] = (),
    refusals: tuple[tuple[Item, Rejected | RetryLater], ...] = (),
    unsent: tuple[Item, ...] = (),
    message: str | None = None,
    configuration: str = "",
) -> bytes:
    """Return the letter of an event: the faults in order of subscriptions, the first one's text as its message."""
    names = {one.index: one.name for one in destination.subscriptions}
    faults = [_failure(failure) for failure in failures]
    faults += [_refusal(item, outcome, names) for item, outcome in refusals]
    text = message or faults[0]["message"]
    _, content, again = unpack(event.body)
    noted = [*map(orjson.loads, event.attempts), [int(now_s * 1000), WORKER, text[:_LONGEST_REASON]]]
    tried = [{"at_ms": at_ms, "worker": worker, "reason": end} for at_ms, worker, end in noted]
    kept = {"original": again["original"]} if "original" in again else {}
    return orjson.dumps(
        {
            "class": reason,
            "message": text,
            "faults": faults,
            "unsent": [_request(item, names) for item in unsent],
            "attempts": [*again.get("attempts", ()), *tried][-MOST_ATTEMPTS:],
            "deaths": event.deaths,
            "keys": mapping.placement(content, destination).keys,
            "accepted_at_ms": again.get("accepted_at_ms", event.accepted_at_ms),
            "buried_at_ms": int(now_s * 1000),
            "worker": WORKER,
            "configuration": configuration,
            **kept,
        }
    )


def _failure(failure: Failure) -> JsonObject:
    return {"subscription": failure.name, "action": failure.action, "message": failure.message}


def _refusal(item: Item, outcome: Rejected | RetryLater, names: dict[int, str]) -> JsonObject:
    told = {"message": outcome.reason, "payload": item.operation.payload, "answer": asdict(outcome.answer)}
    return _request(item, names) | told


def _request(item: Item, names: dict[int, str]) -> dict[str, Any]:
    operation = item.operation
    return {
        "subscription": names.get(operation.subscription),
        "action": operation.action,
        "path": operation.path,
        "request": orjson.Fragment(item.data),
    }
