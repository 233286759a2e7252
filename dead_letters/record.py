"""Dead letters: why an event was set aside, in a form that operators and scripts can read.

A letter is a JSON object: `{"class", "message", "faults", "accepted", "unsent", "attempts", "deaths", "keys",
"accepted_at_ms", "buried_at_ms", "worker", "configuration", "original"?}`.

A fault is `{"subscription", "action", "message"}`; when a request was refused, also with `payload`, `path`, `request`
and `response` (status, body, index in the batch). `accepted` are the event's operations that Customer.io took in the
last attempt, `unsent` those behind the refused one, both without message and response. `attempts` has the time, the
worker and the end of every try, also of those that no worker survived; `deaths` says how many these are.
`configuration` tells versions of it apart, `original` is the event before it was edited. The event itself is kept
beside the letter by the lanes.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum

import orjson

import mapping
from delivery.batching import Item
from delivery.outcomes import Rejected, RetryLater
from lanes import ClaimedEvent
from mapping import Failure
from mapping.envelope import JsonObject, unpack

# A letter that is replayed and fails again remembers this many attempts, the last ones.
MOST_ATTEMPTS = 60
_DIED = "the claim ended without a word: the worker died, hung, or could not work it off"
_LONGEST_REASON = 100


class Reason(StrEnum):
    """The classes of reasons for which an event is set aside."""

    INVALID = "invalid"  # a mapping could not be filled, or its payload is not what the action takes
    REJECTED = "rejected"  # Customer.io refused the operation for good
    EXHAUSTED = "exhausted"  # tried too often
    POISON = "poison"  # the workers that claimed it died, again and again
    DELETED = "deleted"  # it came late for a person who was deleted


def attempt(now_s: float, reason: str, worker: str) -> bytes:
    """Return what is noted of an attempt when its event goes back to its place: one short line."""
    return orjson.dumps([int(now_s * 1000), worker, reason[:_LONGEST_REASON]])


def failure(
    event: ClaimedEvent,
    destination: mapping.Destination,
    now_s: float,
    reason: Reason,
    *,
    worker: str,
    configuration: str,
    failures: tuple[Failure, ...] = (),
    refusals: tuple[tuple[Item, Rejected | RetryLater], ...] = (),
    accepted: tuple[Item, ...] = (),
    unsent: tuple[Item, ...] = (),
    message: str | None = None,
    operations: tuple[mapping.Operation, ...] | None = None,
) -> bytes:
    """Return the letter of an event: the faults in order of subscriptions, the first one's text as its message."""
    names = {one.index: one.name for one in destination.subscriptions}
    _, content, again = unpack(event.body)
    accepted_at_ms = again.get("accepted_at_ms", event.accepted_at_ms)
    made = operations or ()

    def request(item: Item) -> JsonObject:
        operation = made[item.operation_index]
        return {
            "subscription": names.get(operation.subscription),
            "action": item.action,
            "payload": operation.payload,
            "path": item.path,
            "request": orjson.Fragment(item.data),
        }

    faults = [_failure(failure) for failure in failures]
    faults += [request(item) | _refusal(outcome) for item, outcome in refusals]
    text = message or faults[0]["message"]
    noted = [*map(orjson.loads, event.attempts), *([death.at_ms, death.by, _DIED] for death in event.expired_claims)]
    if reason is not Reason.POISON:
        noted.append([int(now_s * 1000), worker, text[:_LONGEST_REASON]])
    tried = [{"at_ms": at_ms, "worker": worker, "reason": end} for at_ms, worker, end in sorted(noted)]
    kept = {"original": again["original"]} if "original" in again else {}
    return orjson.dumps(
        {
            "class": reason,
            "message": text,
            "faults": faults,
            "accepted": list(map(request, accepted)),
            "unsent": list(map(request, unsent)),
            "attempts": [*again.get("attempts", ()), *tried][-MOST_ATTEMPTS:],
            "deaths": len(event.expired_claims),
            "keys": mapping.ordering_info(content, destination).keys,
            "accepted_at_ms": accepted_at_ms,
            "buried_at_ms": int(now_s * 1000),
            "worker": worker,
            "configuration": configuration,
            **kept,
        }
    )


def _failure(failure: Failure) -> JsonObject:
    return {"subscription": failure.name, "action": failure.action, "message": failure.message}


def _refusal(outcome: Rejected | RetryLater) -> JsonObject:
    return {"message": outcome.reason, "response": asdict(outcome.response)}
