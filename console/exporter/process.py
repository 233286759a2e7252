"""The process of `segue metrics`: it serves the metrics, and loads the configuration again as other processes do."""

from __future__ import annotations

import errno
import signal
import threading
from importlib import metadata
from typing import Final

import redis

from console.configured import Configured
from console.errors import CommandError
from console.exporter.collector import QueueCollector
from ingest.acceptance import Configuration
from lanes.server.connect import connect
from lanes.server.redis_url import address
from logs import events as log
from logs import output
from metrics import endpoint
from settings import Settings

_TICK_S: Final = 1.0
_REDIS_S: Final = 2.0
_OF_THE_PORT: Final = frozenset({errno.EADDRINUSE, errno.EACCES})  # it is in use, or only root may take it


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
        _write_started(settings, exporter.configuration, _serve(settings, exporter.collector))
        exporter.follow(signalled)
        while not stopping.wait(_TICK_S):
            exporter.follow(signalled)
        exporter.forget()
    log.PROCESS_STOPPED.write()


class Exporter(Configured):
    """The collector, and the configuration that it uses."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        super().__init__(client, settings, "metrics")
        self.collector = QueueCollector(client, settings, self.configuration)

    def follow(self, signalled: threading.Event) -> None:
        """Follow as `Configured` does, with the collector."""
        super().follow(signalled)
        self.collector.configuration = self.configuration


def _serve(settings: Settings, collector: QueueCollector) -> str:
    """Serve the metrics in a thread; return the address. Raises CommandError."""
    metrics, host = endpoint.of_process("metrics"), settings.metrics_host
    metrics.register(collector)
    try:
        server = endpoint.serve(host, settings.metrics_port or endpoint.DEFAULT_PORT, metrics)
    except OSError as error:
        setting = "SEGUE_METRICS_PORT" if error.errno in _OF_THE_PORT else "SEGUE_METRICS_HOST"
        raise CommandError(f"the metrics cannot be served at {host}: {error.strerror}; set {setting}") from None
    return f"{host}:{server.server_port}"


def _write_started(settings: Settings, configuration: Configuration, listens: str) -> None:
    log.PROCESS_STARTED.write(
        version=metadata.version("segue"),
        configuration=configuration.digest,
        redis=address(settings.redis_url),
        metrics=listens,
        destinations=" ".join(configuration.destinations),
    )
