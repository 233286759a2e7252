"""Fates: what became of every accepted event, counted where it leaves the queue, in the same script.

Each count has a name, the JSON array `[FATE, SOURCE, REASON]`. The callers of `lanes` make the names; the scripts know
the fates alone. By the hour of acceptance, and in total:

    accepted = sent + shadowed + filtered + unmatched + dropped + forgotten
             + replayed + discarded + spilled + moved + dead + waiting

- `accepted`: an event got a sequence. Reason: `replay`, `import`, `move`, or empty. A duplicate is not accepted.
- `sent`: Customer.io acknowledged it. `filtered`: the sender or a filter excluded it; the reason names which.
- `shadowed`: its destination sends nothing, or nothing of its time. Reason: why it would be a dead letter, or empty.
- `unmatched`: no subscription took it. Reason: the subscriptions that matched, whose actions do not apply to it.
- `dropped`: late for a deleted person, discarded before a deletion or a suppression, or by an operator. `forgotten`:
  erased with its person.
- `dead`: it is a dead letter now. Reason: that of the failure. A dead letter leaves `dead` as `replayed` (accepted
  again, with a new sequence), `discarded`, `spilled` or `forgotten`; one that blocks and is requeued waits again.
- `moved`: it was appended to another queue, where it was accepted again.

An event that was lost has none of them, so the sums differ: `lanes.audit` finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import pack
from typing import Final, NamedTuple, TypeVar

import orjson

FATES: Final = (
    *("sent", "shadowed", "filtered", "unmatched", "dropped", "forgotten"),
    *("replayed", "discarded", "spilled", "moved", "dead"),
)
_LONGEST_REASON = 100

Value = TypeVar("Value")


@lru_cache(maxsize=10_000)
def name(fate: str, source: str = "", reason: str = "") -> str:
    """Return the name of a count. A reason is cut to 100 characters."""
    return orjson.dumps((fate, source.encode("utf-8", "replace").decode(), cut(reason))).decode()


@lru_cache(maxsize=1000)
def parts(name: str) -> tuple[str, str, str]:
    """Return the fate, the source and the reason in the name of a count."""
    fate, source, reason = orjson.loads(name)
    return fate, source, reason


def cut(reason: str) -> str:
    """Return a reason as counts have it."""
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"


ACCEPTED: Final = name("accepted")
SENT: Final = name("sent")
DEAD: Final = name("dead")
FORGOTTEN: Final = name("forgotten")
UNKNOWN: Final = name("unknown")  # of an event without a body: how it was erased says its fate


class Count(NamedTuple):
    """How many events of a source had a fate, for a reason."""

    fate: str
    source: str
    reason: str
    events: int


def counts(stored: dict[bytes, bytes]) -> list[Count]:
    """Return the counts of a hash `keys.FATES` or `keys.FATE_TOTALS`."""
    rows = ((*orjson.loads(field), int(number)) for field, number in sorted(stored.items()))
    return [Count(fate, source, reason, events) for fate, source, reason, events in rows]


def grouped(values: Sequence[Value]) -> tuple[bytes, Iterable[Value]]:
    """Return the distinct values, and for each value which of them it is: from 1, two bytes each. With one distinct
    value, which most calls have, the bytes are empty.
    """
    distinct = dict.fromkeys(values)
    if len(distinct) <= 1:
        return b"", distinct
    number_of = {value: number for number, value in enumerate(distinct, start=1)}
    return pack(f">{len(values)}H", *map(number_of.__getitem__, values)), distinct
