"""Appending: how events get onto the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import redis.asyncio

from lanes import keys
from lanes.scripts import Argument, run, run_async

# Three past generations of message ids are searched besides the current one, so a third of the window each.
_GENERATIONS = 3
# Ready events that one open claim is expected to take care of before another deliverer is asked for. It starts with
# twice as many at most.
EVENTS_PER_CLAIM = 100


class QueueFull(Exception):
    """The queue holds as many unfinished events as it may; nothing was appended."""


class NewEvent(NamedTuple):
    """An event to append."""

    body: bytes
    keys: tuple[str, ...]  # ordering keys; none: the event waits for nobody
    message_id: str  # the same id within the de-duplication window is accepted and dropped
    hold_ms: int = 0  # time that passes between it and each of its neighbours in a lane, before it and after it
    join: tuple[str, str] | None = None  # what comes after it with the first of these keys has the second as well
    replaces: int | None = None  # the dead letter whose place it takes; dropped when there is none any more


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the events of one append."""

    accepted: tuple[bool, ...]  # by position; False: a duplicate, dropped
    wake: int  # how many deliverers the caller should ask for
    last: int  # sequence of the last event that was accepted; 0 without any

    def sequences(self) -> tuple[int | None, ...]:
        """Return the sequence of each event, by position; None for a duplicate."""
        first = self.last - sum(self.accepted) + 1
        places = count(first)
        return tuple(next(places) if accepted else None for accepted in self.accepted)


def append(
    client: redis.Redis,
    queue: str,
    events: Sequence[NewEvent],
    *,
    limit: int,
    dedupe_s: int,
    longest_hold_ms: int = 0,
    join_s: int = 0,
) -> Appended:
    """Append `events` in their order, all of them or none; durable as far as Redis is when this returns.

    Joined keys are remembered for `join_s` seconds, message ids for `dedupe_s`. `claim` and `settle` are told the same
    `longest_hold_ms`, which no event's hold exceeds.
    Raises QueueFull when more than `limit` events would be unfinished. Keep to a few hundred events a call: Redis does
    nothing else meanwhile.
    """
    return _appended(run(client, "append", queue, append_arguments(events, limit, dedupe_s, longest_hold_ms, join_s)))


async def append_async(
    client: redis.asyncio.Redis,
    queue: str,
    events: Sequence[NewEvent],
    *,
    limit: int,
    dedupe_s: int,
    longest_hold_ms: int = 0,
    join_s: int = 0,
) -> Appended:
    """Do what `append` does, with an asyncio client."""
    arguments = append_arguments(events, limit, dedupe_s, longest_hold_ms, join_s)
    return _appended(await run_async(client, "append", queue, arguments))


def generation_ms(dedupe_s: int) -> int:
    """Return the length of one generation of message ids."""
    return -(-dedupe_s * 1000 // _GENERATIONS)


def append_arguments(
    events: Sequence[NewEvent], limit: int, dedupe_s: int, longest_hold_ms: int, join_s: int
) -> list[Argument]:
    """Return what `append.lua` is told."""
    arguments: list[Argument] = [limit, generation_ms(dedupe_s), EVENTS_PER_CLAIM, longest_hold_ms, join_s * 1000]
    arguments.append(len(events))
    arguments.append(b"".join(keys.fingerprint(event.message_id) for event in events))
    arguments += [keys.undated(dict.fromkeys(map(keys.digest, event.keys)), event.body) for event in events]
    for place, event in enumerate(events, start=1):
        if event.hold_ms or event.join or event.replaces is not None:
            join = b"".join(map(keys.digest, event.join)) if event.join else b""
            replaces = "" if event.replaces is None else event.replaces
            arguments += (place, event.hold_ms, join, replaces)
    return arguments


def _appended(reply: Any) -> Appended:
    if reply is None:
        raise QueueFull
    flags, wake, last = reply
    return Appended(tuple(flag == 0x31 for flag in flags), wake, last)
