"""What Segue keeps, how long, and how much it is now. The lifetimes are those of the registry of keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import lanes
from console.session import Session
from console.state import history
from delivery.recording import ledger
from lanes import keys
from lanes.keys import Key
from series import recent_events
from series.sampling import RESOLUTIONS

_COUNTS: Final = {"hash": "hlen", "list": "llen", "zset": "zcard", "set": "scard"}
_OF_QUEUE: Final = (
    (keys.EVENT, "events on the queue"),
    (keys.DEAD, "dead letters"),
    (keys.FAILURE, "errors of dead letters"),
    (keys.LOG, "delivery log"),
    (keys.REPLAYS, "replays and dry runs"),
    (keys.RECEIPTS, "receipts"),
    (keys.SUPPRESSED, "suppressed people"),
)
_REMEMBERED: Final = (
    (keys.MERGED, "merges"),
    (keys.DELETED, "deletions"),
    (keys.IDENTIFIED, "times of updates"),
    (keys.JOIN, "joined keys"),
    (keys.ATTRIBUTE_CLOCKS, "attribute clocks"),
)


def gather(session: Session) -> list[dict[str, Any]]:
    """Return `{"destination", "what", "number", "bytes", "kept"}` of each thing that is kept.

    `destination` is null of what all share. `bytes` is null where Redis does not say it, or the files are elsewhere.
    """
    rows = [row for queue in session.queues(session.destinations) for row in _of(session, queue)]
    return [*rows, _row(session.client, None, keys.CONSOLE_AUDIT, "activity of the console", [keys.CONSOLE_AUDIT.name])]


def _of(session: Session, queue: lanes.Queue) -> Iterator[dict[str, Any]]:
    client, name = queue.client, queue.name
    for key, what in _OF_QUEUE:
        yield _row(client, name, key, what, [key.of(name)])
    yield _row(client, name, keys.RECENT_EVENTS, "recent events", recent_events.names(queue))
    samples = [keys.SAMPLES.of(name, resolution.name) for resolution in RESOLUTIONS]
    yield _row(client, name, keys.SAMPLES, "figures over time", samples)
    hashes = lanes.remembered_hashes(queue)
    for key, what in _REMEMBERED:
        found = hashes.get(key.prefix.strip(":"), [])
        yield _row(client, name, key, what, [each.decode() for each in found])
    if (state := ledger.read(queue)) is not None:
        days = session.destinations[name].delivery.ledger_days
        facts = {"number": state.entries, "bytes": history.size_of(session, name), "kept": f"{days:g} days"}
        yield {"destination": name, "what": "entries written to the ledger", **facts}


def _row(client: Any, destination: str | None, key: Key, what: str, names: list[str]) -> dict[str, Any]:
    """Return the row of Redis keys that are kept for the same time."""
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.execute_command(_COUNTS[key.type], name)
            pipeline.memory_usage(name)
        found = pipeline.execute(raise_on_error=False)
    numbers, sizes = found[::2], [size or 0 for size in found[1::2]]
    is_known = all(isinstance(size, int) for size in sizes)
    facts = {"number": sum(numbers), "bytes": sum(sizes) if is_known else None, "kept": key.lifetime}
    return {"destination": destination, "what": what, **facts}
