"""The `segue` command: each command reads the settings, calls one function and prints the result.

An error of the set-up is printed as one text on stderr, without a traceback, and the exit code is 2.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated

import httpx
import typer
from redis.exceptions import OutOfMemoryError, RedisError

import lanes
import mapping
from console import audit as auditing
from console import checking, forget_cli, reload, status, translate, watching
from console.audit.since import Since
from console.cases import commands as case_commands
from console.dead import commands as dead_commands
from console.demo import run as demo
from console.demo import sample, staying
from console.diff import commands as diff_commands
from console.errors import CommandError
from console.importing import commands as import_commands
from console.ledger import commands as ledger_commands
from console.live import commands as live_commands
from console.local import health, up
from console.moving import commands as moving_commands
from console.options import AsJson, Destination
from console.output import out, print_error, print_json, print_line, print_lines, safe
from console.queues import draining, lanes_cli, overrides_cli
from console.send import command as send_command
from console.session import Session
from console.starting import startable, valid
from console.state import history
from console.web import commands as web_commands
from console.web import users
from dead_letters.import_export import ImportRefused
from settings import Settings, SettingsError, read_document
from workers import heartbeat

app = typer.Typer(
    name="segue",
    help="Carry Segment events to Customer.io: in order per person, at volume, without loss.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(forget_cli.app)
app.add_typer(case_commands.app)
app.add_typer(import_commands.app)
app.add_typer(overrides_cli.app)
app.add_typer(diff_commands.app)
app.add_typer(live_commands.app)
app.add_typer(send_command.app)
app.add_typer(lanes_cli.app, name="lanes")
app.add_typer(dead_commands.app, name="dead")
app.add_typer(web_commands.app(startable), name="console")
app.add_typer(ledger_commands.app, name="ledger")
app.add_typer(ledger_commands.people, name="people")
app.add_typer(ledger_commands.events, name="events")
app.add_typer(moving_commands.shadow, name="shadow")
app.add_typer(moving_commands.cutover, name="cutover")

# Celery warns of root, and of a group without a name, because of messages in pickle. Segue accepts JSON only, and a
# container often runs as either. Celery has no switch for it: C_FORCE_ROOT only allows pickle.
_QUIET = (
    "-Wignore:You're running the worker with superuser privileges",
    "-Wignore:An entry for the specified gid or egid was not found.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"segue {metadata.version('segue')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that precede a command."""


@app.command(name="up")
def run_up() -> None:
    """Run the whole pipeline on this machine until SIGINT or SIGTERM."""
    settings = valid(Settings.load())
    users.ensure_safe(settings)
    up.run(settings, typer.echo)


@app.command(name="demo")
def run_demo(
    events: Annotated[int, typer.Option(min=100, help="The least number of events to send.")] = 5000,
    seed: Annotated[int, typer.Option(help="The seed of the sample.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes; one is killed at half of the events.")] = 2,
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep everything running with the web console, until Control-C.")
    ] = False,
) -> None:
    """Deliver a sample to a simulated Customer.io, kill a worker on the way, and check every person.

    The exit code is 1 when an event is lost, out of order or a dead letter, or when a person is not as expected.
    """
    sent = sample.events(events, seed)
    with demo.started(out, workers) as pipeline:
        report = demo.deliver(pipeline, out, sent, seed)
        out.print(demo.render(report))
        for difference in report.differences[:20]:
            print_error(difference)
        if report.is_right:
            print_line("every person is as expected; no event was lost or out of order")
        if stay:
            staying.stay(pipeline, out, seed)
    if not report.is_right:
        raise typer.Exit(1)


@app.command()
def ingest(
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the port; SEGUE_INGEST_PROCESSES without it.")
    ] = None,
) -> None:
    """Run the HTTP endpoint that accepts events."""
    from ingest.browser import analytics_js
    from ingest.serving import server

    session = startable()
    analytics_js.scripts(session.settings.analytics_js)  # a fault ends the command, and not each of its processes
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


@app.command(name="status")
def show_status(
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Draw the last hour, until Control-C.")] = False,
) -> None:
    """Show the state and the figures of each destination and source, and the number of workers."""
    session = Session.join()
    if watch:
        watching.run(session)
    elif as_json:
        print_json(status.gather(session))
    else:
        out.print(status.render(status.gather(session)))


@app.command(name="health")
def check_health(
    role: Annotated[
        health.Role | None, typer.Argument(help="The process to look for; an ingest or a worker without it.")
    ] = None,
) -> None:
    """Exit with 0 when a process of this machine works, with 1 and the reason when not."""
    session = Session.join()
    fault = health.fault(role, session.settings, session.client)
    if fault:
        print_error(fault)
        raise typer.Exit(1)
    print_line("ok")


