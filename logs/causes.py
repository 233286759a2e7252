"""What a line says of an exception: never a text that may contain data of an event."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

_MOST_FRAMES: Final = 8
# Redis quotes the arguments of a command that it does not know.
_QUOTED: Final = "with args beginning with"
# The client quotes the command of a pipeline in front of the error of Redis.
_IN_PIPELINE: Final = "of pipeline caused error: "


def cause(error: BaseException) -> str:
    """Return the class of the exception; with its text if that is one of Redis or of the operating system."""
    name = type(error).__name__
    if isinstance(error, RedisError):
        return f"{name}: {redis_text(error)}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return f"{name}: {cause(error.__cause__)}" if error.__cause__ else name


def redis_text(error: RedisError) -> str:
    """Return what Redis says, without the arguments of a command and without a full stop."""
    return str(error).rpartition(_IN_PIPELINE)[2].partition(_QUOTED)[0].rstrip(" ,.")


def is_known(error: BaseException) -> bool:
    """Whether the text of the exception, and what a library says of it, is safe in a line."""
    return isinstance(error, RedisError | OSError)


def frames(error: BaseException) -> str:
    """Return where the exception was raised, the innermost function first: `claim.py:12 deliver, …`."""
    found = traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    return ", ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(found))
