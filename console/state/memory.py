"""The memory of Redis, as `segue status` prints it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rich import filesize

from console.session import Session
from lanes.cluster import servers
from lanes.server.checks import Server


def gather(session: Session) -> dict[str, Any]:
    """Return `{"memory": {"used", "limit", "refused_from"}}` in bytes: what Redis uses, its `maxmemory`, and from where
    on events are refused; the last two are null without a `maxmemory`. Of a cluster, it is the fullest server."""
    found = [Server.of(server).memory for server in servers(session.client).values()]
    used, limit = max(found, key=lambda memory: memory[0] / (memory[1] or math.inf))
    refused_from = math.ceil(limit * session.settings.memory_share) if limit else None
    return {"memory": {"used": used, "limit": limit or None, "refused_from": refused_from}}


def lines(memory: dict[str, Any]) -> Iterator[str]:
    """Yield what Redis uses, and from where on events are refused."""
    used = filesize.decimal(memory["used"])
    if memory["limit"] is None:
        yield f"Redis uses {used}; it has no maxmemory"
    else:
        limit, refused_from = map(filesize.decimal, (memory["limit"], memory["refused_from"]))
        yield f"Redis uses {used} of {limit}; events are refused from {refused_from} on"