@app.command()
def audit(
    since: Since = None,
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Check that every accepted event was sent, has another fate, or waits. The exit code is 1 when one is missing.

    Queues whose destination is not configured any more are among them.

    `--json` prints a line for each destination: `{"destination", "configured", "balanced", "accepted", "lost",
    "missing": [{"sequence", "message_id", "text"}], "hours": [{"hour", "source", "accepted", …, "waiting",
    "difference"}]}`.
    """
    session = Session.join()
    results = [
        auditing.gather(
            queue,
            since or 0,
            configured=queue.name in session.destinations,
            last_of=partial(history.last_of, session, queue),
        )
        for queue in session.all_queues(destination)
    ]
    for result in results:
        if as_json:
            print_json(result)
        else:
            print_lines(auditing.render(result))
    if not all(result["balanced"] for result in results):
        raise typer.Exit(1)


@app.command()
def check(
    credentials: Annotated[bool, typer.Option("--credentials", help="Test the credentials at Customer.io.")] = False,
    redis: Annotated[bool, typer.Option("--redis", help="Test the Redis of the queues.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also when there is a warning.")] = False,
) -> None:
    """Check the configuration and print every fault. The exit code is 1 when there is one."""
    session = Session.join()
    settings = session.settings
    document = settings.document()
    faults = checking.faults(document)
    warnings = checking.settings_warnings(settings)
    if not faults:
        print_lines(checking.summary(document))
        warnings += checking.warnings(document)
        with suppress(RedisError):  # the configuration can be checked where Redis cannot be reached
            warnings += draining.warnings(session)
    findings = list(checking.redis_findings(session.client, settings.broker_url)) if redis else []
    warnings += [f"Redis: {finding.text}" for finding in findings if not finding.is_fault]
    for warning in warnings:
        print_line(f"warning: {warning}", style="yellow")
    if credentials and not faults:
        for name, destination in mapping.destinations(document).items():
            fault = checking.credentials(destination, settings)
            if fault:
                faults.append(f"destinations.{name}: {fault}")
            else:
                print_line(f"destination {name}: Customer.io accepts the credentials")
    file = f"{settings.config}: " if settings.config else ""
    faults = [f"{file}{fault}" for fault in faults]
    faults += [f"Redis: {finding.text}" for finding in findings if finding.is_fault]
    for fault in faults:
        print_error(fault)
    if redis and not faults:
        print_lines(checking.redis_summary(session.client))
    if faults or (strict and warnings):
        raise typer.Exit(1)
    print_line("ok")


@app.command(name="reload")
def reload_configuration() -> None:
    """Have every running process load the configuration file again.

    Each of them prints the digest of what it uses. The exit code is 1 when one keeps another configuration.
    """
    session = Session.join()
    results = list(reload.lines(session, *reload.reload(session)))
    for line, uses_it in results:
        print_line(line) if uses_it else print_error(line)
    if not results:
        print_line("no process runs")
    if not all(uses_it for _, uses_it in results):
        raise typer.Exit(1)


@app.command(name="translate")
def translate_lines(
    config: Annotated[Path | None, typer.Option(help="Use the first destination of this TOML file.")] = None,
) -> None:
    """Read events as JSON lines, print the requests made from them as JSON lines. Sends nothing."""
    destination = None
    if config is not None:
        destination = next(iter(mapping.destinations(read_document(config)).values()), None)
    for line in translate.run(sys.stdin, destination):
        typer.echo(safe(line))  # at once: another program may wait for it


def main() -> None:
    """Run the command line. An expected error is one text on stderr and the exit code 2.

    What the command and its children write is for this user only. Its children import nothing from the working
    directory, which may belong to another project.
    """
    os.umask(0o077)
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        app()
    except (CommandError, SettingsError, ImportRefused, lanes.QueueError, mapping.ConfigurationError) as error:
        _give_up(str(error))
    except OutOfMemoryError:
        _give_up("Redis is full: it has reached its maxmemory, and takes no change that needs memory")
    except RedisError as error:
        remedy = "set REDIS_URL, or SEGUE_DATA_DIR to that of a running `segue up`, or start everything with `segue up`"
        _give_up(f"Redis is unavailable: {str(error).rstrip('.')}; {remedy}")
    except httpx.HTTPError as error:
        _give_up(f"no response over HTTP: {error}")
    except OSError as error:
        _give_up(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _give_up(text: str) -> None:
    print_error(f"segue: {text}")
    sys.exit(2)


if __name__ == "__main__":
    main()
