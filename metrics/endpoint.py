"""The metrics of a process over HTTP, in the text format of Prometheus.

The port is not that of ingest, which may be public. Each process of a machine takes the first free port, from the
configured one on: with N processes these are N ports in a row, whichever process has which.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from importlib import metadata
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, start_http_server
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from logs import events as log
from logs.causes import cause
from metrics import registry
from metrics.figures import Role

DEFAULT_PORT: Final = 9464  # OpenTelemetry's for Prometheus
PORTS: Final = 100  # that are tried


class _Counted(Collector):
    """What this process counts, and which process it is."""

    def __init__(self, role: Role) -> None:
        self._role = role

    def collect(self) -> Iterator[Family]:
        """Yield the metrics."""
        yield registry.PROCESS_INFO.family([((self._role, metadata.version("segue")), 1)])
        for metric in registry.COUNTED[self._role]:
            yield from metric.collect()


def of_process(role: Role) -> CollectorRegistry:
    """Return what a process of this role counts, with the figures of Python and of the operating system about it."""
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    PlatformCollector(registry=found)
    GCCollector(registry=found)
    found.register(_Counted(role))
    return found


def serve(host: str, first_port: int, metrics: CollectorRegistry) -> WSGIServer:
    """Serve the metrics in a thread, until `shutdown` of the server that is returned.

    Raises OSError: the host is none of this machine, or all PORTS ports from `first_port` on are taken.
    """
    for port in range(first_port, first_port + PORTS):
        try:
            return start_http_server(port, host, metrics)[0]
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"all ports from {first_port} to {first_port + PORTS - 1} are in use")


def start(role: Role, host: str, first_port: int | None) -> str | None:
    """Serve what this process counts; return the address, None without a port.

    A process that cannot listen works without metrics; the log has the reason.
    """
    if first_port is None:
        return None
    try:
        return f"{host}:{serve(host, first_port, of_process(role)).server_port}"
    except OSError as error:
        log.METRICS_UNSERVED.write(error=cause(error))
        return None
