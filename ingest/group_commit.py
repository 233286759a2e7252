"""Group commit: the events of concurrent requests are appended together, and each request gets its own results.

One append per destination runs at a time. Requests that arrive meanwhile form the next group. Groups therefore grow
under load without a timer, and a single request never waits for others to arrive.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from redis.exceptions import RedisError

import lanes
import mapping
from ingest.errors import Refusal
from ingest.wakeups import Wakeups
from lanes import records
from lanes.suppression import SuppressionList
from mapping.envelope import JsonObject, message_key

log = logging.getLogger(__name__)

MAX_GROUP_EVENTS = 200  # of one append; a request with more events is a group of its own
RETRY_AFTER_S = 2

# The result for one event, the best first. `reordered`: accepted, and put before events that happened later;
# `suppressed`: dropped, because its person is on the suppression list.
Result = Literal["accepted", "reordered", "duplicates", "suppressed"]
RESULTS: Final[tuple[Result, ...]] = ("accepted", "reordered", "duplicates", "suppressed")


class Entry(NamedTuple):
    """An event for one queue."""

    event: lanes.NewEvent
    is_deletion: bool  # Segment's deletion request: earlier events of the person need not be sent


Request = tuple[Sequence[Entry], "asyncio.Future[list[Result]]"]  # a request that waits for its results


class GroupCommit:
    """Appends to the queue of one destination."""

    def __init__(self, queue: lanes.AsyncQueue, destination: mapping.Destination, wakeups: Wakeups) -> None:
        self._queue = queue
        self._is_open = False
        self._destination = destination
        self._wakeups = wakeups
        self._suppressed = SuppressionList()
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._fault: str | None = None  # what the log says last about the queue; None while it can be used

    def entry(self, source: str, event: JsonObject, body: bytes, rank: bytes) -> Entry:
        """Return the entry of an event, packed as `body`: with its ordering keys, cooldown and joined keys."""
        keys, needs_cooldown, join = mapping.ordering_info(event, self._destination)
        cooldown_ms = self._queue.cooldown_ms if needs_cooldown else 0
        new_event = lanes.NewEvent(body, keys, message_key(source, event), cooldown_ms, join, rank=rank)
        return Entry(new_event, event["type"] == mapping.DELETION)

    async def append(self, entries: Sequence[Entry]) -> list[Result]:
        """Append the entries of one request; return the result of each of them after they are durable.

        Raises Refusal (503) when the queue is full, when Redis is unavailable, or when this process cannot use the
        queue. Then no entry was appended, except after a lost connection to Redis, when all of them may have been.
        """
        try:
            await self._refresh()
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from None
        except lanes.QueueError as error:
            self._report(str(error))
            raise _later("this endpoint cannot use the queue") from None
        if not self._suppressed:
            return await self._results(entries)
        suppressed = [self._suppressed.matches(entry.event.keys) for entry in entries]
        others = [entry for entry, is_suppressed in zip(entries, suppressed, strict=True) if not is_suppressed]
        results = iter(await self._results(others) if others else ())
        return ["suppressed" if is_suppressed else next(results) for is_suppressed in suppressed]

    async def _refresh(self) -> None:
        """Open the queue before its first use; read the suppression list when it is due."""
        if not self._is_open:
            await lanes.open_queue_async(self._queue)
            self._is_open = True
        await self._suppressed.refresh(self._queue)

    async def _results(self, entries: Sequence[Entry]) -> list[Result]:
        results: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, results))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._append_all())
        return await results

    async def _append_all(self) -> None:
        while self._waiting:
            await self._commit(self._next_group())

    def _next_group(self) -> list[Request]:
        group = [self._waiting.popleft()]
        size = len(group[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= MAX_GROUP_EVENTS:
            group.append(self._waiting.popleft())
            size += len(group[-1][0])
        return group

    async def _commit(self, group: list[Request]) -> None:
        """Append a group, or its requests one by one when the queue has no room for all. Every request ends."""
        try:
            await self._append_group(group)
        except lanes.QueueFull:
            if len(group) == 1:
                _refuse(group, _later("the queue is full"))
                return
            for request in group:
                await self._commit([request])
        except (RedisError, OSError) as error:
            _refuse(group, self._unavailable(error))
        except Exception as error:
            log.exception("%s: unhandled exception in an append", self._destination.name)
            _refuse(group, error)

    async def _append_group(self, group: list[Request]) -> None:
        # Events that are appended together are in the order of their ranks; those of one request keep theirs.
        received = [entry for entries, _ in group for entry in entries]
        order = sorted(range(len(received)), key=lambda index: records.order(received[index].event.rank))
        entries = [received[index] for index in order]
        appended = await lanes.append_async(self._queue, [entry.event for entry in entries])
        if self._fault is not None:
            log.warning("%s: the queue can be used again", self._destination.name)
            self._fault = None
        for _ in range(appended.wake):
            self._wakeups.wake(self._destination.name)
        self._request_discards(entries, appended)
        results: list[Result] = ["accepted"] * len(entries)
        for index, result in zip(order, appended.results, strict=True):
            results[index] = result
        start = 0
        for request_entries, future in group:
            end = start + len(request_entries)
            if not future.done():
                future.set_result(results[start:end])
            start = end

    def _request_discards(self, entries: Sequence[Entry], appended: lanes.Appended) -> None:
        """Request for each new deletion that earlier events of its person are dropped, not sent."""
        if not any(entry.is_deletion for entry in entries):
            return
        for entry, sequence in zip(entries, appended.sequences(), strict=True):
            if entry.is_deletion and sequence is not None:
                self._wakeups.discard_before(self._destination.name, sequence)

    def _unavailable(self, error: Exception) -> Refusal:
        self._report("Redis is unavailable", error)
        return _later("the queue is unavailable")

    def _report(self, fault: str, error: Exception | None = None) -> None:
        """Log the fault once, until it changes or the queue can be used again."""
        if fault != self._fault:
            self._fault = fault
            log.error("%s: %s%s", self._destination.name, fault, f": {error}" if error else "")


def _refuse(group: list[Request], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)


def _later(reason: str) -> Refusal:
    return Refusal(503, f"{reason}; send the request again", retry_after_s=RETRY_AFTER_S)
