"""Which configurations the running processes use, as `segue status` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from console.session import Session
from lanes import configurations
from settings import SettingsError, digest

_THIS = "this command"
UNKNOWN: dict[str, Any] = {"configuration": None, "configuration_fault": None, "processes": []}


def gather(session: Session) -> dict[str, Any]:
    """Return `{"configuration", "configuration_fault", "processes": [{"name", "configuration", "fault", "ahead_ms"}]}`:
    the digest of the file, and of what each running process uses. `configuration_fault`: why the file cannot be read;
    then the digest is that of what this process uses. `fault`: why the process did not load the file. `ahead_ms`: how
    far its clock is ahead of Redis'."""
    document, fault = session.document, None
    try:
        document = session.settings.document()
    except SettingsError as error:
        fault = str(error)
    return {
        "configuration": digest(document),
        "configuration_fault": fault,
        "processes": [
            {
                "name": process.name,
                "configuration": process.configuration,
                "fault": process.fault,
                "ahead_ms": process.ahead_ms,
            }
            for process in configurations.running(session.client)
        ],
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each configuration when they differ, and for each process that refused the file."""
    by_digest: dict[str, list[str]] = {found["configuration"]: [_THIS]}
    for process in found["processes"]:
        by_digest.setdefault(process["configuration"], []).append(process["name"])
    if len(by_digest) > 1:
        yield "the configurations differ; `segue reload` has all processes load the file:"
        for configuration, names in by_digest.items():
            yield f"  {configuration}: {', '.join(names)}"
    for process in found["processes"]:
        if process["fault"]:
            yield f"{process['name']} refused the file: {process['fault']}"
