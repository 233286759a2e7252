"""The server of the endpoint: uvicorn with the connections of `ingest.serving.protocol`, in one process or in several.

Several processes share one listening socket, so a process that parses a large request leaves new connections to the
others. uvicorn supervises them: it restarts a process that ends, and SIGHUP replaces all of them one after the other.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import sys
from functools import partial
from typing import Any

import uvicorn

import mapping
from ingest.app import Ingest
from ingest.serving.connections import Connections
from ingest.serving.limits import Limits
from ingest.serving.protocol import Protocol
from logs import events as log
from logs import output
from settings import Settings, SettingsError

_HEALTHCHECK_S = 30  # a process that does not answer for so long is restarted; a suspended machine is not unhealthy
_SHUTDOWN_S = 10


def run(settings: Settings, processes: int) -> None:
    """Log the limits, and serve until SIGINT or SIGTERM. Every process reads the settings from the environment."""
    limits = Limits.of(settings)
    _configure_log(settings)
    log.CONNECTIONS_LIMITED.write(limits=limits.summary())
    http: Any = partial(Protocol, Connections(limits))  # uvicorn calls it as the class of its connections
    uvicorn.run(
        "ingest.serving.server:create_app",
        factory=True,
        workers=processes,
        host=settings.host,
        port=settings.ingest_port,
        forwarded_allow_ips=settings.trusted_proxies,
        http=http,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=_SHUTDOWN_S,
        timeout_worker_healthcheck=_HEALTHCHECK_S,
    )


def create_app() -> Ingest:
    """Return the application of this process's settings; raise SettingsError or ConfigurationError.

    A process of several ends as after SIGTERM when their supervisor is killed: without it they would keep the port.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        asyncio.get_running_loop().add_reader(supervisor.sentinel, signal.raise_signal, signal.SIGTERM)
    settings = Settings.load()
    _configure_log(settings)
    try:
        app = Ingest(settings)
    except (SettingsError, mapping.ConfigurationError) as error:
        if supervisor is None:
            raise
        sys.exit(f"segue: {error}")  # the supervisor keeps the processes that it has
    signal.signal(signal.SIGHUP, lambda *_: app.reload.signal())
    return app


def _configure_log(settings: Settings) -> None:
    output.configure(settings.process_name or "ingest", settings.log_format, settings.log_level)
