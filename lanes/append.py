"""Appending: how events get onto the queue."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Literal, NamedTuple

from lanes import fates, keys, records
from lanes.queue import AsyncQueue, NamedQueue, Queue
from lanes.scripts import Argument, run, run_async, run_replicated

logger = logging.getLogger("lanes")

# Ready events that one open claim is expected to take care of before another deliverer is asked for. It starts with
# twice as many at most.
EVENTS_PER_CLAIM = 100

Result = Literal["accepted", "reordered", "duplicates"]
_RESULTS: Final[dict[int, Result]] = {0x30: "duplicates", 0x31: "accepted", 0x32: "reordered"}  # by flag of append.lua


class QueueFull(Exception):
    """The queue holds as many unfinished events as it may; nothing was appended."""


class NewEvent(NamedTuple):
    """An event to append."""

    body: bytes
    keys: tuple[str, ...]  # ordering keys; without any the event waits for no other
    message_id: str  # the same id within the de-duplication window is accepted and dropped
    cooldown_ms: int = 0  # time between it and each event that shares a key with it, before it and after it
    join: tuple[str, str] | None = None  # later events with the first of these keys get the second as well
    replaces: int | None = None  # the dead letter that it replaces; when that is missing, the event is dropped
    rank: bytes = b""  # see `records.rank`; without one it does not wait and goes behind what was accepted before it
    run: str = ""  # events with a cooldown and an equal run share it, and may be sent together
    counted_as: str = fates.ACCEPTED  # see `lanes.fates`


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the events of one append."""

    # By index: accepted; accepted and put before events with a greater rank; or a duplicate, dropped.
    results: tuple[Result, ...]
    wake: int  # how many deliverers the caller should request
    last: int  # sequence of the last event that was accepted; 0 without any
    missing: tuple[int, ...] = ()  # last events of lanes, without a record: these lanes begin anew

    @property
    def accepted(self) -> tuple[bool, ...]:
        """Whether each event was accepted, by index."""
        return tuple(result != "duplicates" for result in self.results)

    def sequences(self) -> tuple[int | None, ...]:
        """Return the sequence of each event, by index; None for a duplicate."""
        first = self.last - sum(self.accepted) + 1
        sequences = count(first)
        return tuple(next(sequences) if accepted else None for accepted in self.accepted)


def append(queue: Queue, events: Sequence[NewEvent]) -> Appended:
    """Append `events` in their order, all of them or none; durable as far as Redis is when this returns.

    An event with a rank waits as long as its rank says. Meanwhile an event that is appended later, has a smaller rank
    and shares a key with it goes before it. Order events with ranks by these.

    No event's cooldown exceeds that of the queue. Raises QueueFull when more events than the queue's limit would be
    unfinished. Keep to a few hundred events a call: Redis does nothing else meanwhile.
    """
    return appended(queue, run(queue, "append", append_arguments(queue, events)))


async def append_async(queue: AsyncQueue, events: Sequence[NewEvent]) -> Appended:
    """Do what `append` does, with an asyncio client.

    Raises NotReplicated when the queue waits for a replica that does not get the events; these may be appended then.
    """
    arguments = append_arguments(queue, events)
    if queue.replicated_ms is None:
        return appended(queue, await run_async(queue, "append", arguments))
    return appended(queue, await run_replicated(queue, "append", arguments, queue.replicated_ms))


def generation_ms(dedupe_s: int) -> int:
    """Return the length of one generation of message ids, ms. With the current one, the past generations cover the
    window.
    """
    return -(-dedupe_s * 1000 // keys.GENERATIONS)


def append_arguments(
    queue: NamedQueue, events: Sequence[NewEvent], lanes: Sequence[Collection[bytes]] = ()
) -> list[Argument]:
    """Return the arguments of `append.lua`. `lanes`: for each event, digests of keys that it has beside its own."""
    columns = [*zip(*events, strict=True)] or [()] * len(NewEvent._fields)
    bodies, events_keys, message_ids, cooldowns_ms, joins, replaced, ranks, _, counted_as = columns
    groups, names = fates.grouped(counted_as)
    arguments: list[Argument] = [
        queue.limit,
        generation_ms(queue.dedupe_s),
        EVENTS_PER_CLAIM,
        queue.cooldown_ms,
        queue.join_s * 1000,
        queue.most_fan_in,
        len(events),
        records.fingerprints(message_ids),
        b"".join([rank or records.UNRANKED for rank in ranks]) if any(ranks) else b"",
        groups,
        "\n".join(names),
    ]
    if lanes:
        own = [
            dict.fromkeys((*map(records.digest, event.keys), *also)) for event, also in zip(events, lanes, strict=True)
        ]
        arguments += [records.undated(digests, body) for digests, body in zip(own, bodies, strict=True)]
    else:
        arguments += [records.head(keys) + body for keys, body in zip(events_keys, bodies, strict=True)]
    if any(cooldowns_ms) or any(joins) or replaced.count(None) < len(replaced):
        arguments += _conditions(events)
    return arguments


def _conditions(events: Sequence[NewEvent]) -> Iterator[Argument]:
    """Yield what append.lua is told of the events that have a cooldown, a join, or a dead letter that they replace."""
    for index, event in enumerate(events, start=1):
        if event.cooldown_ms or event.join or event.replaces is not None:
            join = b"".join(map(records.digest, event.join)) if event.join else b""
            replaces = "" if event.replaces is None else event.replaces
            run = records.digest(event.run) if event.cooldown_ms and event.run else b""
            yield from (index, event.cooldown_ms, join, replaces, run)


def appended(queue: NamedQueue, reply: Any) -> Appended:
    """Return what the reply of `append.lua` says; raise QueueFull when it appended nothing."""
    if reply is None:
        raise QueueFull
    flags, wake, last, missing, crowded = reply
    if crowded:
        logger.warning(
            "queue %s: more than %d people were merged into each of %d people; events of the merged people do not wait "
            "for theirs any more",
            queue.name,
            queue.most_fan_in,
            crowded,
        )
    if missing:
        logger.error(
            "queue %s: the records of events %s are missing; their lanes begin anew", queue.name, listed(missing)
        )
    return Appended(
        results=tuple([_RESULTS[flag] for flag in flags]),
        wake=wake,
        last=last,
        missing=tuple(map(int, missing)),
    )


def listed(sequences: Sequence[bytes]) -> str:
    """Return sequences as a log line names them, the first ten."""
    names = ", ".join(map(bytes.decode, sequences[:10]))
    return names if len(sequences) <= 10 else f"{names} and {len(sequences) - 10} more"
