"""The memory of Redis, as `segue status` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import filesize

from console.session import Session
from lanes.server.checks import Server


def gather(session: Session) -> dict[str, Any]:
    """Return `{"memory": {"used", "limit", "refused_from"}}` in bytes: what Redis uses, its `maxmemory`, and from where
    on events are refused; the last two are null without a `maxmemory`."""
    used, limit = Server.of(session.client).memory
    refused_from = int(limit * session.settings.memory_share) or None
    return {"memory": {"used": used, "limit": limit or None, "refused_from": refused_from}}


def lines(memory: dict[str, Any]) -> Iterator[str]:
    """Yield what Redis uses, and from where on events are refused."""
    used = filesize.decimal(memory["used"])
    if memory["limit"] is None:
        yield f"Redis uses {used}; it has no maxmemory"
    else:
        limit, refused_from = map(filesize.decimal, (memory["limit"], memory["refused_from"]))
        yield f"Redis uses {used} of {limit}; events are refused from {refused_from} on"
