"""`segue up`: the whole pipeline on this machine, supervised until SIGINT or SIGTERM.

Without REDIS_URL it starts an embedded Redis. Without a Track API (SEGUE_TRACK_URL, or CUSTOMERIO_SITE_ID and
CUSTOMERIO_API_KEY) it starts a simulated workspace.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mapping
from console.local import programs, running
from console.local.data_dir import redis_socket
from console.local.supervisor import Supervisor
from lanes.server.connect import connect
from lanes.server.redis_url import socket_url, without_credentials
from logs import events as log
from logs import output
from settings import Settings

_POLL_S = 0.2
# Settings that other commands need to use the same queues and files.
_SHARED = ("broker_url", "config", "track_url", "settle_s", "dedupe_s", "queue_limit", "spill_dir", "ledger_dir")
_CREDENTIALS = ("CUSTOMERIO_SITE_ID", "CUSTOMERIO_API_KEY")
_DEFAULT_WITH_CREDENTIALS = """\
# Written by `segue up`: the default source and destination, with credentials from the environment.
[sources.demo]
write_key = "demo"
webhook_secret = "demo-secret"
trust = "server"
destinations = ["demo"]

[destinations.demo]
site_id = "${CUSTOMERIO_SITE_ID}"
api_key = "${CUSTOMERIO_API_KEY}"
"""


def run(settings: Settings, report: Callable[[str], None]) -> None:
    """Start every process, report `ready`, and supervise them until SIGINT or SIGTERM.

    Raises CommandError: another `segue up` uses the data directory, a port is in use, or a process cannot start.
    """
    output.configure("up", settings.log_format, settings.log_level)
    with running.locked(settings.data_dir) as lock:
        ports = _ports(settings)
        with redis_socket(settings.data_dir) as socket, Supervisor(_write, kept_open=[lock]) as supervisor:
            supervisor.handle_signals()
            environment = _start(supervisor, settings, ports, socket_url(socket))
            record = partial(_record, supervisor, settings.data_dir, ports, environment)
            record()
            if not supervisor.stopping.is_set():
                report(_addresses(settings, ports))
                report("ready")
            while not supervisor.stopping.wait(_POLL_S):
                if supervisor.restart_ended():
                    record()
            report("stopping")
    report("stopped")


def _write(change: str) -> None:
    log.CHILD_PROCESS.write(report=change)


def _start(supervisor: Supervisor, settings: Settings, ports: dict[str, int], embedded_url: str) -> dict[str, str]:
    """Start every process and return the variables that they share. `embedded_url` is that of an embedded Redis."""
    destinations = mapping.destinations(settings.document())
    environment = shared_variables(settings) | {"REDIS_URL": settings.redis_url}
    if "redis_url" not in settings.model_fields_set:
        environment["REDIS_URL"] = embedded_url
        supervisor.start(programs.embedded_redis(embedded_url, settings.data_dir / "redis"))
    else:
        connect(settings.redis_url, socket_connect_timeout=5).ping()
    if "simulator" in ports:
        environment["SEGUE_TRACK_URL"] = programs.url(programs.LOOPBACK, ports["simulator"])
        credentials = [(destination.site_id, destination.api_key) for destination in destinations.values()]
        supervisor.start(programs.simulator(ports["simulator"], credentials))
    if settings.config is None and _has_credentials():
        default = settings.data_dir / "default.toml"
        default.write_text(_DEFAULT_WITH_CREDENTIALS, encoding="utf-8")
        environment["SEGUE_CONFIG"] = str(default.resolve())
    if settings.metrics_port is not None:
        supervisor.start(programs.configured("metrics", environment))
    if settings.has_ledger:
        supervisor.start(programs.configured("ledger", environment))
    supervisor.start(
        *programs.workers(settings.workers, environment),
        programs.ingest(settings.host, ports["ingest"], environment),
        programs.console(settings.console_host, ports["console"], environment),
    )
    return environment


def shared_variables(settings: Settings) -> dict[str, str]:
    """Return the variables that are set and that other commands need to use the same queues and files."""
    values = {field: getattr(settings, field) for field in _SHARED if field in settings.model_fields_set}
    return {
        f"SEGUE_{field.upper()}": str(value.resolve() if isinstance(value, Path) else value)
        for field, value in values.items()
        if value is not None
    }


def _ports(settings: Settings) -> dict[str, int]:
    """Return the ports to listen on by name. Raises CommandError: it is not possible to listen on one."""
    ports = {"ingest": settings.ingest_port, "console": settings.console_port}
    if settings.track_url is None and not _has_credentials():
        ports["simulator"] = settings.simulator_port
    for name, port in ports.items():
        host_setting = "SEGUE_CONSOLE_HOST" if name == "console" else "SEGUE_HOST"
        port_setting = f"SEGUE_{name.upper()}_PORT"
        programs.probe_port(_host(settings, name), port, host_setting=host_setting, port_setting=port_setting)
    return ports


def _record(supervisor: Supervisor, data_dir: Path, ports: dict[str, int], environment: dict[str, str]) -> None:
    urls = {name: environment[name] for name in ("REDIS_URL", "SEGUE_BROKER_URL") if name in environment}
    recorded = environment | {name: without_credentials(url) for name, url in urls.items()}
    running.write(data_dir, running.Running(os.getpid(), supervisor.pids, ports, recorded))


def _addresses(settings: Settings, ports: dict[str, int]) -> str:
    return ", ".join(f"{name} on {programs.url(_host(settings, name), port)}" for name, port in ports.items())


def _host(settings: Settings, name: str) -> str:
    """Return the address on which an endpoint listens. The simulator has no login, so it stays on loopback."""
    return {"simulator": programs.LOOPBACK, "console": settings.console_host}.get(name, settings.host)


def _has_credentials() -> bool:
    return all(os.environ.get(name) for name in _CREDENTIALS)
