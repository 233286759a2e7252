"""The commands on the configuration file: `segue check`, `segue reload` and `segue translate`."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from redis.exceptions import RedisError

import mapping
from console import checking, reload, translate
from console.output import print_error, print_line, print_lines, safe
from console.queues import draining
from console.session import Session
from settings import read_document

app = typer.Typer()


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
    sending_faults: list[str] = []
    if not faults:
        sending_faults = checking.sending_faults(document, settings)
        print_lines(checking.summary(document))
        warnings += checking.warnings(document)
        with suppress(RedisError):  # the configuration can be checked where Redis cannot be reached
            warnings += draining.warnings(session)
    findings = list(checking.redis_findings(session.client, settings.broker_url)) if redis else []
    warnings += [f"Redis: {finding.text}" for finding in findings if not finding.is_fault]
    for warning in warnings:
        print_line(f"warning: {warning}", style="yellow")
    if credentials and not faults and not sending_faults:
        for name, destination in mapping.destinations(document).items():
            fault = checking.credentials(destination, settings)
            if fault:
                faults.append(f"destinations.{name}: {fault}")
            else:
                print_line(f"destination {name}: Customer.io accepts the credentials")
    file = f"{settings.config}: " if settings.config else ""
    faults = [f"{file}{fault}" for fault in faults] + sending_faults
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
    """Read JSON lines `{"event": {…}}`, print the requests made from their events as JSON lines. Sends nothing."""
    destination = None
    if config is not None:
        destination = next(iter(mapping.destinations(read_document(config)).values()), None)
    for line in translate.run(sys.stdin, destination):
        typer.echo(safe(line))  # at once: another program may wait for it
