"""Group commit: the events of concurrent requests are appended together, and each request gets its own results.

One append per destination runs at a time. Requests that arrive meanwhile form the next group. Groups therefore grow
under load without a timer, and a single request never waits for others to arrive.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final, Literal, TypeVar

from redis.exceptions import MasterDownError, ReadOnlyError

import lanes
import mapping
from ingest.errors import Refusal
from ingest.queues import redis_errors
from ingest.queues.outage import RETRY_AFTER_S, Outage
from ingest.queues.wakeups import Wakeups
from ingest.tap import IngestTap
from lanes import fates, records
from lanes.server.memory import Memory
from lanes.suppression import SuppressionList
from logs import events as log
from logs.causes import cause
from mapping.envelope import JsonObject, message_key

MAX_GROUP_EVENTS = 200  # of one append; a request with more events is a group of its own
BLIP_S: Final = 1.0  # for so long an append is tried again before its requests are refused
_PAUSE_S = 0.05  # between two tries; there is none before the second one
MAX_PENDING_BYTES = 64 * 1024 * 1024  # of the events that wait for Redis; a request beyond it is refused
_EVENT_BYTES = 1024  # memory that an event takes beside its packed body, roughly
_NO_MEMORY: Final = redis_errors.Fault("redis_out_of_memory", "Redis has no memory left for events")

T = TypeVar("T")

# The result for one event, the best first. `reordered`: accepted, and put before events that happened later;
# `suppressed`: dropped, because its person is on the suppression list.
Result = Literal["accepted", "reordered", "duplicates", "suppressed"]
RESULTS: Final[tuple[Result, ...]] = ("accepted", "reordered", "duplicates", "suppressed")


Request = tuple[Sequence[lanes.NewEvent], "asyncio.Future[list[Result]]"]  # a request that waits for its results


class GroupCommit:
    """Appends to the queue of one destination."""

    def __init__(
        self,
        queue: lanes.AsyncQueue,
        destination: mapping.Destination,
        wakeups: Wakeups,
        memory: Memory,
        tap: IngestTap,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._is_open = False
        self._destination = destination
        self._wakeups = wakeups
        self._memory = memory
        self._tap = tap
        self._clock = clock
        self._suppressed = SuppressionList()
        self._waiting: deque[Request] = deque()
        self._pending_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._outage = Outage(clock)
        self._fault: str | None = None  # what the log says last about the queue; None while it can be used

    def entries(
        self, source: str, events: Sequence[JsonObject], packed: Sequence[bytes], ranks: Sequence[bytes]
    ) -> list[lanes.NewEvent]:
        """Return the entries of events for this queue: with their ordering keys, cooldowns and joined keys.

        `packed` is how the events are stored.
        """
        destination, cooldown_ms = self._destination, self._queue.cooldown_ms
        entries, counted_as = [], fates.name("accepted", source)
        orderings = mapping.orderings(events, destination)
        for event, body, rank, ordering in zip(events, packed, ranks, orderings, strict=True):
            keys, needs_cooldown, join, run = ordering
            own_ms = cooldown_ms if needs_cooldown else 0
            # The constructor of a NamedTuple is a Python function, and takes three times as long.
            members = body, keys, message_key(source, event), own_ms, join, None, rank, run, counted_as
            entries.append(tuple.__new__(lanes.NewEvent, members))
        return entries

    async def append(self, entries: Sequence[lanes.NewEvent]) -> list[Result]:
        """Append the entries of one request; return the result of each of them after they are durable.

        Raises Refusal: 429 when the queue is full, Redis is unavailable or refuses writes, or too many events wait. The
        status is 503 when this process cannot use the queue. Then no entry was appended, except after a lost connection
        to Redis, when all of them may have been.
        """
        size = sum([len(entry.body) + _EVENT_BYTES for entry in entries])
        if self._pending_bytes + size > MAX_PENDING_BYTES:
            text = "too many events wait for Redis; send the request again"
            raise Refusal(429, text, retry_after_s=RETRY_AFTER_S[0], code="overloaded")
        if not self._memory.take(size):
            self._report(_NO_MEMORY.text)
            raise self._outage.refusal(*_NO_MEMORY)
        results: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, results))
        self._pending_bytes += size
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._append_groups())
        try:
            return await results
        finally:
            self._pending_bytes -= size

    async def check(self) -> bool:
        """Test what an append needs: a queue that this process can use, and a Redis that takes writes. Return whether
        the queue has room.

        Raises Refusal (503).
        """
        if self._memory.is_full:
            self._report(_NO_MEMORY.text)
            raise Refusal(503, _NO_MEMORY.text, retry_after_s=RETRY_AFTER_S[0], code=_NO_MEMORY.code)
        try:
            has_room = await self._patiently(self._probe)
            self._report(None)
            return has_room
        except lanes.QueueError as error:
            self._report(str(error))
            raise Refusal(503, "this endpoint cannot use the queue", code="queue_unusable") from None
        except redis_errors.ERRORS as error:
            code, text = redis_errors.fault(error)
            self._report(text, error)
            raise Refusal(503, text, retry_after_s=RETRY_AFTER_S[0], code=code) from None

    async def _probe(self) -> bool:
        await self._refresh()
        return await lanes.probe_async(self._queue)

    async def _refresh(self) -> None:
        """Open the queue before its first use; read the suppression list when it is due."""
        if not self._is_open:
            await lanes.open_queue_async(self._queue)
            self._is_open = True
        await self._suppressed.refresh(self._queue)

    async def _patiently(self, use: Callable[[], Awaitable[T]]) -> T:
        """Return what `use` returns; repeat it for BLIP_S while Redis is unavailable, once in a known outage.

        An append may be repeated: what was stored before the connection was lost is recognised by its message id.
        """
        until = self._clock() + BLIP_S
        retries = 0
        while True:
            try:
                return await use()
            except redis_errors.PASSING as error:
                if isinstance(error, ReadOnlyError | MasterDownError):
                    # After a failover the name leads to the new primary, and this connection to the old one.
                    await self._queue.client.connection_pool.disconnect(inuse_connections=False)
                if self._clock() >= until or (retries and self._outage.is_on):
                    raise
            await asyncio.sleep(_PAUSE_S if retries else 0)
            retries += 1

    async def _append_groups(self) -> None:
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
                _refuse(group, self._outage.refusal("queue_full", "the queue is full"))
                return
            for request in group:
                await self._commit([request])
        except lanes.QueueError as error:
            self._report(str(error))
            _refuse(group, self._outage.refusal("queue_unusable", "this endpoint cannot use the queue", 503))
        except redis_errors.PASSING as error:
            # What waits came during the same outage. One request after the other would wait for its own error.
            unavailable = self._unavailable(error)
            _refuse([*group, *self._waiting], unavailable)
            self._waiting.clear()
        except redis_errors.ERRORS as error:
            _refuse(group, self._unavailable(error))
        except Exception as error:
            log.unhandled("an append", error, destination=self._destination.name)
            _refuse(group, error)

    async def _append_group(self, group: list[Request]) -> None:
        received = [entry for entries, _ in group for entry in entries]
        order = _order(received) if len(group) > 1 else range(len(received))
        entries = [received[index] for index in order]
        results: list[Result] = ["accepted"] * len(received)
        for index, result in zip(order, await self._patiently(lambda: self._append(entries)), strict=True):
            results[index] = result
        self._outage.end()
        self._report(None)
        rest = iter(results)
        for request_entries, future in group:
            own = list(islice(rest, len(request_entries)))
            if not future.done():
                future.set_result(own)

    async def _append(self, entries: Sequence[lanes.NewEvent]) -> Sequence[Result]:
        """Append the entries whose people are not suppressed; return the result of each entry."""
        await self._refresh()
        if not self._suppressed:
            return await self._append_entries(entries)
        suppressed = [self._suppressed.matches(entry.keys) for entry in entries]
        others = [entry for entry, is_suppressed in zip(entries, suppressed, strict=True) if not is_suppressed]
        if self._tap.is_watched:
            gone = [entry for entry, is_suppressed in zip(entries, suppressed, strict=True) if is_suppressed]
            self._tap.suppressed(self._destination.name, gone)
        results = iter(await self._append_entries(others) if others else ())
        return ["suppressed" if is_suppressed else next(results) for is_suppressed in suppressed]

    async def _append_entries(self, entries: Sequence[lanes.NewEvent]) -> Sequence[Result]:
        appended = await lanes.append_async(self._queue, entries)
        for _ in range(appended.wake):
            self._wakeups.wake(self._destination.name)
        self._request_discards(entries, appended)
        if self._tap.is_watched:
            self._tap.appended(self._destination.name, entries, appended)
        return appended.results

    def _request_discards(self, entries: Sequence[lanes.NewEvent], appended: lanes.Appended) -> None:
        """Request for each new deletion that earlier events of its person are dropped, not sent."""
        deletions = [index for index, entry in enumerate(entries) if entry.run == mapping.DELETION]
        if deletions:
            sequences = appended.sequences()
            for sequence in filter(None, map(sequences.__getitem__, deletions)):
                self._wakeups.discard_before(self._destination.name, sequence)

    def _unavailable(self, error: Exception) -> Refusal:
        code, text = redis_errors.fault(error)
        self._report(text, error)
        return self._outage.refusal(code, text)

    def _report(self, fault: str | None, error: Exception | None = None) -> None:
        """Log each change of the fault; None: the queue can be used."""
        if fault == self._fault:
            return
        self._fault, name = fault, self._destination.name
        if fault is None:
            log.QUEUE_USABLE.write(destination=name)
        else:
            log.QUEUE_UNUSABLE.write(destination=name, reason=fault, error=cause(error) if error else None)


def _order(entries: Sequence[lanes.NewEvent]) -> Sequence[int]:
    """Return the indexes of entries that are appended together, by their ranks. Those of one request keep theirs."""
    ranks = [entry.rank for entry in entries]
    if not any(ranks):
        return range(len(ranks))
    return sorted(range(len(ranks)), key=records.orders(ranks).__getitem__)


def _refuse(group: list[Request], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error.copy() if isinstance(error, Refusal) else error)
