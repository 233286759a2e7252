"""Ingest loads the configuration again on request: all of it, or nothing, and no request meets half of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
import redis

from lanes import configurations
from tests.conftest import RedisServer
from tests.pipeline import configuration
from tests.secrets import CREDENTIALS_TOML
from tests.unit.ingest.endpoint import Connection, ingest


async def status(client: Connection, write_key: str) -> int:
    body = orjson.dumps({"event": "Bought", "userId": "1", "writeKey": write_key})
    return (await client.request("POST", "/v1/track", body)).status


async def met(client: redis.Redis, request: int) -> configurations.Process:
    """Return the report of the only process when it has met the request."""
    async with asyncio.timeout(10):
        while True:
            found = [each for each in configurations.running(client) if each.request >= request]
            if found:
                return found[0]
            await asyncio.sleep(0.02)


def test_a_changed_file_is_used_on_request(
    redis_server: RedisServer, redis_client: redis.Redis, tmp_path: Path
) -> None:
    file = tmp_path / "segue.toml"
    file.write_text(configuration("one"))

    async def use() -> None:
        async with ingest(redis_server.url, config=file) as client:
            assert (await status(client, "one"), await status(client, "two")) == (200, 401)
            file.write_text(configuration("two"))
            assert await status(client, "two") == 401

            assert (await met(redis_client, configurations.request_load(redis_client))).fault is None
            assert (await status(client, "one"), await status(client, "two")) == (401, 200)
        assert configurations.running(redis_client) == []

    asyncio.run(use())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[destinations", "is not TOML"),
        (configuration("two", region="mars"), "destinations.two.region: is 'mars'"),
        ("[sources.two]\n", "sources.two.write_key: is missing"),
        (configuration("one", delivery={"remember_days": 7}), "join_s"),
    ],
)
def test_a_wrong_file_changes_nothing(
    text: str, fault: str, redis_server: RedisServer, redis_client: redis.Redis, tmp_path: Path
) -> None:
    file = tmp_path / "segue.toml"
    file.write_text(configuration("one"))

    async def use() -> None:
        async with ingest(redis_server.url, config=file) as client:
            assert await status(client, "one") == 200
            before = await met(redis_client, 0)
            file.write_text(text)

            report = await met(redis_client, configurations.request_load(redis_client))
            assert report.configuration == before.configuration
            assert fault in (report.fault or "")
            assert await status(client, "one") == 200

    asyncio.run(use())


def test_no_request_fails_while_files_are_loaded(
    redis_server: RedisServer, redis_client: redis.Redis, tmp_path: Path
) -> None:
    """The queues of the source change with each of them."""
    file = tmp_path / "segue.toml"
    single = configuration("one")
    both = single.replace('destinations = ["one"]', 'destinations = ["one", "two"]')
    both += "[destinations.two]\n" + CREDENTIALS_TOML
    file.write_text(single)

    async def use() -> None:
        async with ingest(redis_server.url, config=file) as client:
            posting = True

            async def post() -> list[int]:
                return [await status(client, "one") for _ in iter(lambda: posting, False)]

            posts = asyncio.create_task(post())
            for text in (both, single, both):
                file.write_text(text)
                assert (await met(redis_client, configurations.request_load(redis_client))).fault is None
            posting = False
            assert set(await posts) == {200}

    asyncio.run(use())
