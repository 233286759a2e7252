"""What every process of a pipeline checks before it starts."""

from __future__ import annotations

from contextlib import suppress

from redis.exceptions import RedisError

from console import checking
from console.errors import CommandError
from console.output import print_error
from console.session import Session
from settings import Settings


def startable() -> Session:
    """Return the session of a process that may start; print the warnings of its settings. Redis may be unavailable.

    Raises CommandError: the configuration has faults, or a value differs from a queue's. Raises lanes.OtherLayout.
    """
    session = Session.join()
    valid(session.settings)
    for warning in checking.settings_warnings(session.settings):
        print_error(f"segue: warning: {warning}")
    with suppress(RedisError):
        session.check_queues()
    return session


def valid(settings: Settings) -> Settings:
    """Return the settings. Raises CommandError: the configuration has faults."""
    faults = checking.faults(settings.document())
    if faults:
        raise CommandError("\n".join(["the configuration is invalid:", *faults]))
    return settings
