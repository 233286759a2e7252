"""The values that all processes of a queue share: stored when the queue is new, compared by every process after that.

A process that disagrees fails before it reads or writes an event, and so does one that knows another layout of keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar, cast

import redis

from lanes import keys
from lanes.queue import AsyncQueue, NamedQueue, Queue, QueueConfig
from lanes.scripts import Argument, run, run_async
from lanes.server import Server

# The layout of keys and values that this code reads and writes (lanes/keys.py).
LAYOUT = 2
_RECONFIGURING = -1  # in place of a layout, see open.lua


class QueueError(Exception):
    """The queue cannot be used by this process; nothing was read or written."""


class OtherLayout(QueueError):
    """The queue was filled by another version of Segue, whose keys this one would misread."""


class QueueMismatch(QueueError):
    """This process has other values than the queue. `differences`: name → (stored, of this process)."""

    def __init__(self, queue: str, differences: Mapping[str, tuple[int, int]]) -> None:
        self.queue = queue
        self.differences = dict(differences)
        texts = [f"{name} is {stored} in Redis and {own} here" for name, (stored, own) in self.differences.items()]
        super().__init__(
            f"queue {queue}: {', '.join(texts)}; every process must have the same value "
            "(`segue lanes configure` changes the stored one)"
        )


class UnsuitableServer(QueueError):
    """No queue can be kept in this Redis."""


class QueueReconfiguring(QueueError):
    """The values of the queue are being changed, or that was interrupted."""

    def __init__(self, queue: str) -> None:
        super().__init__(
            f"queue {queue}: its values are being changed; if that was interrupted, run `segue lanes configure --apply`"
        )


Opened = TypeVar("Opened", Queue, AsyncQueue)


def open_queue(queue: Queue) -> Queue:
    """Return the queue after comparing its values with the stored ones, which are written when there are none.

    Raises QueueMismatch when they differ, OtherLayout when the keys in Redis are of another version, QueueReconfiguring
    while `lanes.reconfigure` changes them, UnsuitableServer.
    """
    _suits(Server.of(queue.client))
    return _agreed(queue, run(queue, "open", _arguments(queue, creating=True)))


def compare_queue(queue: Queue) -> Queue:
    """Do what `open_queue` does, but write nothing when there are no stored values."""
    return _agreed(queue, run(queue, "open", _arguments(queue, creating=False)))


async def open_queue_async(queue: AsyncQueue) -> AsyncQueue:
    """Do what `open_queue` does, with an asyncio client."""
    _suits(await Server.of_async(queue.client))
    return _agreed(queue, await run_async(queue, "open", _arguments(queue, creating=True)))


def stored_config(client: redis.Redis, name: str) -> QueueConfig | None:
    """Return the values that are stored beside the queue `name`; None when it was never opened."""
    stored = cast(dict[bytes, bytes], client.hgetall(keys.CONFIG.of(name)))
    return QueueConfig(**{field.decode(): int(value) for field, value in stored.items()}) if stored else None


def _suits(server: Server) -> None:
    if misfit := server.misfit():
        raise UnsuitableServer(misfit)


def _arguments(queue: NamedQueue, *, creating: bool) -> list[Argument]:
    arguments: list[Argument] = [LAYOUT, int(creating)]
    for name, value in asdict(queue.config).items():
        arguments += [name, value]
    return arguments


def _agreed(queue: Opened, reply: list[Any]) -> Opened:
    if not reply:
        return queue
    layout, *stored = reply
    if int(layout) == _RECONFIGURING:
        raise QueueReconfiguring(queue.name)
    if int(layout) != LAYOUT:
        found = f"layout {int(layout)}" if int(layout) else "no layout number: an older version of Segue filled it"
        raise OtherLayout(
            f"queue {queue.name}: Redis has {found}, this version reads layout {LAYOUT}; "
            "deliver what waits with the version that filled it, or use another Redis database"
        )
    values = dict(zip(map(bytes.decode, stored[::2]), map(int, stored[1::2]), strict=True))
    own = asdict(queue.config)
    differences = {name: (values[name], own[name]) for name in own if values.get(name) != own[name]}
    if differences:
        raise QueueMismatch(queue.name, differences)
    return queue
