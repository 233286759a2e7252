"""Keep the dead letters within their limits: move excess and old ones to spill files, end blocking that lasts too long.

No dead letter is deleted. Without a directory for spill files all of them stay in Redis, and the text of `exceeded` is
the alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import lanes
from dead_letters import query, record, spill_files
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from lanes import Queue
from logs import events as log
from mapping import Delivery

# A tenth of the limit is moved beyond what exceeds it, so that few spill files are written.
_DOWN_TO = 0.9
_DEAD_LETTERS_PER_FILE = 20_000
_LINES_PER_EXTENSION = 100
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000


def unblock_expired(queue: Queue, delivery: Delivery, now_ms: int) -> int:
    """Unblock the successors of dead letters that have blocked for more than `hold_hours`, and return how many did. The
    dead letters stay."""
    blocking, unblocked = lanes.blocking_dead_letters(queue), 0
    for first in range(0, len(blocking), query.PAGE):
        expired, as_of = dict[int, bytes](), lanes.dead_letter_changes(queue)
        for stored in lanes.get_dead_letters(queue, blocking[first : first + query.PAGE]):
            failure = record.read_failure(stored)
            if now_ms - failure.buried_at_ms > delivery.hold_hours * _HOUR_MS:
                expired[stored.sequence] = replace(failure, unblocked_at_ms=now_ms).to_bytes()
        if expired:
            try:
                lanes.unblock(queue, expired, as_of=as_of)
            except lanes.DeadLettersChanged:
                continue  # one was edited meanwhile; the next sweep reads them again
            log.DEAD_LETTERS_UNBLOCKED.write(
                destination=queue.name, dead_letters=len(expired), hours=delivery.hold_hours
            )
            unblocked += len(expired)
    return unblocked


def spill_excess(
    queue: Queue, delivery: Delivery, directory: Path, now_ms: int, extend_lock: Callable[[], bool]
) -> int:
    """Move the oldest dead letters to spill files while a limit is exceeded, and return how many were moved.

    The caller holds the lock `keys.SPILL_LOCK`. `extend_lock` extends it and returns False when it is lost; then the
    dead letters stay in Redis. One that cannot be written to a file stays as well.
    """
    finish_spills(queue, directory)
    spilled = 0
    while exceeded(queue, delivery, now_ms) and extend_lock():
        sequences, as_of = list[int](), lanes.dead_letter_changes(queue)
        lines = _collecting(_excess(queue, delivery, now_ms), sequences, extend_lock)
        file = spill_files.write(directory, queue.name, lines)
        if not sequences:  # nothing of what exceeds the limit can be written as a line
            file.unlink()
            break
        if not extend_lock():
            break
        lanes.open_spill(queue, file.name)
        for first in range(0, len(sequences), query.PAGE):
            page = sequences[first : first + query.PAGE]
            spilled += lanes.spill(queue, file.name, page, as_of=as_of)
        finish_spills(queue, directory)
    return spilled


def finish_spills(queue: Queue, directory: Path) -> None:
    """Finish the spill files that were written, now or before a crash. Each keeps the dead letters that left Redis for
    it."""
    for file in spill_files.unfinished(directory, queue.name):
        spilled = lanes.close_spill(queue, file.name)
        if finished := spill_files.finish(file, spilled):
            log.DEAD_LETTERS_SPILLED.write(destination=queue.name, dead_letters=len(spilled), file=finished)
        lanes.end_spill(queue, file.name)


def exceeded(queue: Queue, delivery: Delivery, now_ms: int) -> str | None:
    """Return a text that names the exceeded limit, or None. Dead letters that block do not count."""
    count = _count(queue)
    if count > delivery.dead_letters:
        return f"{count:,} dead letters are more than dead_letters = {delivery.dead_letters:,}"
    oldest = next(_not_blocking(queue), None) if count else None
    if oldest is not None and now_ms - oldest.stored_since_ms > delivery.dead_letter_days * _DAY_MS:
        return f"dead letters are older than dead_letter_days = {delivery.dead_letter_days}"
    return None


def _count(queue: Queue) -> int:
    return lanes.count_dead_letters(queue)[0] - len(lanes.blocking_dead_letters(queue))


def _excess(queue: Queue, delivery: Delivery, now_ms: int) -> Iterator[tuple[int, bytes]]:
    """Yield the dead letters of the next spill file: the sequence and the line of each."""
    count = _count(queue)
    too_many = count - int(delivery.dead_letters * _DOWN_TO) if count > delivery.dead_letters else 0
    too_old_ms = now_ms - int(delivery.dead_letter_days * _DAY_MS * _DOWN_TO)
    for number, (dead_letter, line) in enumerate(record.lines(queue.name, _not_blocking(queue))):
        stays = number >= too_many and dead_letter.stored_since_ms > too_old_ms
        if stays or number >= _DEAD_LETTERS_PER_FILE:
            return
        yield dead_letter.sequence, line


def _not_blocking(queue: Queue) -> Iterator[DeadLetter]:
    return (dead_letter for dead_letter in query.matching(queue, Filter()) if not dead_letter.blocks)


def _collecting(
    lines: Iterator[tuple[int, bytes]], sequences: list[int], extend_lock: Callable[[], bool]
) -> Iterator[bytes]:
    """Yield the lines, and add their sequences to the list. Ends early when the lock is lost."""
    for number, (sequence, line) in enumerate(lines):
        if number % _LINES_PER_EXTENSION == 0 and not extend_lock():
            return
        sequences.append(sequence)
        yield line
