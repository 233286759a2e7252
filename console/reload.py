"""`segue reload`: have the running processes load the configuration file again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from console import checking
from console.errors import CommandError
from console.session import Session
from lanes import configurations
from lanes.configurations import Process
from settings import digest

DEADLINE_S = 15.0


def reload(session: Session, deadline_s: float = DEADLINE_S) -> tuple[int, list[Process]]:
    """Request every process to load the file; return the number of the request, and the processes afterwards.

    Nothing is requested when the file that this command reads has a fault: raises CommandError.
    """
    faults = checking.faults(session.document)
    if faults:
        raise CommandError("\n".join(["the configuration is invalid, no process was asked to load it:", *faults]))
    session.check_queues()
    request = configurations.request_load(session.client)
    return request, configurations.wait_for(session.client, request, deadline_s)


def lines(session: Session, request: int, processes: Iterable[Process]) -> Iterator[tuple[str, bool]]:
    """Yield a line for each process, and whether it uses the configuration that this command reads."""
    own = digest(session.document)
    for process in processes:
        if process.request < request:
            yield f"{process.name}: {process.configuration}, no response yet", False
        elif process.fault is not None:
            yield f"{process.name}: {process.configuration} stays; {process.fault}", False
        elif process.configuration != own:
            yield f"{process.name}: {process.configuration}, from another file than this command's ({own})", False
        else:
            yield f"{process.name}: {process.configuration}", True
