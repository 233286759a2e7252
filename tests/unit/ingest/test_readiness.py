"""`GET /ready` of an endpoint with two destinations: some or all queues are full, and the process stops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ingest.app import Ingest
from settings import Settings
from tests.conftest import RedisServer
from tests.unit.ingest.endpoint import connection, served

TABLES = """\
[sources.{name}]
write_key = "{name}"
destinations = ["{name}"]
[destinations.{name}]
site_id = "s"
api_key = "k"
"""


@pytest.mark.usefixtures("redis_client")
def test_an_endpoint_is_ready_unless_every_queue_is_full_or_the_process_stops(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    config = tmp_path / "segue.toml"
    config.write_text("".join(TABLES.format(name=name) for name in ("a", "b")))

    async def run() -> list[tuple[int, str]]:
        app = Ingest(Settings(REDIS_URL=redis_server.url, config=config, queue_limit=1))
        found = []
        async with served(app, "on") as port, connection(port) as client:
            for write_key in ("a", "b"):
                found.append(await client.request("GET", "/ready"))
                body = b'{"event": "x", "userId": "1", "writeKey": "%s"}' % write_key.encode()
                found.append(await client.request("POST", "/v1/t", body))
            found.append(await client.request("GET", "/ready"))
            app.fail_readiness()
            found += [await client.request("GET", "/ready"), await client.request("GET", "/health")]
        return [(reply.status, reply.json.get("code", "")) for reply in found]

    ready = (200, "")
    assert asyncio.run(run()) == [ready] * 4 + [(503, "queue_full"), (503, "stopping"), ready]
