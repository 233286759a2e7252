"""Dead letters: why an event was set aside, in a form that operators and scripts can read.

A letter is a JSON object: `{"class", "message", "faults", "attempts", "deaths", "accepted_at_ms", "buried_at_ms",
"worker", "configuration", "original"?}`. A fault is `{"subscription"?, "action"?, "message", "request"?, "answer"?}`;
`configuration` tells versions of it apart; `original` is the event before it was edited. The event itself is kept
beside the letter by the lanes.
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict
from enum import StrEnum
from typing import Any

import orjson

from lanes import ClaimedEvent
from mapping import Failure
from workers.outcomes import Rejected, RetryLater
from workers.requests import Item

WORKER = f"{socket.gethostname()}:{os.getpid()}"


class Reason(StrEnum):
    """The classes of reasons for which an event is set aside."""

    INVALID = "invalid"  # a mapping could not be filled, or its payload is not what the action takes
    REJECTED = "rejected"  # Customer.io refused the operation for good
    EXHAUSTED = "exhausted"  # tried too often, or for too long
    DEADLY = "deadly"  # the workers that claimed it died, again and again
    DELETED = "deleted"  # it came late for a person who was deleted


def letter(
    event: ClaimedEvent,
    now_s: float,
    reason: Reason,
    *,
    failures: tuple[Failure, ...] = (),
    refusals: tuple[tuple[Item, Rejected | RetryLater], ...] = (),
    message: str | None = None,
    configuration: str = "",
) -> bytes:
    """Return the letter of an event: the faults in order of subscriptions, the first one's text as its message."""
    faults = [_failure(failure) for failure in failures] + [_refusal(item, outcome) for item, outcome in refusals]
    return orjson.dumps(
        {
            "class": reason,
            "message": message or faults[0]["message"],
            "faults": faults,
            "attempts": event.attempts + 1,
            "deaths": event.deaths,
            "accepted_at_ms": event.accepted_at_ms,
            "buried_at_ms": int(now_s * 1000),
            "worker": WORKER,
            "configuration": configuration,
        }
    )


def _failure(failure: Failure) -> dict[str, Any]:
    return {"subscription": failure.name, "action": failure.action, "message": failure.message}


def _refusal(item: Item, outcome: Rejected | RetryLater) -> dict[str, Any]:
    return {
        "action": item.operation.action,
        "message": outcome.reason,
        "request": orjson.Fragment(item.data),
        "answer": asdict(outcome.answer),
    }
