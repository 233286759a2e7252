"""A queue: its connection, its name, and the values that every process must share.

The values are stored in Redis beside the queue (`lanes.config`). Key names and due times are computed from them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import redis
import redis.asyncio

from lanes import keys
from lanes.cluster import at

# A limit that no queue reaches: for events that must be taken whatever waits.
NO_LIMIT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    """The values of a queue that are stored beside it."""

    cooldown_ms: int = 0  # time between an event with a cooldown and every event that shares a key with it
    dedupe_s: int = 86_400  # how long a message id is remembered
    join_s: int = 0  # how long a joined key is remembered
    limit: int = 1_000_000  # the most unfinished events; an append beyond it is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedQueue(QueueConfig):
    """A queue without a connection."""

    name: str
    # Bounds on what one key can make others wait; not stored, since each process may have its own.
    most_cooling_ms: int = NO_LIMIT  # for how long the cooldowns of one key may last, within one to two hours
    most_fan_in: int = NO_LIMIT  # how many keys may be joined to one, and identifiers connected to one

    @property
    def base(self) -> str:
        """The base name of every key of the queue, with its hash tag."""
        return keys.base(self.name)

    @property
    def config(self) -> QueueConfig:
        """The values that are stored beside the queue."""
        return QueueConfig(**{field.name: getattr(self, field.name) for field in fields(QueueConfig)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(NamedQueue):
    """A queue as one process uses it. Every verb of `lanes` takes it."""

    client: redis.Redis

    def __post_init__(self) -> None:
        """Use the client of the server that has the queue."""
        object.__setattr__(self, "client", at(self.client, self.base))

    def without_limit(self) -> Queue:
        """Return the same queue, for appends that must not be refused."""
        return replace(self, limit=NO_LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncQueue(NamedQueue):
    """The same with an asyncio client, for `append_async`."""

    client: redis.asyncio.Redis
    replicated_ms: int | None = None  # for how long an append waits until a replica has it; None: it does not wait

    def __post_init__(self) -> None:
        """Use the client of the server that has the queue."""
        object.__setattr__(self, "client", at(self.client, self.base))
