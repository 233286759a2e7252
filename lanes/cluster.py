"""Clients of a Redis Cluster. Each belongs to one slot, and so to one queue.

All keys of a queue are in one slot. The connections of a client lead to the primary of its slot, so it is used like the
client of a single Redis. Its pipelines, transactions, WAITAOF, TIME, INFO and SCAN reach the right server. A server
that is unavailable stops the queues in its own slots and no other. Before a connection opens, a node of the cluster is
asked for the primary. A connection whose server lost the slot ends, and the next one leads to the new primary.

ASK is not followed. The server answers it while a slot is moved key by key. On the other server a script would find a
part of its queue, and write by what it found. So the queue is unavailable until its whole slot has moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, ConnectionError, RedisError, TryAgainError
from redis.retry import Retry

Address = tuple[str, int]  # host, port
Client = TypeVar("Client", redis.Redis, redis.asyncio.Redis)

_ASK_S: Final = 1.0  # for which a node may take to answer before the next one is asked
_QUESTION: Final = "CLUSTER SLOTS"
_PREFIX: Final = b"segue:"  # of every key
# The server does not have the slot, or not all of it, or does not know yet. MovedError is an AskError.
_ELSEWHERE: Final = (AskError, TryAgainError, ClusterDownError)


class Range(NamedTuple):
    """Slots `first` to `last`, and the address of their primary."""

    first: int
    last: int
    primary: Address


class Nodes:
    """The nodes of a cluster: those of the URL, and those that a node told of. `options` are those of connections."""

    def __init__(self, hosts: Iterable[Address], options: dict[str, Any]) -> None:
        self.options = options | {"socket_timeout": _ASK_S, "socket_connect_timeout": _ASK_S}
        self._of_url = self._known = tuple(hosts)
        self._turn = 0

    def in_turn(self) -> tuple[Address, ...]:
        """Return the addresses. Each call begins with another one: a node may not know of a failover."""
        self._turn = (self._turn + 1) % len(self._known)
        return self._known[self._turn :] + self._known[: self._turn]

    def learn(self, reply: Any, asked: Address) -> list[Range]:
        """Return the ranges of slots in a reply to CLUSTER SLOTS; remember the nodes in it."""
        known, ranges = dict.fromkeys(self._of_url), []
        for first, last, *nodes in reply:
            addresses = [_address(node, asked) for node in nodes]
            known |= dict.fromkeys(addresses)
            ranges.append(Range(first, last, addresses[0]))
        self._known = tuple(known)
        return ranges


def _address(node: Sequence[Any], asked: Address) -> Address:
    """Return the address of a node in a reply. A node that does not know its own name gives none."""
    host = (node[0] or b"").decode()
    return host or asked[0], int(node[1])


def _primary(ranges: Iterable[Range], slot: int) -> Address:
    for first, last, primary in ranges:
        if first <= slot <= last:
            return primary
    raise ConnectionError(f"no node of the Redis Cluster has slot {slot}")


def _elsewhere(error: Exception) -> ConnectionError:
    return ConnectionError(
        f"the node of the Redis Cluster does not have the whole slot: {type(error).__name__} {error}"
    )


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What the clients of a cluster share."""

    nodes: Nodes
    connection_class: type
    options: dict[str, Any]
    clients: dict[int, Any] = field(default_factory=dict)  # by slot

    def pool(self, kind: Any, slot: int) -> Any:
        return kind(connection_class=self.connection_class, nodes=self.nodes, slot=slot, **self.options)


def _slot_of(command: Sequence[Any]) -> int | None:
    """Return the slot of the key in a command; None for a command without a key."""
    position = 3 if command[0] in ("EVAL", "EVALSHA") else 1
    key = command[position] if len(command) > position else None
    name = key.encode() if isinstance(key, str) else key
    return key_slot(name) if isinstance(name, bytes) and name.startswith(_PREFIX) else None


