"""What a Redis server says of itself, and whether queues can be kept in it.

INFO says all of it, so no right to use CONFIG is needed. A server on which INFO is forbidden is known by its version
alone, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis
import redis.asyncio
from redis.exceptions import NoPermissionError, ResponseError

from lanes.cluster import AsyncClusterClient, ClusterClient, servers
from lanes.server.connect import connect

# Scripts have flags since this version.
OLDEST: Final = (7, 0)
_MEMORY_SHARE: Final = 0.9  # used of maxmemory
_BROKER_S: Final = 5
_PROBE: Final = "segue:{check}"
# Tries one command of each kind that Segue and Celery use, on keys of its own. KEYS[1]: their beginning. Returns the
# commands that are forbidden.
_RIGHTS: Final = """#!lua flags=allow-oom
local key, forbidden = KEYS[1], {}
local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err and string.find(reply.err, 'ermissions', 1, true) then
    forbidden[#forbidden + 1] = command
  end
end
try('TIME')
try('GET', key)
try('SETRANGE', key, 0, '')
try('HGETALL', key)
try('HDEL', key, 'f')
try('ZRANGE', key, 0, 0)
try('ZREM', key, 'm')
try('LRANGE', key, 0, 0)
try('LPOP', key)
try('SMEMBERS', key)
try('SREM', key, 'm')
try('EXPIRE', key, 1)
try('DEL', key)
return forbidden
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a server. `is_fault`: no queue can be kept in it, or it loses events when it is used."""

    text: str
    is_fault: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """A setting or a state of a server that matters, and what is wrong with it, if anything is."""

    name: str
    value: str
    finding: Finding | None = None


class Server:
    """A server, by the reply of INFO. `in_cluster`: its client is one of a Redis Cluster."""

    def __init__(self, info: Mapping[str, Any], *, in_cluster: bool = False) -> None:
        self._info = info
        self._in_cluster = in_cluster

    @classmethod
    def of(cls, client: redis.Redis) -> Server:
        """Return the server of a client. Raises redis.RedisError, but not when INFO is forbidden."""
        try:
            return cls(client.info(), in_cluster=isinstance(client, ClusterClient))
        except ResponseError:
            return cls({})

    @classmethod
    async def of_async(cls, client: redis.asyncio.Redis) -> Server:
        """Return the same with an asyncio client."""
        try:
            return cls(await client.info(), in_cluster=isinstance(client, AsyncClusterClient))
        except ResponseError:
            return cls({})

    @property
    def name(self) -> str:
        """Its kind and version, such as `redis 7.2.4`."""
        kind = str(self._info.get("server_name", "redis"))
        return f"{kind} {self._info.get(f'{kind}_version', self._version)}"

    @property
    def _version(self) -> str:
        return str(self._info.get("redis_version", "of an unknown version"))

    @property
    def _mode(self) -> Any:
        return self._info.get("redis_mode", self._info.get("server_mode"))

    @property
    def memory(self) -> tuple[int, int]:
        """The bytes that it uses, and its `maxmemory`; 0 for no limit."""
        return self._info.get("used_memory", 0), self._info.get("maxmemory", 0)

    def misfit(self) -> str | None:
        """Return why this server can never hold a queue; None when it can, as far as it says."""
        found = self._version.split(".")[:2]
        if all(part.isdigit() for part in found) and tuple(map(int, found)) < OLDEST:
            return f"Redis {self._version} is too old: Segue needs {'.'.join(map(str, OLDEST))}"
        if self._mode == "sentinel":
            return "this is a Sentinel, not a Redis that holds data"
        if self._mode == "cluster" and not self._in_cluster:
            return (
                "this is a node of a Redis Cluster: REDIS_URL must name the cluster by redis+cluster://, and "
                "SEGUE_BROKER_URL another Redis"
            )
        return None

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with it."""
        info = self._info
        if misfit := self.misfit():
            yield Finding(misfit, True)
        if not info:
            yield Finding("INFO is forbidden: version, role, persistence and memory cannot be checked", False)
            return
        yield from (verdict.finding for verdict in self.verdicts() if verdict.finding)

    def verdicts(self) -> Iterator[Verdict]:
        """Yield its settings and states that matter, each with what is wrong with it; none when INFO is forbidden."""
        info = self._info
        if not info:
            return
        is_replica = info.get("role") == "slave"
        text = "this is a replica: it takes no writes; name the primary"
        yield Verdict("role", str(info.get("role", "unknown")), Finding(text, True) if is_replica else None)
        yield from self._persistence()
        yield from self._memory()

    def _persistence(self) -> Iterator[Verdict]:
        info = self._info
        if info.get("loading"):
            yield Verdict("loading", "yes", Finding("it is loading its data", False))
        has_file, text = (
            info.get("aof_enabled", 1),
            "appendonly is no: a crash loses the events since the last snapshot",
        )
        yield Verdict("appendonly", "yes" if has_file else "no", None if has_file else Finding(text, False))
        written, text = str(info.get("aof_last_write_status", "ok")), "it cannot write its append-only file"
        yield Verdict("last write of that file", written, None if written == "ok" else Finding(text, True))
        saved = str(info.get("rdb_last_bgsave_status", "ok"))
        yield Verdict("last snapshot", saved, None if saved == "ok" else Finding("its last snapshot failed", False))

    def _memory(self) -> Iterator[Verdict]:
        policy, (used, limit) = self._info.get("maxmemory_policy", "noeviction"), self.memory
        text = f"maxmemory-policy is {policy}: it deletes events when its memory is full"
        yield Verdict("maxmemory-policy", policy, None if policy == "noeviction" else Finding(text, True))
        text = "maxmemory is not set: the memory of its machine is the limit"
        yield Verdict("maxmemory", f"{limit:,} bytes" if limit else "none", None if limit else Finding(text, False))
        is_full, text = limit and used > _MEMORY_SHARE * limit, f"it uses {used:,} of {limit:,} bytes of maxmemory"
        yield Verdict("memory in use", f"{used:,} bytes", Finding(text, False) if is_full else None)


def findings(client: redis.Redis) -> Iterator[Finding]:
    """Yield what is wrong with each server that has keys; of a cluster, with its address. Raises redis.RedisError."""
    for address, server in servers(client).items():
        for finding in Server.of(server).findings():
            yield Finding(f"{address}: {finding.text}" if address else finding.text, finding.is_fault)


def broker_findings(url: str | None) -> Iterator[Finding]:
    """Yield why Celery cannot use the Redis of SEGUE_BROKER_URL; nothing when it can, or the variable is not set."""
    if url is None:
        return
    with connect(url, socket_timeout=_BROKER_S, socket_connect_timeout=_BROKER_S) as client:
        try:
            fault = Server.of(client).misfit()
        except redis.RedisError as error:
            fault = f"cannot be used: {error}"
    if fault:
        yield Finding(f"SEGUE_BROKER_URL: {fault}", True)


def missing_rights(client: redis.Redis) -> list[str]:
    """Return the commands that this user must not run, of each kind that is needed. Raises redis.RedisError."""
    key = client.own_key() if isinstance(client, ClusterClient) else _PROBE
    try:
        return [command.decode() for command in client.eval(_RIGHTS, 1, key)]
    except NoPermissionError as error:
        return [str(error)]
