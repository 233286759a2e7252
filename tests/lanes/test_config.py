"""The values that all processes of a queue share, and the layout of its keys."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import redis
import redis.asyncio

import lanes
from tests.lanes.driving import QUEUE, queue_of


def test_a_process_with_another_cooldown_fails_with_both_values(client: redis.Redis) -> None:
    """Its key names and due times would differ: without this, every cooldown would be lost without a word."""
    queue = lanes.open_queue(queue_of(client))

    with pytest.raises(lanes.QueueMismatch) as refused:
        lanes.open_queue(replace(queue, cooldown_ms=2000, dedupe_s=60))

    assert refused.value.differences == {"cooldown_ms": (60_000, 2000), "dedupe_s": (3600, 60)}
    assert "cooldown_ms is 60000 in Redis and 2000 here" in str(refused.value)


def test_a_process_with_the_same_values_opens_the_queue(client: redis.Redis) -> None:
    queue = queue_of(client)

    assert lanes.open_queue(queue) == lanes.open_queue(queue) == queue
    assert lanes.stored_config(client, QUEUE) == queue.config


def test_an_asyncio_client_compares_the_same(redis_client: redis.Redis) -> None:
    queue = lanes.open_queue(queue_of(redis_client))
    connection = redis_client.connection_pool.connection_kwargs

    async def scenario() -> None:
        async with redis.asyncio.Redis(host=connection["host"], port=connection["port"]) as client:
            same = lanes.AsyncQueue(client=client, name=QUEUE, **vars_of(queue))
            assert await lanes.open_queue_async(same) == same
            await lanes.open_queue_async(replace(same, limit=1))

    with pytest.raises(lanes.QueueMismatch, match="limit is 10000 in Redis and 1 here"):
        asyncio.run(scenario())


def vars_of(queue: lanes.Queue) -> dict[str, int]:
    config = queue.config
    return {name: getattr(config, name) for name in ("cooldown_ms", "dedupe_s", "join_s", "limit")}


def test_comparing_writes_nothing(client: redis.Redis) -> None:
    """An operator's shell must not decide the values of a new queue."""
    lanes.compare_queue(queue_of(client))

    assert client.keys("*") == []
    assert lanes.stored_config(client, QUEUE) is None


def test_a_redis_filled_by_an_older_version_is_refused(client: redis.Redis) -> None:
    """Older versions used other key names: what they left would be misread or forgotten."""
    client.set(f"{queue_of(client).base}:seq", 7)
    client.hset(f"{queue_of(client).base}:event", "7", b"record")
    before = sorted(client.keys("*"))

    for open_or_compare in (lanes.open_queue, lanes.compare_queue):
        with pytest.raises(lanes.OtherLayout, match="no layout number: an older version of Segue filled it"):
            open_or_compare(queue_of(client))

    assert sorted(client.keys("*")) == before


@pytest.mark.parametrize("layout", [1, 3])
def test_another_layout_is_refused(client: redis.Redis, layout: int) -> None:
    queue = lanes.open_queue(queue_of(client))
    client.set(f"{queue.base}:layout", layout)

    with pytest.raises(lanes.OtherLayout, match=f"Redis has layout {layout}, this version reads layout 2"):
        lanes.open_queue(queue)