class _Connection(redis.Connection):
    """A connection to the primary of a slot."""

    def __init__(self, *, nodes: Nodes, slot: int, **options: Any) -> None:
        self._nodes, self._slot = nodes, slot
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = False) -> None:
        """Connect to the primary. The caller tries again: it may be another one then."""
        if not self.is_connected:
            self.host, self.port = _primary(_ranges(self._nodes), self._slot)
        super().connect_check_health(check_health, retry_socket_connect)

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read a reply. Raises ConnectionError when the slot is elsewhere."""
        try:
            return super().read_response(*arguments, **options)
        except _ELSEWHERE as error:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise _elsewhere(error) from error


class _TlsConnection(_Connection, redis.SSLConnection):
    """The same with TLS."""


def _ranges(nodes: Nodes) -> list[Range]:
    """Return the ranges of slots, as the first node that answers knows them. Raises the error of the last one."""
    failed: RedisError = ConnectionError("the Redis Cluster has no nodes")
    for address in nodes.in_turn():
        try:
            with redis.Redis(host=address[0], port=address[1], retry=Retry(NoBackoff(), 0), **nodes.options) as node:
                return nodes.learn(node.execute_command(_QUESTION), address)
        except RedisError as error:
            failed = error
    raise failed


class ClusterClient(redis.Redis):
    """A client of one slot. A single command on a key of another slot goes to that one; a pipeline does not."""

    def __init__(self, cluster: _Cluster, slot: int = 0) -> None:
        super().__init__(connection_pool=cluster.pool(redis.ConnectionPool, slot))
        self._cluster, self._slot = cluster, slot
        cluster.clients.setdefault(slot, self)

    def at_slot(self, slot: int) -> ClusterClient:
        """Return the client of a slot."""
        found: ClusterClient = self._cluster.clients.get(slot) or ClusterClient(self._cluster, slot)
        return found

    def primaries(self) -> dict[str, redis.Redis]:
        """Return a client of each primary, by its address."""
        ranges = {f"{each.primary[0]}:{each.primary[1]}": each.first for each in _ranges(self._cluster.nodes)}
        return {address: self.at_slot(slot) for address, slot in sorted(ranges.items())}

    def own_key(self) -> str:
        """Return a key of this slot that no queue uses."""
        return next(
            key for key in map("segue:{{{}}}:check".format, range(2**31)) if _slot_of(("GET", key)) == self._slot
        )

    def execute_command(self, *command: Any, **options: Any) -> Any:
        """Run a command on the server that has its key."""
        slot = _slot_of(command)
        if slot is None or slot == self._slot:
            return super().execute_command(*command, **options)  # type: ignore[no-untyped-call]
        return self.at_slot(slot).execute_command(*command, **options)

    def close(self) -> None:
        """Close the connections of all clients of the cluster."""
        for client in tuple(self._cluster.clients.values()):
            client.connection_pool.disconnect()


class _AsyncConnection(redis.asyncio.Connection):
    """A connection to the primary of a slot, for asyncio."""

    def __init__(self, *, nodes: Nodes, slot: int, **options: Any) -> None:
        self._nodes, self._slot = nodes, slot
        super().__init__(**options)

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = False) -> None:
        """Connect to the primary. The caller tries again: it may be another one then."""
        if not self.is_connected:
            self.host, self.port = _primary(await _ranges_async(self._nodes), self._slot)
        await super().connect_check_health(check_health, retry_socket_connect)

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read a reply. Raises ConnectionError when the slot is elsewhere."""
        try:
            return await super().read_response(*arguments, **options)
        except _ELSEWHERE as error:
            await self.disconnect()
            raise _elsewhere(error) from error


class _AsyncTlsConnection(_AsyncConnection, redis.asyncio.SSLConnection):
    """The same with TLS."""


async def _ranges_async(nodes: Nodes) -> list[Range]:
    """Return what `_ranges` returns."""
    failed: RedisError = ConnectionError("the Redis Cluster has no nodes")
    for address in nodes.in_turn():
        try:
            async with redis.asyncio.Redis(
                host=address[0], port=address[1], retry=AsyncRetry(NoBackoff(), 0), **nodes.options
            ) as node:
                return nodes.learn(await node.execute_command(_QUESTION), address)  # type: ignore[no-untyped-call]
        except RedisError as error:
            failed = error
    raise failed


class AsyncClusterClient(redis.asyncio.Redis):
    """A client of one slot as ClusterClient, for asyncio."""

    def __init__(self, cluster: _Cluster, slot: int = 0) -> None:
        super().__init__(connection_pool=cluster.pool(redis.asyncio.ConnectionPool, slot))
        self._cluster, self._slot = cluster, slot
        cluster.clients.setdefault(slot, self)

    def at_slot(self, slot: int) -> AsyncClusterClient:
        """Return the client of a slot."""
        found: AsyncClusterClient = self._cluster.clients.get(slot) or AsyncClusterClient(self._cluster, slot)
        return found

    async def execute_command(self, *command: Any, **options: Any) -> Any:
        """Run a command on the server that has its key."""
        slot = _slot_of(command)
        if slot is None or slot == self._slot:
            return await super().execute_command(*command, **options)  # type: ignore[no-untyped-call]
        return await self.at_slot(slot).execute_command(*command, **options)

    async def aclose(self, *_: Any) -> None:
        """Close the connections of all clients of the cluster."""
        for client in tuple(self._cluster.clients.values()):
            await client.connection_pool.disconnect()


def connect(hosts: Iterable[Address], of_nodes: dict[str, Any], options: dict[str, Any], *, tls: bool) -> ClusterClient:
    """Return a client of a cluster. `of_nodes` are the options of connections that ask for primaries, `options` those
    of all others."""
    return ClusterClient(_Cluster(Nodes(hosts, of_nodes), _TlsConnection if tls else _Connection, options))


def connect_async(
    hosts: Iterable[Address], of_nodes: dict[str, Any], options: dict[str, Any], *, tls: bool
) -> AsyncClusterClient:
    """Return an asyncio client of a cluster as `connect` does. Without TLS, a `connection_class` among the options is
    the base of its connections."""
    options, base = options.copy(), options.get("connection_class", redis.asyncio.Connection)
    options.pop("connection_class", None)
    connection_class = _AsyncTlsConnection if tls else type(base.__name__, (_AsyncConnection, base), {})
    return AsyncClusterClient(_Cluster(Nodes(hosts, of_nodes), connection_class, options))


def at(client: Client, key: str) -> Client:
    """Return the client of the server that has this key: in a cluster that of its slot, else the client itself."""
    if isinstance(client, ClusterClient | AsyncClusterClient):
        return cast(Client, client.at_slot(key_slot(key.encode())))
    return client


def servers(client: redis.Redis) -> dict[str, redis.Redis]:
    """Return a client of each server that has keys, by its address; for a single Redis the client, without a name."""
    return client.primaries() if isinstance(client, ClusterClient) else {"": client}
