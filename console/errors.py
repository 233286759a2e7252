"""The errors that end a command: one text on stderr and the exit code 2."""

from __future__ import annotations

_WITHOUT_REDIS = "set REDIS_URL, or SEGUE_DATA_DIR to that of a running `segue up`, or start everything with `segue up`"


class CommandError(Exception):
    """A command cannot be carried out. The message gives the reason and what the operator can do."""


def expected(error: Exception) -> str | None:
    """Return the text of an error of the set-up; None for an error of the program.

    The types are imported here: most commands end without an error, and do not need all of these packages.
    """
    import httpx
    from redis.exceptions import OutOfMemoryError, RedisError

    from dead_letters.import_export import ImportRefused
    from lanes import QueueError
    from mapping import ConfigurationError
    from settings import SettingsError

    match error:
        case CommandError() | SettingsError() | ImportRefused() | QueueError() | ConfigurationError():
            return str(error)
        case OutOfMemoryError():
            return "Redis is full: it has reached its maxmemory, and takes no change that needs memory"
        case RedisError():
            return f"Redis is unavailable: {str(error).rstrip('.')}; {_WITHOUT_REDIS}"
        case httpx.HTTPError():
            return f"no response over HTTP: {error}"
        case OSError():
            return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return None
