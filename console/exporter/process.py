"""The process of `segue metrics`: it serves the metrics, and loads the configuration again as other processes do."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from importlib import metadata
from typing import Final

import redis

import mapping
from console.errors import CommandError
from console.exporter.collector import QueueCollector
from ingest.acceptance import Configuration
from lanes import configurations
from lanes.server.connect import connect
from lanes.server.redis_url import address
from logs import events as log
from logs import output
from metrics import endpoint
from settings import Settings, SettingsError

_TICK_S: Final = 1.0
_REDIS_S: Final = 2.0


def name_of(pid: int) -> str:
    """Return the name under which the process with this number on this machine reports its configuration."""
    return f"metrics-{pid}@{socket.gethostname()}"


def run(settings: Settings) -> None:
    """Serve the metrics until SIGINT or SIGTERM. SIGHUP loads the configuration file again.

    Raises CommandError: the process cannot listen. Raises what `Configuration.of` raises.
    """
    output.configure(settings.process_name or "metrics", settings.log_format, settings.log_level)
    stopping, signalled = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    signal.signal(signal.SIGHUP, lambda *_: signalled.set())
    with connect(settings.redis_url, socket_timeout=_REDIS_S, socket_connect_timeout=_REDIS_S) as client:
        exporter = Exporter(client, settings)
        _write_started(settings, exporter.collector.configuration, _serve(settings, exporter.collector))
        exporter.follow(signalled)
        while not stopping.wait(_TICK_S):
            exporter.follow(signalled)
        with suppress(redis.RedisError):
            configurations.forget(client, exporter.process)
    log.PROCESS_STOPPED.write()


class Exporter:
    """The collector, and the configuration that it uses."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.process = configurations.Process(name_of(os.getpid()))
        self.collector = QueueCollector(client, settings, Configuration.of(settings.document()))
        self._client = client
        self._settings = settings

    def follow(self, signalled: threading.Event) -> None:
        """Report the configuration of this process, and load the file if that was requested, or `signalled` is set."""
        process = self.process
        with suppress(redis.RedisError):
            process.configuration = self.collector.configuration.digest
            request = configurations.report(self._client, process)
            if request != process.request or signalled.is_set():
                signalled.clear()
                process.fault, process.request = self._load(), request
                process.configuration = self.collector.configuration.digest
                configurations.report(self._client, process)

    def _load(self) -> str | None:
        """Load the file; return why it was refused, None when this process uses it."""
        before = self.collector.configuration.digest
        try:
            loaded = Configuration.of(self._settings.document())
        except (mapping.ConfigurationError, SettingsError) as error:
            log.CONFIGURATION_REFUSED.write(reason=error)
            return str(error)
        except Exception as error:  # of a file whose tables are of another type
            log.unhandled("loading the configuration", error)
            return str(error)
        if loaded.digest != before:
            self.collector.configuration = loaded
            log.CONFIGURATION_LOADED.write(configuration=loaded.digest, before=before)
        return None


def _serve(settings: Settings, collector: QueueCollector) -> str:
    """Serve the metrics in a thread; return the address. Raises CommandError."""
    metrics, host = endpoint.of_process("metrics"), settings.metrics_host
    metrics.register(collector)
    try:
        server = endpoint.serve(host, settings.metrics_port or endpoint.DEFAULT_PORT, metrics)
    except OSError as error:
        raise CommandError(
            f"the metrics cannot be served at {host}: {error.strerror}; set SEGUE_METRICS_PORT"
        ) from None
    return f"{host}:{server.server_port}"


def _write_started(settings: Settings, configuration: Configuration, listens: str) -> None:
    log.PROCESS_STARTED.write(
        version=metadata.version("segue"),
        configuration=configuration.digest,
        redis=address(settings.redis_url),
        metrics=listens,
        destinations=" ".join(configuration.destinations),
    )
