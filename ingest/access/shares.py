"""Shares: how much of a queue, and of its dead letters, belongs to each source that has a limit of it.

Redis does not count events by source. So each process takes a random sample of the queue once a second, and adds what
it accepted itself since then. A sample of 256 events tells a share to 6 points in 19 of 20 cases. A queue that is too
small for a source to have a quarter of its limit is not sampled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import lanes
import mapping
from ingest.access.sources import Source
from ingest.errors import Refusal
from ingest.events import MAX_EVENT_BYTES
from lanes import sampling
from mapping.envelope import readable_source

RETRY_AFTER_S: Final = 10
_SAMPLE: Final = 256
_MEASURED_FROM: Final = 0.25  # of the lowest limit
_MB: Final = 1_000_000

# What a source may have a limited amount of: unfinished events, their bytes as they are stored, dead letters.
_Kind = Literal["events", "bytes", "dead"]
_Amounts = Counter[tuple[str, _Kind]]  # by source
_Sample = list[tuple[str, int]]  # the source and the bytes of each event


class Shares:
    """The shares in the queue of one destination. `sources` may include those without a limit."""

    def __init__(self, queue: lanes.AsyncQueue, destination: mapping.Destination, sources: Iterable[Source]) -> None:
        self._queue = queue
        fed = [source for source in sources if destination.name in source.destinations]
        self._limits = {
            (source.name, kind): limit
            for source in fed
            for kind, limit in _limits(source, queue.limit, destination.delivery.dead_letters)
        }
        self._used: _Amounts = Counter()  # as it was measured last
        self._added: _Amounts = Counter()  # by this process since the last measurement began

    def take(self, source: str, entries: Sequence[lanes.NewEvent]) -> None:
        """Count the events of a request; raise Refusal (429) when the source would have more than its share."""
        for kind in ("events", "bytes", "dead") if self._limits else ():
            limit = self._limits.get((source, kind))
            if limit is not None:
                amount = _amount(kind, entries)
                if self._used[source, kind] + self._added[source, kind] + amount > limit:
                    raise _refusal(kind, limit)
                self._added[source, kind] += amount

    async def measure(self) -> None:
        """Estimate the shares. Raises what the Redis client raises."""
        if not self._limits:
            return
        before = self._added.copy()
        counts = await sampling.counts(self._queue)
        used: _Amounts = Counter()
        if counts.unfinished > self._measured_from("events", "bytes"):
            sample = _read(await sampling.sample_unfinished(self._queue, _SAMPLE))
            used += _estimated(sample, counts.unfinished, "events")
            used += _estimated(sample, counts.unfinished, "bytes")
        if counts.dead > self._measured_from("dead"):
            sample = _read(await sampling.sample_dead_letters(self._queue, _SAMPLE))
            used += _estimated(sample, counts.dead, "dead")
        self._used = used
        self._added -= before

    def _measured_from(self, *kinds: _Kind) -> float:
        """Return the number of events from which a source may have a quarter of a limit of these kinds."""
        lowest = [
            limit / MAX_EVENT_BYTES if kind == "bytes" else limit
            for (_, kind), limit in self._limits.items()
            if kind in kinds
        ]
        return _MEASURED_FROM * min(lowest, default=float("inf"))


def _limits(source: Source, queue_limit: int, dead_letters: int) -> Iterator[tuple[_Kind, float]]:
    if source.most_of_queue is not None:
        yield "events", source.most_of_queue * queue_limit
    if source.queue_mb is not None:
        yield "bytes", source.queue_mb * _MB
    if source.dead_letter_share is not None:
        yield "dead", source.dead_letter_share * dead_letters


def _amount(kind: _Kind, entries: Sequence[lanes.NewEvent]) -> int:
    match kind:
        case "events":
            return len(entries)
        case "bytes":
            return sum(len(entry.body) for entry in entries)
    return 0  # an event is no dead letter yet


def _read(bodies: Sequence[bytes]) -> _Sample:
    return [(readable_source(body), len(body)) for body in bodies]


def _estimated(sample: _Sample, total: int, kind: _Kind) -> _Amounts:
    """Return what each source has of a queue with `total` events, by a sample of them."""
    amounts: _Amounts = Counter()
    for source, size in sample:
        amounts[source, kind] += size if kind == "bytes" else 1
    return Counter({key: round(amount * total / len(sample)) for key, amount in amounts.items()})


def _refusal(kind: _Kind, limit: float) -> Refusal:
    share = {
        "events": f"{limit:,.0f} unfinished events",
        "bytes": f"{limit / _MB:,g} MB of unfinished events",
        "dead": f"{limit:,.0f} dead letters",
    }
    text = f"this source has its share of a destination, {share[kind]}; send the request again"
    code = "dead_letter_share_used" if kind == "dead" else "queue_share_used"
    return Refusal(429, text, retry_after_s=RETRY_AFTER_S, code=code)
