"""Appending: how events get onto the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from lanes import keys
from lanes.scripts import Argument, run, run_async

# Three past generations of message ids are searched besides the current one, so a third of the window each.
_GENERATIONS = 3
# Ready events that one open claim is expected to take care of before another deliverer is asked for.
EVENTS_PER_CLAIM = 100


class QueueFull(Exception):
    """The queue holds as many unfinished events as it may; nothing was appended."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append."""

    body: bytes
    keys: tuple[str, ...]  # ordering keys; none: the event waits for nobody
    message_id: str  # the same id within the de-duplication window is accepted and dropped
    hold_ms: int = 0  # time to wait after its last predecessor finished


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the events of one append."""

    accepted: tuple[bool, ...]  # by position; False: a duplicate, dropped
    wake: bool  # the caller should ask for a deliverer


def append(client: redis.Redis, queue: str, events: Sequence[NewEvent], *, limit: int, dedupe_s: int) -> Appended:
    """Append `events` in their order, all of them or none; durable as far as Redis is when this returns.

    Raises QueueFull when more than `limit` events would be unfinished. Keep to a few hundred events a call: Redis does
    nothing else meanwhile.
    """
    return _appended(run(client, "append", queue, _arguments(events, limit, dedupe_s)))


async def append_async(
    client: redis.asyncio.Redis, queue: str, events: Sequence[NewEvent], *, limit: int, dedupe_s: int
) -> Appended:
    """Do what `append` does, with an asyncio client."""
    return _appended(await run_async(client, "append", queue, _arguments(events, limit, dedupe_s)))


def _arguments(events: Sequence[NewEvent], limit: int, dedupe_s: int) -> list[Argument]:
    arguments: list[Argument] = [limit, -(-dedupe_s * 1000 // _GENERATIONS), EVENTS_PER_CLAIM]
    for event in events:
        digests = b"".join(dict.fromkeys(map(keys.digest, event.keys)))
        arguments += (*keys.fingerprint(event.message_id), event.hold_ms, digests, event.body)
    return arguments


def _appended(reply: Any) -> Appended:
    if reply is None:
        raise QueueFull
    flags, wake = reply
    return Appended(tuple(flag == 0x31 for flag in flags), wake == 1)
