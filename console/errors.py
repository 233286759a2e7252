"""The errors that end a command: one text on stderr and the exit code 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.exceptions import RedisError

_UNAVAILABLE = "Redis is unavailable"
_WITHOUT_REDIS = "set REDIS_URL, or SEGUE_DATA_DIR to that of a running `segue up`, or start everything with `segue up`"
# Refusals of Redis for which its client has no exception, by the first word of the text.
_REFUSALS = {
    "BUSY": "Redis runs a script for too long, and takes no other command until it ends",
    "MISCONF": "Redis takes no writes, because it cannot save its data; its own log says why",
    "NOREPLICAS": "Redis takes no writes, because fewer replicas follow it than min-replicas-to-write",
}


class CommandError(Exception):
    """A command cannot be carried out. The message gives the reason and what the operator can do."""


def expected(error: Exception) -> str | None:
    """Return the text of an error of the set-up; None for an error of the program.

    The types are imported here: most commands end without an error, and do not need all of these packages.
    """
    import httpx
    from redis.exceptions import RedisError

    from dead_letters.import_export import ImportRefused
    from lanes import QueueError
    from mapping import ConfigurationError
    from settings import SettingsError

    match error:
        case CommandError() | SettingsError() | ImportRefused() | QueueError() | ConfigurationError():
            return str(error)
        case RedisError():
            text = of_redis(error)
            return f"{text}; {_WITHOUT_REDIS}" if text.startswith(_UNAVAILABLE) else text
        case httpx.HTTPError():
            return f"no response over HTTP: {error}"
        case OSError():
            return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return None


def of_redis(error: RedisError) -> str:
    """Return what an error of Redis means, and what is to be done, without a full stop at its end."""
    from redis.exceptions import (
        AskError,
        AuthenticationError,
        BusyLoadingError,
        ClusterDownError,
        ConnectionError,
        MasterDownError,
        NoPermissionError,
        OutOfMemoryError,
        ReadOnlyError,
        TimeoutError,
    )

    from lanes.scripts import NoReplicas
    from logs.causes import redis_text

    text = redis_text(error)
    match error:
        case OutOfMemoryError():
            return "Redis is full: it has reached its maxmemory, and takes no change that needs memory"
        case AuthenticationError():
            return "Redis refuses the user or the password of its URL, or needs one"
        case NoPermissionError():
            return f"the user of Redis lacks a right, and `segue check --redis` names those that it needs: {text}"
        case BusyLoadingError():
            return "Redis is loading its data, and takes no command until it has"
        case MasterDownError():
            return "Redis is a replica without its primary; its URL must name the primary"
        case ClusterDownError():
            return f"the Redis Cluster takes no command: {text}"
        case AskError():  # MovedError is one
            return "this Redis is a node of a Redis Cluster, which REDIS_URL must name by redis+cluster://"
        case NoReplicas():
            return _REFUSALS["NOREPLICAS"]
        case ReadOnlyError():
            return "Redis is a read-only replica; its URL must name the primary"
        case ConnectionError() if text.startswith("max number of clients"):
            return "Redis has as many connections as its maxclients allows"
        case ConnectionError() | TimeoutError():
            return f"{_UNAVAILABLE}: {text}"
    return _REFUSALS.get(text.partition(" ")[0], f"Redis refuses a command: {text}")
