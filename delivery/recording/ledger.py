"""What Redis knows of the ledger of a destination: that there is one, how far it is, and what it has to erase.

`ledger` writes the entries of the delivery log to files. Workers and `segue forget` read and write what is here, so
they need neither the files nor the packages that read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import orjson

from lanes import Queue, keys
from lanes.clock import machine_ms

# A ledger that does not run for so long is treated as if there were none: the log keeps entries no longer than that.
AWAY_S: Final = 3 * 86_400
# A process that runs was seen within so many seconds.
RUNS_S: Final = 10


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The state of a destination's ledger. Times are Unix milliseconds, 0: never."""

    seen_ms: int  # when its process last ran
    written_ms: int  # when entries were last written to files
    entries: int  # that were written, in all
    discarded: int  # that Redis had no memory for while the process did not run, in all
    discarded_ms: int  # the last time


class Erasure(NamedTuple):
    """A person whose rows the ledger has to remove. The rows are those of events with one of these digests, accepted
    before the sequence `before` if there is one."""

    receipt_id: str
    digests: frozenset[str]  # of ordering keys, in hexadecimal
    before: int | None


def read(queue: Queue) -> LedgerState | None:
    """Return the state of the ledger, None when there never was one."""
    stored = cast(dict[bytes, bytes], queue.client.hgetall(keys.LEDGER.of(queue.name)))
    fields = {name.decode(): int(value) for name, value in stored.items()}
    if "seen_ms" not in fields:
        return None
    names = ("seen_ms", "written_ms", "entries", "discarded", "discarded_ms")
    return LedgerState(*(fields.get(name, 0) for name in names))


def is_kept(queue: Queue) -> bool:
    """Whether a ledger runs, or ran within AWAY_S seconds: then the log keeps entries for it."""
    state = read(queue)
    return state is not None and state.seen_ms > machine_ms() - AWAY_S * 1000


def runs(queue: Queue) -> bool:
    """Whether a ledger runs now."""
    state = read(queue)
    return state is not None and state.seen_ms > machine_ms() - RUNS_S * 1000


def report_seen(queue: Queue) -> None:
    """Record that the process of the ledger runs."""
    queue.client.hset(keys.LEDGER.of(queue.name), "seen_ms", str(machine_ms()))


def report_written(queue: Queue, entries: int) -> None:
    """Record that so many entries were written to files."""
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hset(keys.LEDGER.of(queue.name), "written_ms", str(machine_ms()))
        pipeline.hincrby(keys.LEDGER.of(queue.name), "entries", entries)
        pipeline.execute()


def request_erasure(queue: Queue, receipt_id: str, digests: Iterable[bytes], before: int | None) -> bool:
    """Have the ledger remove the rows of a person, and return whether there is a ledger."""
    if not queue.client.hexists(keys.LEDGER.of(queue.name), "seen_ms"):
        return False
    request = {"digests": sorted(digest.hex() for digest in digests), "before": before}
    queue.client.hset(keys.LEDGER_ERASURES.of(queue.name), receipt_id, cast(Any, orjson.dumps(request)))
    return True


def erasures(queue: Queue) -> list[Erasure]:
    """Return the people whose rows the ledger has to remove."""
    stored = cast(dict[bytes, bytes], queue.client.hgetall(keys.LEDGER_ERASURES.of(queue.name)))
    parsed = ((receipt_id.decode(), orjson.loads(text)) for receipt_id, text in sorted(stored.items()))
    return [Erasure(receipt_id, frozenset(each["digests"]), each["before"]) for receipt_id, each in parsed]


def is_erasing(queue: Queue, receipt_id: str) -> bool:
    """Whether the ledger has to remove the rows of the person of this receipt."""
    return bool(queue.client.hexists(keys.LEDGER_ERASURES.of(queue.name), receipt_id))


def finish_erasure(queue: Queue, receipt_id: str) -> None:
    """Record that the rows of the person of this receipt were removed."""
    queue.client.hdel(keys.LEDGER_ERASURES.of(queue.name), receipt_id)
