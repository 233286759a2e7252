"""The limit of a queue in bytes: what is refused, and when it is accepted again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lanes.server.memory import Memory

MB = 1_000_000


class Server:
    """A Redis that says of its memory what a test wants."""

    def __init__(self, used: int, limit: int, policy: str = "noeviction") -> None:
        self.used, self.limit, self.policy = used, limit, policy
        self.uncounted = 0

    async def info(self, section: str) -> dict[str, Any]:
        assert section == "memory"
        return {
            "used_memory": self.used,
            "maxmemory": self.limit,
            "maxmemory_policy": self.policy,
            "mem_not_counted_for_evict": self.uncounted,
        }


def measure(memory: Memory, server: Server) -> None:
    asyncio.run(memory.measure(server))  # type: ignore[arg-type]


def test_events_are_refused_beyond_the_share_of_maxmemory() -> None:
    memory = Memory(0.6)
    measure(memory, Server(5 * MB, 10 * MB))

    assert memory.take(MB)
    assert not memory.take(1)
    assert memory.is_full


def test_what_was_appended_since_the_last_measurement_counts() -> None:
    memory = Memory(0.6)
    measure(memory, Server(0, 10 * MB))

    taken = sum(memory.take(MB) for _ in range(20))

    assert taken == 6


def test_a_measurement_counts_what_was_appended_before_it_once() -> None:
    memory, server = Memory(0.6), Server(0, 10 * MB)
    measure(memory, server)
    memory.take(3 * MB)
    server.used = 3 * MB
    measure(memory, server)

    assert memory.take(3 * MB)


def test_what_is_appended_while_redis_answers_is_counted_until_the_next_measurement() -> None:
    memory = Memory(0.6)

    class Slow(Server):
        async def info(self, section: str) -> dict[str, Any]:
            answer = await super().info(section)
            memory.take(4 * MB)
            return answer

    measure(memory, Slow(0, 10 * MB))

    assert not memory.take(3 * MB)


def test_it_is_full_until_a_twentieth_of_the_share_is_free() -> None:
    memory, server = Memory(0.5), Server(5 * MB + 1, 10 * MB)
    measure(memory, server)
    states = [memory.is_full]
    for server.used in (4_900_000, 4_700_000, 4_900_000):
        measure(memory, server)
        states.append(memory.is_full)

    assert states == [True, True, False, False]


def test_a_redis_without_a_limit_is_never_full() -> None:
    memory = Memory(0.6)
    measure(memory, Server(10_000 * MB, 0))

    assert memory.take(MB)


def test_memory_that_maxmemory_does_not_bound_does_not_count() -> None:
    memory, server = Memory(0.6), Server(8 * MB, 10 * MB)
    server.uncounted = 4 * MB
    measure(memory, server)

    assert not memory.is_full


def test_a_policy_that_deletes_events_is_logged_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    memory, server = Memory(0.6), Server(0, 10 * MB)
    for server.policy in ("noeviction", "allkeys-lru", "allkeys-lru", "volatile-ttl", "noeviction"):
        measure(memory, server)

    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["allkeys-lru", "volatile-ttl"]
