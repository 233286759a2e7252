"""Dead letters as operators see them: read, filtered, grouped by what is wrong with them.

One filter serves listing and every bulk verb, so that these act on exactly what was listed. All are read a page at a
time, so a million of them take no more memory than a few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

import lanes
from dead_letters.record import Reason
from lanes import Queue
from mapping.envelope import JsonObject, pack, unpack

PAGE = 500
_QUOTED = re.compile(r"(?<!field )(?:'[^']*'|\"[^\"]*\")")
_OF_THIS_EVENT = re.compile(r"[^\s<>(),:;]*[\d@][^\s<>(),:;]*")  # numbers, ids, e-mail addresses
_LONGEST_SIGNATURE = 160


@dataclass(frozen=True, slots=True)
class Grave:
    """A dead letter, read: the event and its source, why it was set aside, and what it has from earlier replays."""

    letter: lanes.DeadLetter
    source: str
    event: JsonObject
    again: JsonObject
    why: JsonObject

    @property
    def sequence(self) -> int:
        return self.letter.sequence

    @property
    def action(self) -> str | None:
        """The action at fault, where one is: the first one."""
        return self._at_fault("action")

    def _at_fault(self, what: str) -> str | None:
        faults = self.why["faults"]
        return faults[0].get(what) if faults else None

    @property
    def name(self) -> str:
        """The event's name, or its type where it has none."""
        return str(self.event.get("event") or self.event.get("name") or self.event.get("type"))

    @property
    def signature(self) -> tuple[str, str | None, str | None, str]:
        """Reason, subscription, action, and message without what differs from event to event: equal for one kind of
        error."""
        message = _OF_THIS_EVENT.sub("#", _QUOTED.sub("…", str(self.why["message"])))
        return self.why["class"], self._at_fault("subscription"), self.action, message[:_LONGEST_SIGNATURE]

    @property
    def requests(self) -> list[JsonObject] | None:
        """The operations that were not accepted, as they were; None when one of them could not be made."""
        faults = self.why["faults"]
        whole = faults and all("request" in fault for fault in faults)
        return [*faults, *self.why.get("unsent", ())] if whole else None

    def json(self) -> JsonObject:
        return {
            "sequence": self.sequence,
            "source": self.source,
            "name": self.name,
            "action": self.action,
            "holds": self.letter.blocks,
            **self.why,
            "event": self.event,
        }


class Filter(BaseModel):
    """Which dead letters: all conditions must hold; without any, all letters. Times are Unix milliseconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: tuple[int, ...] = ()
    reason: Reason | None = None
    action: str | None = None
    event: str | None = None  # its name, or its type
    source: str | None = None
    person: str | None = None  # an ordering key, such as "id:42" or "email:jo@example.com"
    since_ms: int | None = None  # buried at or after
    until_ms: int | None = None  # buried before
    text: str | None = Field(default=None, min_length=1)  # anywhere in the event or the reason

    @field_validator("person")
    @classmethod
    def _is_an_ordering_key(cls, person: str | None) -> str | None:
        if person is not None and ":" not in person:
            raise ValueError(f"must be an ordering key such as id:{person}")
        return person

    def matches(self, grave: Grave) -> bool:
        buried_at_ms = grave.why["buried_at_ms"]
        return (
            (not self.ids or grave.sequence in self.ids)
            and (self.reason is None or grave.why["class"] == self.reason)
            and (self.action is None or self.action in (fault.get("action") for fault in grave.why["faults"]))
            and (self.event is None or self.event in (grave.name, grave.event.get("type")))
            and (self.source is None or grave.source == self.source)
            and (self.person is None or lanes.digest(self.person) in grave.letter.keys)
            and (self.since_ms is None or buried_at_ms >= self.since_ms)
            and (self.until_ms is None or buried_at_ms < self.until_ms)
            and (self.text is None or self._is_in(grave))
        )

    def _is_in(self, grave: Grave) -> bool:
        wanted, event = (self.text or "").casefold(), orjson.dumps({"source": grave.source, "event": grave.event})
        return wanted in (event + b"\n" + grave.letter.failure).decode().casefold()


def read(letter: lanes.DeadLetter) -> Grave:
    """Return the letter, read."""
    source, event, again = unpack(letter.body)
    return Grave(letter, source, event, again, orjson.loads(letter.failure))


def page(queue: Queue, wanted: Filter, *, after: int = 0, most: int = PAGE) -> tuple[list[Grave], int | None]:
    """Look at the next letters behind the sequence `after`, `most` of them; return those that the filter wants, and the
    last sequence that was looked at: None at the end."""
    if wanted.ids:
        looked_at = sorted({sequence for sequence in wanted.ids if sequence > after})[:most]
        found = lanes.get_dead_letters(queue, looked_at)
    else:
        found = lanes.list_dead_letters(queue, after=after, most=most)
        looked_at = [letter.sequence for letter in found]
    graves = [grave for letter in found if wanted.matches(grave := read(letter))]
    return graves, looked_at[-1] if looked_at else None


def matching(queue: Queue, wanted: Filter) -> Iterator[Grave]:
    """Yield the letters that the filter wants, in the order in which their events were accepted."""
    graves, last = page(queue, wanted)
    while last is not None:
        yield from graves
        graves, last = page(queue, wanted, after=last)


def edit(queue: Queue, grave: Grave, event: JsonObject) -> bool:
    """Replace the event of a letter, the first one kept in it; return False, and do nothing, when the letter is no
    longer there as it was read: somebody replayed, removed or edited it."""
    original = grave.why.get("original", grave.event)
    body = pack(grave.source, event, grave.again | {"original": original})
    return lanes.edit_dead_letter(queue, grave.letter, body, orjson.dumps(grave.why | {"original": original}))
