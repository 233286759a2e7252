"""Which configuration each running process uses, and the request to load the file again.

`segue reload` counts requests up. Every process reports once a second what it uses, and gets the number of the last
request with the reply. It loads the file when the number is new to it. A process that refuses a file keeps what it has
and reports why. The files are on the machines of the processes: Redis carries no configuration.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

import redis
import redis.asyncio

from lanes import keys
from lanes.clock import machine_ms, redis_ms
from lanes.cluster import at

_REQUEST: Final = "request"  # the field of the last request; names of processes contain an @
_KEPT_S: Final = 3600
# KEYS[1]: the reports; ARGV: the name of the process, its report. The time of Redis, in ms, is stored with it. A new
# process removes the reports of those that were killed long ago. Returns the number of the last request. A full Redis
# runs it: workers report before they deliver.
_REPORT: Final = f"""#!lua flags=allow-oom
local time = redis.call('TIME')
local now_ms, silent = time[1] * 1000 + math.floor(time[2] / 1000), {{}}
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  local reports = redis.call('HGETALL', KEYS[1])
  for at = 1, #reports, 2 do
    local at_ms = tonumber(string.match(reports[at + 1], '^(%d+) '))
    if at_ms and math.abs(now_ms - at_ms) > {1000 * _KEPT_S} then
      silent[#silent + 1] = reports[at]
    end
  end
end
for _, name in ipairs(silent) do
  redis.call('HDEL', KEYS[1], name)
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', now_ms) .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], {_KEPT_S})
return redis.call('HGET', KEYS[1], '{_REQUEST}') or '0'
"""
_POLL_S: Final = 0.1


@dataclass(slots=True)
class Process:
    """A running process. `configuration` is the digest of the one that it uses. `request` is the last request that it
    has met, 0 at first. `fault` is why it did not load the file then. `ahead_ms` is how far its clock was ahead of that
    of Redis at its last report."""

    name: str
    configuration: str = ""
    request: int = 0
    fault: str | None = None
    ahead_ms: int = field(default=0, compare=False)

    def arguments(self) -> tuple[Any, ...]:
        """Return the arguments of EVAL that report the process; the reply is the number of the last request."""
        report = {"configuration": self.configuration, "request": self.request, "fault": self.fault}
        report["clock_ms"] = machine_ms()
        return _REPORT, 1, keys.CONFIGURATIONS.name, self.name, json.dumps(report)


def report(client: redis.Redis, process: Process) -> int:
    """Report the process; return the number of the last request."""
    return int(client.eval(*process.arguments()))


async def report_async(client: redis.asyncio.Redis, process: Process) -> int:
    """Report the process as `report` does."""
    return int(await client.eval(*process.arguments()))


def forget(client: redis.Redis, process: Process) -> None:
    """Remove the report of a process that ends."""
    client.hdel(keys.CONFIGURATIONS.name, process.name)


async def forget_async(client: redis.asyncio.Redis, process: Process) -> None:
    """Remove the report as `forget` does."""
    await client.hdel(keys.CONFIGURATIONS.name, process.name)


def running(client: redis.Redis, silence_s: float = keys.HEARTBEAT_S) -> list[Process]:
    """Return the processes that reported within the last seconds, by name.

    A report of the future is older than a step back of the clock.
    """
    now_ms = redis_ms(at(client, keys.CONFIGURATIONS.name))
    fields: dict[bytes, bytes] = client.hgetall(keys.CONFIGURATIONS.name)  # type: ignore[assignment]
    found = []
    for name, value in sorted(fields.items()):
        at_ms, _, text = value.decode().partition(" ")
        if name.decode() != _REQUEST and abs(now_ms - int(at_ms)) <= 1000 * silence_s:
            report = json.loads(text)
            ahead_ms = report.pop("clock_ms") - int(at_ms)
            found.append(Process(name.decode(), **report, ahead_ms=ahead_ms))
    return found


def request_load(client: redis.Redis) -> int:
    """Request every process to load the file again; return the number of the request."""
    return int(client.hincrby(keys.CONFIGURATIONS.name, _REQUEST, 1))


def wait_for(client: redis.Redis, request: int, deadline_s: float) -> list[Process]:
    """Return the running processes when all of them have met the request, or as they are after `deadline_s` seconds."""
    until = time.monotonic() + deadline_s
    while True:
        found = running(client)
        if all(process.request >= request for process in found) or time.monotonic() > until:
            return found
        time.sleep(_POLL_S)
