"""The command `segue test`: of one event, or of case files."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from console.cases import files, matching, one_event
from console.cases.files import CaseFile
from console.cases.recording import record
from console.cases.results import Result, Results
from console.cases.running import Bench
from console.errors import CommandError
from console.options import AsJson, Destination
from console.output import counted, out, print_error, print_json_lines, print_line, print_lines
from console.session import Session

app = typer.Typer()

Source = Annotated[str | None, typer.Option(help="The source that sends it. Default: the first of the destination.")]
Send = Annotated[bool, typer.Option("--send", help="Send the requests.")]
Yes = Annotated[bool, typer.Option("--yes", help="Send to Customer.io itself without a confirmation.")]
Expect = Annotated[Path | None, typer.Option(help="Compare with this file: JSON as --json prints it, or a part of it.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show why the other subscriptions do not match.")]
Junit = Annotated[Path | None, typer.Option(help="Write the results of cases as JUnit XML to this file.")]
Update = Annotated[bool, typer.Option("--update", help="Write what comes out now into the case files.")]
FromLedger = Annotated[
    int | None, typer.Option(min=1, help="Write this many cases of the newest recorded events into a directory.")
]


@app.command(name="test")
def try_events(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="A file with an event as JSON, - for stdin; or case files, directories.")
    ] = None,
    destination: Destination = None,
    source: Source = None,
    send: Send = False,
    yes: Yes = False,
    expect: Expect = None,
    verbose: Verbose = False,
    junit: Junit = None,
    update: Update = False,
    from_ledger: FromLedger = None,
    as_json: AsJson = False,
) -> None:
    """Show which subscriptions match an event, and the requests that a worker would send. Sends nothing without --send.

    With a running `segue up`, the requests go where it sends its own. The exit code is 1 when ingest refuses the event,
    a mapping fails, a request is not accepted, or the result is not the expected one.

    With case files, compare what becomes of their events with what they expect. The exit code is 1 when a case fails,
    and 2 when a file is wrong.
    """
    of_event = {"--destination": destination, "--source": source, "--send": send, "--yes": yes, "--expect": expect}
    of_cases = {"--junit": junit, "--update": update}
    given = paths or [Path("-")]
    if from_ledger is not None:
        _refuse("--from-ledger", of_event | of_cases | {"--verbose": verbose, "--json": as_json})
        _record(paths or [], from_ledger)
    elif given != [Path("-")] and (len(given) > 1 or files.are_cases(given[0])):
        _refuse("case files", of_event | {"--verbose": verbose})
        _test_cases(given, junit, update, as_json)
    else:
        _refuse("one event", of_cases)
        one_event.run(
            str(given[0]),
            one_event.Options(
                destination=destination,
                source=source,
                send=send,
                yes=yes,
                expect=expect,
                verbose=verbose,
                as_json=as_json,
            ),
        )


def _refuse(what: str, options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if value:
            raise CommandError(f"{name} cannot be used with {what}")


def _test_cases(paths: Iterable[Path], junit: Path | None, update: bool, as_json: bool) -> None:
    """Run the cases and print the results. Raises typer.Exit: a case fails, or a file is wrong."""
    bench, started_at = Bench(Session.join()), datetime.now(UTC)
    read = [files.read(path, bench.session.destinations, bench.sources) for path in files.found(paths)]
    cases = [result for file in read for result in _run(file, bench, update)]
    results = Results(read, cases, started_at)
    if as_json:
        print_json_lines(result.json() for result in cases)
    else:
        for line in results.render():
            out.print(line, soft_wrap=True)
    for fault in results.faults:
        print_error(fault)
    if junit is not None:
        junit.write_bytes(results.junit())
    if results.faults:
        raise typer.Exit(2)
    if results.failed:
        raise typer.Exit(1)


def _run(file: CaseFile, bench: Bench, update: bool) -> Iterator[Result]:
    """Yield the results of the cases of a file. `update`: write what comes out first; then they pass."""
    expectations = {}
    for index, case in enumerate(file.cases):
        start = time.perf_counter()
        actual, expect = bench.run(case), case.expect
        findings = None if expect is None else tuple(matching.findings(expect, actual))
        if update and findings != ():
            expectations[index] = actual.expectation() if expect is None else matching.update(expect, actual)
            findings = ()
        yield Result(file.name, case.name, findings, time.perf_counter() - start)
    if expectations:
        files.write(file, expectations)
        print_error(f"updated {file.path}: {counted(len(expectations), 'case')}")


def _record(paths: Sequence[Path], count: int) -> None:
    if len(paths) != 1:
        raise CommandError("--from-ledger needs one directory, such as `segue test --from-ledger 20 cases/`")
    (directory,) = paths
    written = record(Bench(Session.join()), count, directory)
    print_lines(str(path) for path in written)
    print_line(
        f"{counted(len(written), 'case')} with pseudonyms in place of personal data; look through them before you "
        "commit: names of members and small numbers are as they were",
        style="yellow",
    )
