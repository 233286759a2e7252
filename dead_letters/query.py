"""Find dead letters: by a filter, page by page, in the order in which their events were accepted.

Lists and bulk commands use the same filter, so a bulk command acts on the dead letters that a list shows. The memory
that they need does not depend on the number of dead letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

import lanes
from dead_letters import record
from dead_letters.quotations import without_values_but_fields
from dead_letters.record import DeadLetter, Reason
from lanes import Queue
from mapping.envelope import JsonObject, encoded, unpack

PAGE = 500
_LONGEST_MESSAGE = 160
_DIGEST = "digest:"
_DIGEST_FORM = re.compile(r"digest:[0-9a-f]{16}")


class ErrorKind(NamedTuple):
    """A kind of error. Dead letters with equal kinds differ in the data of their events only."""

    reason: Reason
    subscription: str | None
    action: str | None
    message: str  # without quoted values, numbers, ids and addresses


def kind_of(dead_letter: DeadLetter) -> ErrorKind:
    """Return the kind of the first error of a dead letter."""
    failure = dead_letter.failure
    return kind(failure.reason, dead_letter.subscription, dead_letter.action, failure.message)


@lru_cache(maxsize=5000)
def kind(reason: Reason, subscription: str | None, action: str | None, message: str) -> ErrorKind:
    """Return the kind of an error with this message."""
    text = without_values_but_fields(message)[:_LONGEST_MESSAGE]
    return ErrorKind(reason, subscription, action, text)


class Filter(BaseModel):
    """Conditions on dead letters, all of which must hold. Without conditions every dead letter matches.

    Times are Unix milliseconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: tuple[int, ...] = ()
    reason: Reason | None = None
    action: str | None = None  # of any fault
    event: str | None = None  # its name or its type
    source: str | None = None
    person: str | None = None  # an ordering key, such as "id:42" or "email:jo@example.com", or "digest:" and its digest
    since_ms: int | None = None  # buried at this time or later
    until_ms: int | None = None  # buried before this time
    text: str | None = Field(default=None, min_length=1)  # in the source, the event or the failure; any case

    @field_validator("person")
    @classmethod
    def _is_an_ordering_key(cls, person: str | None) -> str | None:
        if person is not None and ":" not in person:
            raise ValueError(f"must be an ordering key such as id:{person}")
        if person is not None and person.startswith(_DIGEST) and not _DIGEST_FORM.fullmatch(person):
            raise ValueError("must be a digest of 16 hexadecimal digits")
        return person

    @property
    def digest(self) -> bytes | None:
        """The digest of the person's ordering key; None without a person."""
        if self.person is None:
            return None
        if self.person.startswith(_DIGEST):
            return bytes.fromhex(self.person.removeprefix(_DIGEST))
        return lanes.digest(self.person)

    def matches(self, dead_letter: DeadLetter) -> bool:
        """Whether all conditions hold for the dead letter."""
        failure, event = dead_letter.failure, dead_letter.event
        return (
            (not self.ids or dead_letter.sequence in self.ids)
            and (self.reason is None or failure.reason == self.reason)
            and (self.action is None or any(fault.action == self.action for fault in failure.faults))
            and (self.event is None or self.event in (dead_letter.name, event.get("type")))
            and (self.source is None or dead_letter.source == self.source)
            and (self.person is None or self.digest in dead_letter.stored.keys)
            and (self.since_ms is None or failure.buried_at_ms >= self.since_ms)
            and (self.until_ms is None or failure.buried_at_ms < self.until_ms)
            and (self.text is None or self._is_in(dead_letter))
        )

    def _is_in(self, dead_letter: DeadLetter) -> bool:
        received = encoded({"source": dead_letter.source, "event": dead_letter.event})
        written = (received + b"\n" + dead_letter.stored.failure).decode().casefold()
        text = self.text or ""
        return text.casefold() in written or encoded(text)[1:-1].decode().casefold() in written  # a value has escapes


def page(queue: Queue, wanted: Filter, *, after: int = 0, most: int = PAGE) -> tuple[list[DeadLetter], int | None]:
    """Read the next `most` dead letters behind the sequence `after`. Return those that match, and the last sequence
    that was read, None at the end."""
    if wanted.ids:
        sequences = sorted({sequence for sequence in wanted.ids if sequence > after})[:most]
        found = lanes.get_dead_letters(queue, sequences)
    elif wanted.digest is not None:
        sequences = lanes.dead_letters_of(queue, wanted.digest, after=after, most=most)
        found = lanes.get_dead_letters(queue, sequences)
    else:
        found = lanes.list_dead_letters(queue, after=after, most=most)
        sequences = [stored.sequence for stored in found]
    matching = [dead_letter for stored in found if wanted.matches(dead_letter := record.read(stored))]
    return matching, sequences[-1] if sequences else None


def matching(queue: Queue, wanted: Filter) -> Iterator[DeadLetter]:
    """Yield the dead letters that match, in the order in which their events were accepted."""
    found, last = page(queue, wanted)
    while last is not None:
        yield from found
        found, last = page(queue, wanted, after=last)


def stored(queue: Queue) -> Iterator[lanes.DeadLetter]:
    """Yield all dead letters as they are stored, in the order in which their events were accepted."""
    after = 0
    while found := lanes.list_dead_letters(queue, after=after, most=PAGE):
        yield from found
        after = found[-1].sequence


def events(queue: Queue) -> Iterator[JsonObject]:
    """Yield the events of all dead letters, an empty one where it is damaged. Nothing else of them is read, which takes
    half of the time of `matching`."""
    for dead_letter in stored(queue):
        try:
            yield unpack(dead_letter.body).event
        except record.DAMAGED:
            yield {}


def last_of_key(queue: Queue, digest: bytes, most: int) -> tuple[list[DeadLetter], int]:
    """Return the last `most` dead letters that have the ordering key of this digest, in the order of their events, and
    how many have it."""
    sequences, count = lanes.last_dead_letters_of(queue, digest, most)
    return [record.read(stored) for stored in lanes.get_dead_letters(queue, sequences)], count


def edit(queue: Queue, dead_letter: DeadLetter, event: JsonObject) -> bool:
    """Replace the event of a dead letter, and keep the original event in it. Return False, and change nothing, when the
    dead letter was replayed, removed or edited after it was read."""
    body, failure = dead_letter.edited(event)
    return lanes.edit_dead_letter(queue, dead_letter.stored, body, failure)
