"""The commands that run the processes of a pipeline."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated

import typer
from redis.exceptions import RedisError

from console.local import programs, up
from console.output import print_error
from console.queues import draining
from console.starting import startable, valid
from settings import Settings
from workers import heartbeat

app = typer.Typer()

# Celery warns of root, and of a group without a name, because of messages in pickle. Segue accepts JSON only, and a
# container often runs as either. Celery has no switch for it: C_FORCE_ROOT only allows pickle.
_QUIET = (
    "-Wignore:You're running the worker with superuser privileges",
    "-Wignore:An entry for the specified gid or egid was not found.",
)


@app.command(name="up")
def run_up() -> None:
    """Run the whole pipeline on this machine until SIGINT or SIGTERM."""
    from console.web import users

    settings = valid(Settings.load())
    users.ensure_safe(settings)
    up.run(settings, typer.echo)


@app.command()
def ingest(
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Processes that share the port; SEGUE_INGEST_PROCESSES without it."),
    ] = None,
) -> None:
    """Run the HTTP endpoint that accepts events."""
    from ingest.browser import analytics_js
    from ingest.serving import server

    session = startable()
    # A fault ends the command here, and not each of its processes.
    analytics_js.scripts(session.settings.analytics_js)
    programs.probe_port(
        session.settings.host,
        session.settings.ingest_port,
        host_setting="SEGUE_HOST",
        port_setting="SEGUE_INGEST_PORT",
    )
    with suppress(RedisError):
        for warning in draining.warnings(session):
            print_error(f"segue: warning: {warning}")
    os.environ.update(session.environment())
    server.run(session.settings, processes or session.settings.ingest_processes)


@app.command()
def worker() -> None:
    """Run one worker process. Any number may run, on any machine that reaches Redis."""
    session = startable()
    threads = session.settings.concurrency * max(1, len(session.destinations))
    options = f"--pool threads -Q segue --loglevel WARNING -n {heartbeat.NAME} --concurrency {threads}"
    isolated = "--without-gossip --without-mingle --without-heartbeat"
    celery = f"-m workers --quiet worker {options} {isolated}"
    os.execve(sys.executable, [sys.executable, *_QUIET, *celery.split()], session.environment())


@app.command(name="metrics")
def serve_metrics() -> None:
    """Serve the metrics of the queues, sources and destinations in Prometheus's format. One process is enough."""
    from console.exporter import process

    process.run(startable().settings)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def simulator(context: typer.Context) -> None:
    """Run a simulated Customer.io workspace on loopback. Further options are passed to `python -m simulator`."""
    port = ["--port", str(Settings.load().simulator_port)]
    os.execv(sys.executable, [sys.executable, "-m", "simulator", *port, *context.args])
