"""Shares: a source that has its part of a queue is refused alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import fakeredis
import pytest

import lanes
import mapping
from ingest.access.shares import Shares
from ingest.access.sources import Source
from ingest.errors import Refusal
from lanes import keys, records
from mapping.envelope import pack
from tests.secrets import CREDENTIALS

LIMIT = 1_000
TABLE = {**CREDENTIALS, "delivery": {"dead_letters": 100}}
DESTINATION = mapping.destinations({"destinations": {"d": TABLE}})["d"]


def source(name: str, **values: Any) -> Source:
    return Source(name=name, write_key=name, destinations=["d"], **values)


def entries(count: int, size: int = 10) -> list[lanes.NewEvent]:
    return [lanes.NewEvent(bytes(size), (), f"m{number}") for number in range(count)]


def refused(shares: Shares, name: str, count: int, size: int = 10) -> Refusal | None:
    try:
        shares.take(name, entries(count, size))
    except Refusal as refusal:
        return refusal
    return None


def fill(redis: fakeredis.FakeServer, key: keys.Key, **counts: int) -> None:
    """Store so many events of each source."""
    client = fakeredis.FakeStrictRedis(server=redis)
    names = [name for name, count in counts.items() for _ in range(count)]
    stored = {number: records.record(0, (), pack(name, {"messageId": number})) for number, name in enumerate(names)}
    client.delete(key.of("d"))
    if stored:
        client.hset(key.of("d"), mapping=stored)


def with_shares(use: Callable[[Shares, fakeredis.FakeServer], Awaitable[None]], *sources: Source) -> None:
    async def run() -> None:
        server = fakeredis.FakeServer()
        queue = lanes.AsyncQueue(client=fakeredis.FakeAsyncRedis(server=server), name="d", limit=LIMIT)
        await use(Shares(queue, DESTINATION, sources), server)

    asyncio.run(run())


def test_a_source_has_its_share_of_the_queue_and_the_others_are_not_affected() -> None:
    async def use(shares: Shares, server: fakeredis.FakeServer) -> None:
        fill(server, keys.EVENT, web=450, server=500)
        await shares.measure()

        refusal = refused(shares, "web", 200)
        assert refusal is not None
        assert (refusal.status, refusal.code, refusal.retry_after_s) == (429, "queue_share_used", 10)
        assert "500 unfinished events" in refusal.message
        assert refused(shares, "server", 200) is None

        fill(server, keys.EVENT, server=900)
        await shares.measure()
        assert refused(shares, "web", 500) is None

    with_shares(use, source("web", trust="public"), source("server", trust="server"))


def test_what_the_process_accepted_since_the_measurement_counts() -> None:
    async def use(shares: Shares, server: fakeredis.FakeServer) -> None:
        await shares.measure()
        assert refused(shares, "web", 300) is None
        assert refused(shares, "web", 201) is not None
        assert refused(shares, "web", 200) is None
        assert refused(shares, "web", 1) is not None

        fill(server, keys.EVENT, web=100)
        await shares.measure()
        assert refused(shares, "web", 400) is None

    with_shares(use, source("web", queue_share=0.5))


def test_a_sample_tells_the_share_of_a_large_queue() -> None:
    async def use(shares: Shares, server: fakeredis.FakeServer) -> None:
        fill(server, keys.EVENT, web=300, server=700)
        await shares.measure()

        assert 150 < shares._used["web", "events"] < 450  # 300, with five standard errors
        assert 450 < shares._used["server", "events"] < 850

    with_shares(use, source("web", queue_share=0.5))


def test_bytes_count_as_they_are_stored() -> None:
    async def use(shares: Shares, _: fakeredis.FakeServer) -> None:
        assert refused(shares, "web", 9, 100_000) is None
        refusal = refused(shares, "web", 2, 100_000)
        assert refusal is not None
        assert "1 MB of unfinished events" in refusal.message
        assert refused(shares, "web", 1, 100_000) is None

    with_shares(use, source("web", queue_mb=1))


def test_a_source_has_its_share_of_the_dead_letters() -> None:
    async def use(shares: Shares, server: fakeredis.FakeServer) -> None:
        fill(server, keys.DEAD, web=19, server=60)
        await shares.measure()
        assert refused(shares, "web", 100) is None

        fill(server, keys.DEAD, web=21, server=60)
        await shares.measure()
        refusal = refused(shares, "web", 1)
        assert refusal is not None
        assert (refusal.status, refusal.code) == (429, "dead_letter_share_used")
        assert refused(shares, "server", 1) is None

    with_shares(use, source("web", dead_letter_share=0.2), source("server"))


def test_a_source_without_limits_costs_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(shares: Shares, _: fakeredis.FakeServer) -> None:
        monkeypatch.setattr(fakeredis.FakeAsyncRedis, "pipeline", None)
        await shares.measure()
        assert refused(shares, "web", LIMIT) is None

    with_shares(use, source("web"))


def test_a_record_that_cannot_be_read_does_not_stop_the_measurement() -> None:
    async def use(shares: Shares, server: fakeredis.FakeServer) -> None:
        fill(server, keys.EVENT, web=450)
        client = fakeredis.FakeStrictRedis(server=server)
        client.hset(keys.EVENT.of("d"), "odd", records.record(0, (), b"\x00 no event"))
        client.hset(keys.EVENT.of("d"), "erased", records.record(0, (), b""))
        await shares.measure()

        assert refused(shares, "web", 200) is not None

    with_shares(use, source("web", queue_share=0.5))
