"""`segue health`: whether a process of this machine works, for the health checks of containers."""

from __future__ import annotations

import socket
from typing import Literal

import redis

from console.errors import of_redis
from console.local import programs
from lanes import configurations
from settings import Settings
from workers import heartbeat

Role = Literal["ingest", "worker", "metrics", "console", "ledger"]
# A ledger that merges files reports nothing meanwhile.
_LEDGER_SILENCE_S = 120
TIMEOUT_S = 5.0  # the health checks of containers end after 10 s


def fault(role: Role | None, settings: Settings, client: redis.Redis) -> str | None:
    """Return why no process of this role works on this machine, None when one does. Without a role an ingest or a
    worker will do."""
    if role == "metrics":
        from metrics import endpoint

        return _http_fault(settings.metrics_host, settings.metrics_port or endpoint.DEFAULT_PORT, "metrics")
    if role == "console":
        return _http_fault(settings.console_host, settings.console_port, "health")
    if role == "ledger":
        return _ledger_fault(client)
    faults = []
    if role != "worker":
        faults.append(_http_fault(settings.host, settings.ingest_port, "health"))
    if role != "ingest":
        faults.append(_worker_fault(client))
    return None if None in faults else "; ".join(filter(None, faults))


def _http_fault(host: str, port: int, path: str) -> str | None:
    """Ask the endpoint whether it serves requests. Redis is no part of that: a restart would not bring it back."""
    import httpx

    address = f"{programs.url(host, port)}/{path}"
    try:
        status = httpx.get(address, timeout=TIMEOUT_S, trust_env=False).status_code
    except httpx.HTTPError as error:
        return f"{address} did not answer: {error}"
    return None if status == 200 else f"{address} answers HTTP {status}"


def _ledger_fault(client: redis.Redis) -> str | None:
    try:
        running = configurations.running(client, _LEDGER_SILENCE_S)
    except redis.RedisError as error:
        return f"no report can be read: {of_redis(error)}"
    here = f"@{socket.gethostname()}"
    is_here = any(each.name.startswith("ledger-") and each.name.endswith(here) for each in running)
    return None if is_here else "no ledger of this machine reports its configuration"


def _worker_fault(client: redis.Redis) -> str | None:
    try:
        runs = heartbeat.runs_here(client)
    except redis.RedisError as error:
        return f"no heartbeat can be read: {of_redis(error)}"
    return None if runs else "no worker of this machine sends heartbeats"
