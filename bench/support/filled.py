"""A queue of a bad day: events that wait, dead letters, a full delivery log and an hour of figures; no worker runs."""

from __future__ import annotations

import random
import time
from itertools import count
from typing import Any, Final

import orjson

import lanes
from bench.support.load import event
from delivery.batching import Item, Request
from delivery.log import Recorder
from delivery.outcomes import Delivered
from lanes import fates
from mapping.envelope import pack
from mapping.operation import BATCH_PATH
from series import recent_events
from tests.console.hour import write_hour

HOT: Final = 20_000  # events of the first person
_PER_PERSON: Final = 5
_PAGE, _ITEMS = 500, 100
_LOGGED: Final = 2_000  # requests of the delivery log: `log_requests` of a destination
_SOURCE: Final = "demo"
# Class, subscription, action and message of each kind of error.
_KINDS: Final = (
    ("invalid", "Track Page View", "trackPageView", "The root value is missing the required field 'url'."),
    ("invalid", "Track Event", "trackEvent", "The value at 'name' must be a text, and is the number 42."),
    ("rejected", "Create or Update Person", "createUpdatePerson", "attributes.bio: has 1001 bytes"),
    ("rejected", "Track Event", "trackEvent", "identifiers.email: 'no address' is no address"),
    ("exhausted", "Track Event", "trackEvent", "HTTP 503"),
)


def key_of(person: int) -> str:
    """Return the ordering key of a person."""
    return f"id:user-{person:06d}"


def fill(queue: lanes.Queue, waiting: int, dead: int) -> None:
    """Fill the queue with so many waiting events and dead letters."""
    people = max(waiting // _PER_PERSON, 1)
    _append(queue.without_limit(), waiting, people)
    _log(queue, random.Random(1), people)
    _bury(queue, dead)
    write_hour(queue)


def _append(queue: lanes.Queue, waiting: int, people: int) -> None:
    """Append the events with the script that ingest uses."""
    every, counted = max(waiting // HOT, 2), fates.name("accepted", _SOURCE)
    for first in range(0, waiting, _PAGE):
        page = []
        for number in range(first, min(first + _PAGE, waiting)):
            person = 0 if number % every == 0 else number % people
            body = pack(_SOURCE, event(number, person, number))
            page.append(lanes.NewEvent(body, (key_of(person),), f"{_SOURCE}:m{number}", counted_as=counted))
        lanes.append(queue, page)


def _log(queue: lanes.Queue, chance: random.Random, people: int) -> None:
    """Write a full delivery log and some recent events, as a worker does."""
    clock = count()
    recent = recent_events.RecentEvents(lambda: float(next(clock)))
    for number in range(_LOGGED):
        now_ms, persons = time.time_ns() // 1_000_000, [chance.randrange(people) for _ in range(_ITEMS)]
        events = tuple(
            lanes.ClaimedEvent(at, 0, 0, 0, now_ms, (lanes.digest(key_of(person)),), b"")
            for at, person in enumerate(persons)
        )
        items = tuple(
            Item(at, 0, "trackEvent", "event", BATCH_PATH, _sent(person), f"{_SOURCE}:l{number}-{at}")
            for at, person in enumerate(persons)
        )
        recorder = Recorder(queue, lanes.Claim(f"claim {number}", events, None, 0), "segue-1@bench")
        recorder.recording(lambda request: [Delivered()] * len(request.items))(Request(BATCH_PATH, items))
        recorder.write()
        if number % 10 == 0:
            named = event(number, persons[0], number) | {"event": f"Event {number % 50}"}
            recent.keep(queue, [events[0]._replace(body=pack(_SOURCE, named))])


def _sent(person: int) -> bytes:
    """Return the body of an operation."""
    identifiers, attributes = {"id": f"user-{person:06d}"}, {"total": 129.95, "currency": "EUR"}
    body = {"type": "person", "action": "event", "identifiers": identifiers, "name": "Order Completed"}
    return orjson.dumps(body | {"attributes": attributes})


def _bury(queue: lanes.Queue, dead: int) -> None:
    """Make the dead letters, each of a person of its own, in all kinds by turns."""
    now_ms = time.time_ns() // 1_000_000
    counted = {reason: fates.name("dead", _SOURCE, reason) for reason, *_ in _KINDS}
    failures = [(counted[reason], _failure(now_ms, reason, *kind)) for reason, *kind in _KINDS]
    for first in range(0, dead, _PAGE):
        page = []
        for number in range(first, min(first + _PAGE, dead)):
            counted_as, failure = failures[number % len(failures)]
            body = pack(_SOURCE, event(number, 10**6 + number, number) | {"event": f"Event {number % 50}"})
            keys_of = (key_of(10**6 + number),)
            page.append(lanes.ImportedDeadLetter(None, now_ms, keys_of, body, failure, counted_as=counted_as))
        lanes.import_dead_letters(queue, page)


def _failure(now_ms: int, reason: str, subscription: str, action: str, message: str) -> bytes:
    """Return the failure of a dead letter as a worker writes it."""
    fault: dict[str, Any] = {"subscription": subscription, "action": action, "message": message}
    if reason != "invalid":
        fault |= {"path": "/api/v2/entity", "request": orjson.loads(_sent(1)), "payload": {"name": "Order Completed"}}
        fault["response"] = {"status": 207, "body": f'{{"errors": ["{message}"]}}', "batch_index": 0}
    return orjson.dumps(
        {
            "class": reason,
            "message": message,
            "faults": [fault],
            "accepted": [],
            "unsent": [],
            "attempts": [{"at_ms": now_ms, "worker": "segue-1@bench", "reason": message}],
            "expired_claims": 0,
            "keys": [],
            "accepted_at_ms": now_ms,
            "buried_at_ms": now_ms,
            "worker": "segue-1@bench",
            "configuration": "0",
        }
    )
