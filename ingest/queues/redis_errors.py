"""Errors of Redis, as a client and the log are told of them."""

from __future__ import annotations

from typing import Final, NamedTuple

from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from lanes.scripts import NoReplicas, NotReplicated


class Fault(NamedTuple):
    """Why an append is not possible. `code` is for programs, `text` for people."""

    code: str
    text: str


# Errors that often end within a second: a restart, a failover, a connection that Redis closed because it was idle.
PASSING: Final = (ConnectionError, TimeoutError, ReadOnlyError, MasterDownError, OSError)
# What a client raises when Redis cannot be used.
ERRORS: Final = (RedisError, OSError)


def fault(error: Exception) -> Fault:
    """Return what an error of the Redis client means for an append."""
    match error:
        case OutOfMemoryError():
            return Fault("redis_out_of_memory", "Redis is out of memory")
        case NotReplicated():
            return Fault("not_replicated", "no replica of Redis has the events on its disk")
        case NoReplicas():
            return Fault("redis_read_only", "too few replicas follow this Redis")
        case ReadOnlyError() | MasterDownError():
            return Fault("redis_read_only", "Redis is a read-only replica")
        case BusyLoadingError():
            return Fault("redis_loading", "Redis is loading its data")
        case ResponseError() if str(error).startswith("MISCONF"):
            return Fault("redis_cannot_save", "Redis takes no writes, because it cannot save its data")
        case ResponseError() if "WRONGTYPE" in str(error):
            return Fault("queue_damaged", "a key of the queue has the wrong type")
        case ResponseError():
            return Fault("redis_refuses", "Redis refuses the command")
    return Fault("redis_unavailable", "Redis is unavailable")
