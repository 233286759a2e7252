"""The search for an event by its message id, within the time that a page has.

What was recorded of an event names its number. Where nothing was, the unfinished events and the dead letters are read
until the time is over: Redis remembers that it accepted a message id, and not for which event.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import lanes
from console.queues import waiting
from console.session import Session
from console.state import history
from dead_letters import record
from lanes import keys, records

_MOST_SENT: Final = 20
_SECONDS, _MOST_SECONDS = 0.15, 10.0  # of a page; of a page that was asked for the rest
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Search:
    """The result of a search at one destination."""

    rows: list[dict[str, Any]]  # as `waiting.find` yields
    read: int  # unfinished events and dead letters that were read
    unread: int  # others, for which there was no time
    is_remembered: bool  # an event with the id was accepted within the de-duplication window


def search(session: Session, name: str, sources: Iterable[str], message_id: str, *, is_long: bool = False) -> Search:
    """Find the event with this message id at a destination, with SOURCE: in front of it or without. A long search reads
    for ten seconds."""
    queue = session.queue(name)
    ids = {message_id, *(f"{source}:{message_id}" for source in sources)}
    is_remembered = any(lanes.is_remembered(queue, each) for each in ids)
    recorded = history.all_of(session, queue, message_id, ids, _MOST_SENT)
    sequences = {row["sequence"] for row in recorded}
    read = size = 0
    if not sequences:
        size = _size(queue, is_remembered)
        sequences, read = _read(queue, message_id, _MOST_SECONDS if is_long else _SECONDS) if size else (sequences, 0)
    rows = [
        *present(session, name, sequences),
        *({"where": _where(row), "destination": name} | row for row in recorded),
    ]
    return Search(rows, read, max(0, size - read), is_remembered)


def _where(row: dict[str, Any]) -> str:
    return "not sent" if row["path"] is None else "sent"


def present(session: Session, name: str, sequences: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield the events with these numbers that wait or are dead letters."""
    queue = session.queue(name)
    found = map(record.read, lanes.get_dead_letters(queue, sorted(sequences)))
    dead = {dead_letter.sequence: dead_letter for dead_letter in found}
    for sequence in sorted(sequences):
        event = None if sequence in dead else lanes.read_event(queue, sequence)
        if event is not None:
            yield {"where": "waiting"} | waiting.event_json(event, session.destinations[name])
    for sequence, dead_letter in dead.items():
        reason = {"reason": dead_letter.failure.reason.value, "message": dead_letter.failure.message}
        yield {"where": "dead letter", "destination": name, "sequence": sequence} | reason


def _size(queue: lanes.Queue, is_remembered: bool) -> int:
    """Return how many unfinished events and dead letters may have the id: an event of the de-duplication window whose
    id is not remembered was not accepted."""
    stats = lanes.stats(queue)
    unfinished = stats.waiting if is_remembered or stats.oldest_age_s > queue.dedupe_s else 0
    return unfinished + stats.dead


def _read(queue: lanes.Queue, message_id: str, seconds: float) -> tuple[set[int], int]:
    """Return the numbers of the events with the id that were found in the time, and how many events were read."""
    end_s, read = time.monotonic() + seconds, 0
    for key in (keys.DEAD, keys.EVENT):
        cursor = -1
        while cursor and time.monotonic() < end_s:
            cursor, page = queue.client.hscan(key.of(queue.name), max(cursor, 0), count=_PAGE)
            read += len(page)
            found = cast(dict[bytes, bytes], page).items()
            names = {int(name) for name, stored in found if waiting.has_id(records.read_record(stored)[2], message_id)}
            if names:
                return names, read
    return set(), read
