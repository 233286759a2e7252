"""What requests need of one configuration: its sources, its destinations, and the appends to their queues.

A configuration that is loaded while the process runs has an acceptance of its own. A request uses one of them to its
end, so its source and its queues always fit together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import redis.asyncio

import lanes
import mapping
from ingest.access.shares import Shares
from ingest.access.sources import Source, sources
from ingest.calls import Calls, Entries
from ingest.counters import Counters
from ingest.errors import Refusal
from ingest.queues.group_commit import RESULTS, GroupCommit, Result
from ingest.queues.outage import RETRY_AFTER_S
from ingest.queues.wakeups import Wakeups
from lanes.server.memory import Memory
from mapping.envelope import JsonObject
from settings import Settings, digest

_REPLICATED_MS = 1000  # half of the time after which a connection to Redis times out


class Configuration(NamedTuple):
    """The configuration file, as ingest uses it."""

    digest: str
    destinations: dict[str, mapping.Destination]
    sources: tuple[Source, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Configuration:
        """Return the configuration of a document. Raises mapping.ConfigurationError, settings.SettingsError."""
        return cls(digest(document), mapping.destinations(document), sources(document))


class Acceptance:
    """Accepts the events of one configuration."""

    def __init__(
        self,
        configuration: Configuration,
        settings: Settings,
        client: redis.asyncio.Redis,
        wakeups: Wakeups,
        counters: Counters,
    ) -> None:
        self.configuration = configuration
        self._counters = counters
        self._queues = {
            name: lanes.AsyncQueue(
                client=client,
                name=name,
                replicated_ms=_REPLICATED_MS if settings.durability == "replicated" else None,
                **settings.queue_config(destination.delivery.remember_days),
            )
            for name, destination in configuration.destinations.items()
        }
        self.calls = Calls(configuration.sources, self._entries, counters, settings, configuration.destinations)
        # One for each server of a cluster, as far as the clients tell them apart.
        self.memories = {queue.client: Memory(settings.memory_share) for queue in self._queues.values()}
        self.commits = {
            name: GroupCommit(
                self._queues[name], destination, wakeups, self.memories[self._queues[name].client], counters.tap
            )
            for name, destination in configuration.destinations.items()
        }
        self.shares = {
            name: Shares(self._queues[name], destination, configuration.sources)
            for name, destination in configuration.destinations.items()
        }

    async def open(self) -> None:
        """Open every queue. Raises lanes.QueueError when this process must not use one, and what Redis raises."""
        for queue in self._queues.values():
            await lanes.open_queue_async(queue)

    async def check(self) -> None:
        """Test whether an event could be accepted now.

        One queue that is full, or whose server is unavailable, does not stop the events of others: only when all are,
        none could be accepted. Raises Refusal (503), with the reason.
        """
        found = await asyncio.gather(*(commits.check() for commits in self.commits.values()), return_exceptions=True)
        faults = [each for each in found if isinstance(each, BaseException)]
        for fault in faults:
            if not isinstance(fault, Refusal) or fault.code == "queue_unusable" or len(faults) == len(found):
                raise fault
        if found and True not in found:
            raise Refusal(503, "every queue is full", retry_after_s=RETRY_AFTER_S[0], code="queue_full")

    async def measure_memory(self) -> None:
        """Measure the memory of each server that has a queue. Raises what the Redis client raises."""
        await asyncio.gather(*(memory.measure(client) for client, memory in self.memories.items()))

    async def append(self, source: Source, events: list[Entries]) -> Iterable[Result]:
        """Append to every queue of the source; return for each event the best of its results.

        Raises Refusal (429) when a share of the source is used up, and what `GroupCommit.append` raises.
        """
        try:
            return await self._append(source, events)
        except Refusal as refusal:
            self._counters.refuse(refusal, source.name)
            raise

    async def _append(self, source: Source, events: list[Entries]) -> Iterable[Result]:
        by_queue = list(zip(source.destinations, zip(*events, strict=True), strict=True))
        try:
            for name, entries in by_queue:
                self.shares[name].take(source.name, entries)
        except Refusal:
            self._counters.add(source.name, "throttled", len(events))
            raise
        appends = [self.commits[name].append(entries) for name, entries in by_queue]
        if len(appends) == 1:
            return await appends[0]
        results = await asyncio.gather(*appends)
        return (min(each, key=RESULTS.index) for each in zip(*results, strict=True))

    def _entries(
        self, source: Source, events: Sequence[JsonObject], packed: Sequence[bytes], ranks: Sequence[bytes]
    ) -> list[Entries]:
        """Return the entries of events for the queues of their source. `packed` is how the events are stored."""
        by_queue = (self.commits[name].entries(source.name, events, packed, ranks) for name in source.destinations)
        return [*zip(*by_queue, strict=True)]
