"""The parts of a state that can be read while a node of a Redis Cluster is unavailable, and those that cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import redis

from console.errors import of_redis
from lanes.cluster import ClusterClient
from workers import heartbeat

Read = TypeVar("Read")


class Available:
    """Reads the parts of a state. `unavailable` has `{"part", "reason"}` for each that could not be read."""

    def __init__(self, client: redis.Redis) -> None:
        self.unavailable: list[dict[str, str]] = []
        self._has_nodes = isinstance(client, ClusterClient)

    def read(self, part: str, read: Callable[[], Read]) -> Read | None:
        """Return what is read; None when its node is unavailable. Of a single Redis, raises what `read` raises."""
        try:
            return read()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if not self._has_nodes:
                raise
            self.unavailable.append({"part": part, "reason": of_redis(error)})
            return None


def workers(client: redis.Redis) -> int | None:
    """Return the number of running workers; None when it is not known."""
    return Available(client).read("the workers", lambda: heartbeat.count(client))


def lines(unavailable: Iterable[dict[str, str]]) -> Iterator[str]:
    """Yield a line for each reason, with the parts that cannot be read."""
    by_reason: dict[str, list[str]] = {}
    for each in unavailable:
        by_reason.setdefault(each["reason"], []).append(each["part"])
    for reason, parts in by_reason.items():
        yield f"cannot be read: {', '.join(parts)}. {reason}"


def raise_first(state: dict[str, Any]) -> None:
    """Raise redis.ConnectionError when a part of the state could not be read."""
    for line in lines(state["unavailable"]):
        raise redis.ConnectionError(line)
