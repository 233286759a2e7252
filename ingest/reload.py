"""The configuration of an ingest process while it runs: the file is loaded again on SIGHUP and by `segue reload`.

All or nothing: a file with a fault, or one that this process must not use a queue with, changes nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import redis.asyncio

import lanes
import mapping
from ingest.acceptance import Acceptance, Configuration
from lanes import configurations
from logs import events as log
from settings import Settings, SettingsError

_FAULTS = (lanes.QueueError, mapping.ConfigurationError, SettingsError)


class Reload:
    """Loads the file of one process again when that is requested. `build` makes the acceptance of a configuration."""

    def __init__(self, settings: Settings, build: Callable[[Configuration], Acceptance]) -> None:
        self._settings = settings
        self._build = build
        self._process = configurations.Process(f"ingest-{os.getpid()}@{socket.gethostname()}")
        self._is_signalled = False

    def signal(self) -> None:
        """Have the next `follow` load the file."""
        self._is_signalled = True

    async def follow(self, client: redis.asyncio.Redis, current: Acceptance) -> Acceptance:
        """Report the configuration of this process, and load the file if that was requested.

        Returns the acceptance that requests use from now on. Raises what Redis raises; then the request stands.
        """
        process = self._process
        process.configuration = current.configuration.digest
        request = await configurations.report_async(client, process)
        if request == process.request and not self._is_signalled:
            return current
        process.fault = None
        try:
            loaded = await self._loaded(current)
        except _FAULTS as error:
            log.CONFIGURATION_REFUSED.write(reason=error)
            loaded, process.fault = current, str(error)
        self._is_signalled, process.request = False, request
        process.configuration = loaded.configuration.digest
        await configurations.report_async(client, process)
        return loaded

    async def forget(self, client: redis.asyncio.Redis) -> None:
        """Remove the report of this process, which stops."""
        await configurations.forget_async(client, self._process)

    async def _loaded(self, current: Acceptance) -> Acceptance:
        configuration = Configuration.of(self._settings.document())
        if configuration.digest == current.configuration.digest:
            return current
        acceptance = self._build(configuration)
        await acceptance.open()
        log.CONFIGURATION_LOADED.write(configuration=configuration.digest, before=current.configuration.digest)
        return acceptance
