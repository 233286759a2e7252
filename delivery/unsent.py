"""Numbers of events to which the action of a matching subscription did not apply: one Redis hash (`lanes.keys.UNSENT`).

A field is `not_applicable:SUBSCRIPTION`. An event is counted after it was settled, at most once: a worker that is
killed in between does not count it. Other subscriptions may have sent the event: its fate is counted by itself
(`lanes.fates`).
"""

from __future__ import annotations

from collections import Counter
from typing import cast

from lanes import Queue, keys
from mapping import Translation

_NOT_APPLICABLE = "not_applicable:"


def reasons(translation: Translation) -> tuple[str, ...]:
    """Return why some subscriptions of a destination send nothing for an event."""
    if not translation.not_applicable:
        return ()
    return tuple([_NOT_APPLICABLE + name for name in translation.not_applicable])


def add(queue: Queue, counts: Counter[str]) -> None:
    """Add numbers of events, by reason, to the totals."""
    pipeline = queue.client.pipeline(transaction=True)
    for reason, count in counts.items():
        pipeline.hincrby(keys.UNSENT.of(queue.name), reason, count)
    pipeline.execute()


def totals(queue: Queue) -> dict[str, int]:
    """Return the numbers of a destination since the queue was created, by the name of the subscription."""
    stored = cast(dict[bytes, bytes], queue.client.hgetall(keys.UNSENT.of(queue.name)))
    return {reason.decode().removeprefix(_NOT_APPLICABLE): int(count) for reason, count in stored.items()}
