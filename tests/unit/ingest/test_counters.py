"""Counters: counts reach Redis by source and result, and survive a time without Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import fakeredis

from ingest.counters import Counters, Refused, refusals, totals
from ingest.errors import Refusal, invalid
from lanes import keys


class Stalled:
    """A client and a pipeline that never complete."""

    def pipeline(self, **_: Any) -> Stalled:
        return self

    def hincrby(self, *_: Any) -> None:
        pass

    async def execute(self) -> None:
        await asyncio.Event().wait()


def test_counts_are_added_to_the_totals_in_redis() -> None:
    server = fakeredis.FakeServer()

    async def run() -> None:
        client = fakeredis.FakeAsyncRedis(server=server)
        counters = Counters()
        for _ in range(2):
            counters.add("web", "accepted", 3)
            counters.add("web", "rejected")
            await counters.write(client)
        await counters.write(client)

    asyncio.run(run())

    assert totals(fakeredis.FakeStrictRedis(server=server)) == {"web": {"accepted": 6, "rejected": 2}}


def test_refusals_are_counted_once_by_source_status_and_cause() -> None:
    server = fakeredis.FakeServer()
    counters = Counters()
    of_field, full = invalid("userId", "a string", 1), Refusal(429, "the queue is full", code="queue_full")
    counters.refuse(of_field, "web")
    counters.refuse(of_field)  # where the request is answered, its source is not known
    counters.refuse(full)
    counters.refuse(full.copy())
    counters.refuse(invalid("traits", "an object", 1), "web")

    asyncio.run(counters.write(fakeredis.FakeAsyncRedis(server=server)))

    assert refusals(fakeredis.FakeStrictRedis(server=server)) == [
        Refused("", 429, "queue_full", 2),
        Refused("web", 400, "traits", 1),
        Refused("web", 400, "userId", 1),
    ]


def test_a_name_that_a_sender_chose_is_not_counted_by_itself() -> None:
    server = fakeredis.FakeServer()
    counters = Counters()
    for number in range(100):
        counters.refuse(Refusal(400, "", f"context.jo{number}@example.com"), "web")

    asyncio.run(counters.write(fakeredis.FakeAsyncRedis(server=server)))

    assert refusals(fakeredis.FakeStrictRedis(server=server)) == [Refused("web", 400, "invalid_request", 100)]


def test_counts_are_kept_while_redis_is_unavailable() -> None:
    server = fakeredis.FakeServer()

    async def run() -> None:
        client = fakeredis.FakeAsyncRedis(server=server)
        counters = Counters()
        counters.add("web", "accepted")
        counters.refuse(Refusal(401, "", "writeKey"))
        server.connected = False
        await counters.write(client)
        server.connected = True
        counters.add("web", "accepted")
        await counters.write(client)

    asyncio.run(run())

    assert totals(fakeredis.FakeStrictRedis(server=server)) == {"web": {"accepted": 2}}
    assert refusals(fakeredis.FakeStrictRedis(server=server)) == [Refused("", 401, "writeKey", 1)]


def test_an_interrupted_write_keeps_its_counts() -> None:
    server = fakeredis.FakeServer()

    async def run() -> None:
        counters = Counters()
        counters.add("web", "accepted")
        writing = asyncio.create_task(counters.write(Stalled()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
        await counters.write(fakeredis.FakeAsyncRedis(server=server))

    asyncio.run(run())

    assert totals(fakeredis.FakeStrictRedis(server=server)) == {"web": {"accepted": 1}}


def test_totals_are_grouped_by_source() -> None:
    client = fakeredis.FakeStrictRedis()
    client.hset(keys.SOURCES.name, mapping={"web:accepted": 3, "a:b:rejected": 1})

    assert totals(client) == {"web": {"accepted": 3}, "a:b": {"rejected": 1}}
