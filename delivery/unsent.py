"""Numbers of events for which a destination was sent nothing, by reason: one Redis hash (`lanes.keys.UNSENT`).

A reason is `filtered`, or `not_applicable:SUBSCRIPTION`. An event is counted after it was settled, at most once: a
worker that is killed in between does not count it. These events are among the delivered ones too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import cast

from lanes import Queue, keys
from mapping import Translation

_FILTERED = "filtered"
_NOT_APPLICABLE = "not_applicable:"


@dataclass(frozen=True, slots=True)
class Totals:
    """The numbers since the queue was created. An event that no action applies to counts for each subscription."""

    filtered: int = 0
    not_applicable: dict[str, int] = field(default_factory=dict)  # by the name of the subscription


def reasons(translation: Translation) -> tuple[str, ...]:
    """Return why the destination, or some of its subscriptions, send nothing for an event."""
    if translation.filtered is not None:
        return (_FILTERED,)
    return tuple([_NOT_APPLICABLE + name for name in translation.not_applicable])


def add(queue: Queue, counts: Counter[str]) -> None:
    """Add numbers of events, by reason, to the totals."""
    pipeline = queue.client.pipeline(transaction=True)
    for reason, count in counts.items():
        pipeline.hincrby(keys.UNSENT.of(queue.name), reason, count)
    pipeline.execute()


def totals(queue: Queue) -> Totals:
    """Return the totals of a destination."""
    stored = cast(dict[bytes, bytes], queue.client.hgetall(keys.UNSENT.of(queue.name)))
    counts = {reason.decode(): int(count) for reason, count in stored.items()}
    filtered = counts.pop(_FILTERED, 0)
    return Totals(filtered, {reason.removeprefix(_NOT_APPLICABLE): count for reason, count in counts.items()})
