"""Gathering: the events of many requests in flight go to Redis in one append, and each request hears of its own.

One append per destination is under way at a time; what arrives meanwhile goes into the next one. Under load that makes
large appends without anybody waiting for a timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

from redis.exceptions import RedisError

import lanes
import mapping
from ingest.errors import Refusal
from ingest.wakeups import Wakeups
from lanes.suppression import SuppressionList
from mapping.envelope import JsonObject, message_key

log = logging.getLogger(__name__)

MOST_EVENTS = 200  # of one append; a request with more goes alone
RETRY_AFTER_S = 2

# What becomes of an event, the best first. A suppressed one is dropped: its person is not to be known here.
Fate = Literal["accepted", "duplicates", "suppressed"]
FATES: Final[tuple[Fate, ...]] = ("accepted", "duplicates", "suppressed")

Waiter = tuple[Sequence[lanes.NewEvent], "asyncio.Future[list[Fate]]"]


class GroupCommit:
    """The way onto one destination's queue."""

    def __init__(self, queue: lanes.AsyncQueue, destination: mapping.Destination, wakeups: Wakeups) -> None:
        self._queue = queue
        self._is_open = False
        self._destination = destination
        self._wakeups = wakeups
        self._suppressed = SuppressionList()
        self._deletions: set[str] = set()  # message ids of those that are on their way
        self._waiting: deque[Waiter] = deque()
        self._task: asyncio.Task[None] | None = None

    def entry(self, source: str, event: JsonObject, body: bytes) -> lanes.NewEvent:
        """Return the event, packed as `body`, as it goes onto the queue: with its keys, and the distance it keeps."""
        keys, needs_cooldown, join = mapping.ordering_info(event, self._destination)
        message_id = message_key(source, event)
        if event["type"] == mapping.DELETION:
            self._deletions.add(message_id)
        return lanes.NewEvent(body, keys, message_id, self._queue.cooldown_ms if needs_cooldown else 0, join)

    async def append(self, entries: Sequence[lanes.NewEvent]) -> list[Fate]:
        """Return, once they are durable, what became of each of the entries.

        Raises Refusal (503) when the queue is full or Redis is away; then none of them was appended, or nobody knows.
        """
        try:
            await self._refresh()
        except (RedisError, OSError):
            raise _later("the queue cannot be reached") from None
        except lanes.QueueError as error:
            log.error("%s", error)
            raise _later("this endpoint must not use the queue") from None
        if not self._suppressed:
            return await self._fates(entries)
        barred = [self._suppressed.matches(entry.keys) for entry in entries]
        self._deletions -= {entry.message_id for entry, is_barred in zip(entries, barred, strict=True) if is_barred}
        welcome = [entry for entry, is_barred in zip(entries, barred, strict=True) if not is_barred]
        fates = iter(await self._fates(welcome) if welcome else ())
        return ["suppressed" if is_barred else next(fates) for is_barred in barred]

    async def _refresh(self) -> None:
        """Open the queue at first, and read the suppression list when it is not fresh."""
        if not self._is_open:
            await lanes.open_queue_async(self._queue)
            self._is_open = True
        await self._suppressed.refresh(self._queue)

    async def _fates(self, entries: Sequence[lanes.NewEvent]) -> list[Fate]:
        heard: asyncio.Future[list[Fate]] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, heard))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._append_all())
        return await heard

    async def _append_all(self) -> None:
        while self._waiting:
            group = self._next_group()
            try:
                await self._append_group(group)
            except lanes.QueueFull:
                await self._append_one_by_one(group)
            except (RedisError, OSError):
                _refuse(group, _later("the queue cannot be reached"))
            except Exception as error:
                log.exception("%s: an append failed as nobody thought it could", self._destination.name)
                _refuse(group, error)

    async def _append_one_by_one(self, group: list[Waiter]) -> None:
        """Let in those of a group for whom there is room."""
        for waiter in group:
            try:
                await self._append_group([waiter])
            except lanes.QueueFull:
                _refuse([waiter], _later("the queue is full"))
            except (RedisError, OSError):
                _refuse([waiter], _later("the queue cannot be reached"))

    def _next_group(self) -> list[Waiter]:
        group = [self._waiting.popleft()]
        size = len(group[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= MOST_EVENTS:
            group.append(self._waiting.popleft())
            size += len(group[-1][0])
        return group

    async def _append_group(self, group: list[Waiter]) -> None:
        appended = await lanes.append_async(self._queue, [entry for entries, _ in group for entry in entries])
        for _ in range(appended.wake):
            self._wakeups.wake(self._destination.name)
        if self._deletions:
            self._announce_deletions([entry.message_id for entries, _ in group for entry in entries], appended)
        fates: list[Fate] = ["accepted" if is_new else "duplicates" for is_new in appended.accepted]
        told = 0
        for entries, heard in group:
            if not heard.done():
                heard.set_result(fates[told : told + len(entries)])
            told += len(entries)

    def _announce_deletions(self, message_ids: list[str], appended: lanes.Appended) -> None:
        """Have what stands before a deletion dropped, rather than sent for somebody who is to be forgotten."""
        for message_id, sequence in zip(message_ids, appended.sequences(), strict=True):
            if message_id in self._deletions:
                self._deletions.discard(message_id)
                if sequence is not None:
                    self._wakeups.forget(self._destination.name, sequence)


def _refuse(group: list[Waiter], error: Exception) -> None:
    for _, heard in group:
        if not heard.done():
            heard.set_exception(error)


def _later(why: str) -> Refusal:
    return Refusal(503, f"{why}; send it again", retry_after_s=RETRY_AFTER_S)
