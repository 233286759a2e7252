"""The upkeep of dead letters: holds that last too long end, and what is too much or too old goes to spill files.

Nothing is ever dropped: without a directory for spill files letters stay in Redis, and an alarm says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

import lanes
from dead_letters import query, spill_files
from dead_letters.query import Filter, Grave
from lanes import Queue
from mapping import Delivery

log = logging.getLogger(__name__)

# A bound that is crossed is restored with a tenth to spare, so that spill files are few.
_DOWN_TO = 0.9
_LETTERS_PER_FILE = 20_000
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000


def end_holds(queue: Queue, delivery: Delivery, now_ms: int) -> int:
    """Let go what is behind letters that have held for too long, and return how many; they stay dead letters."""
    too_long: dict[int, bytes] = {}
    held = lanes.blocking_dead_letters(queue)
    for first in range(0, len(held), query.PAGE):
        for letter in lanes.get_dead_letters(queue, held[first : first + query.PAGE]):
            why = orjson.loads(letter.failure)
            if now_ms - why["buried_at_ms"] > delivery.hold_hours * _HOUR_MS:
                too_long[letter.sequence] = orjson.dumps(why | {"let_go_at_ms": now_ms})
    if too_long:
        lanes.unblock(queue, too_long)
        log.warning(
            "%s: %d dead letters held for %d h; what is behind goes on", queue.name, len(too_long), delivery.hold_hours
        )
    return len(too_long)


def keep_within(queue: Queue, delivery: Delivery, directory: Path, now_ms: int, is_mine: Callable[[], bool]) -> int:
    """Move the oldest letters to spill files when there are too many or when they are too old; return how many went.
    `is_mine` is asked before letters leave Redis: whoever lost the right to do so leaves them there."""
    finish_spills(queue, directory)
    spilled = 0
    while exceeded(queue, delivery, now_ms) and is_mine():
        leaving, as_of = list[int](), lanes.dead_letter_changes(queue)
        lines = _noting(queue.name, _leaving(queue, delivery, now_ms), leaving)
        file = spill_files.write(directory, queue.name, lines)
        if not is_mine():
            break
        lanes.open_spill(queue, file.name)
        for first in range(0, len(leaving), query.PAGE):
            page = leaving[first : first + query.PAGE]
            spilled += lanes.spill(queue, file.name, page, as_of=as_of)
        finish_spills(queue, directory)
    return spilled


def finish_spills(queue: Queue, directory: Path) -> None:
    """Finish the spill files that were written, just now or before a crash: each keeps what has left Redis for it."""
    for file in spill_files.unfinished(directory, queue.name):
        own = lanes.close_spill(queue, file.name)
        if finished := spill_files.finish(file, own):
            log.warning("%s: %d dead letters went to %s", queue.name, len(own), finished)
        lanes.end_spill(queue, file.name)


def exceeded(queue: Queue, delivery: Delivery, now_ms: int) -> str | None:
    """Return which bound is crossed by letters that do not hold; None when none is."""
    count = lanes.count_dead_letters(queue)[0] - len(lanes.blocking_dead_letters(queue))
    if count > delivery.dead_letters:
        return f"{count:,} dead letters are more than dead_letters = {delivery.dead_letters:,}"
    oldest = next(_not_holding(queue), None) if count else None
    if oldest is not None and now_ms - kept_since_ms(oldest) > delivery.dead_letter_days * _DAY_MS:
        return f"dead letters are older than dead_letter_days = {delivery.dead_letter_days}"
    return None


def kept_since_ms(grave: Grave) -> int:
    """Return when the letter came here: when it was buried, or imported."""
    return int(grave.why.get("imported_at_ms") or grave.why["buried_at_ms"])


def _leaving(queue: Queue, delivery: Delivery, now_ms: int) -> Iterator[Grave]:
    count = lanes.count_dead_letters(queue)[0] - len(lanes.blocking_dead_letters(queue))
    too_many = count - int(delivery.dead_letters * _DOWN_TO) if count > delivery.dead_letters else 0
    too_old_ms = now_ms - int(delivery.dead_letter_days * _DAY_MS * _DOWN_TO)
    for number, grave in enumerate(_not_holding(queue)):
        if number >= _LETTERS_PER_FILE or (number >= too_many and kept_since_ms(grave) > too_old_ms):
            return
        yield grave


def _not_holding(queue: Queue) -> Iterator[Grave]:
    return (grave for grave in query.matching(queue, Filter()) if not grave.letter.blocks)


def _noting(queue: str, graves: Iterator[Grave], sequences: list[int]) -> Iterator[bytes]:
    for grave in graves:
        sequences.append(grave.sequence)
        yield spill_files.line(queue, grave)
