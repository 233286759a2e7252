"""A process that uses the configuration file, and loads it again when `segue reload` or SIGHUP asks for it."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import Literal

import redis

import mapping
from ingest.acceptance import Configuration
from lanes import configurations
from logs import events as log
from settings import Settings, SettingsError

Role = Literal["metrics", "ledger"]


def name_of(role: Role, pid: int) -> str:
    """Return the name under which the process with this number on this machine reports its configuration."""
    return f"{role}-{pid}@{socket.gethostname()}"


class Configured:
    """The configuration of this process. Raises what `Configuration.of` raises."""

    def __init__(self, client: redis.Redis, settings: Settings, role: Role) -> None:
        self.configuration = Configuration.of(settings.document())
        self.process = configurations.Process(name_of(role, os.getpid()))
        self._client = client
        self._settings = settings

    def follow(self, signalled: threading.Event) -> None:
        """Report the configuration of this process, and load the file if that was requested, or `signalled` is set."""
        process = self.process
        with suppress(redis.RedisError):
            process.configuration = self.configuration.digest
            request = configurations.report(self._client, process)
            if request != process.request or signalled.is_set():
                signalled.clear()
                process.fault, process.request = self._load(), request
                process.configuration = self.configuration.digest
                configurations.report(self._client, process)

    def forget(self) -> None:
        """Remove the report of this process, which stops."""
        with suppress(redis.RedisError):
            configurations.forget(self._client, self.process)

    def _load(self) -> str | None:
        """Load the file; return why it was refused, None when this process uses it."""
        before = self.configuration.digest
        try:
            loaded = Configuration.of(self._settings.document())
        except (mapping.ConfigurationError, SettingsError) as error:
            log.CONFIGURATION_REFUSED.write(reason=error)
            return str(error)
        except Exception as error:  # of a file whose tables are of another type
            log.unhandled("loading the configuration", error)
            return str(error)
        if loaded.digest != before:
            self.configuration = loaded
            log.CONFIGURATION_LOADED.write(configuration=loaded.digest, before=before)
        return None
