"""Trust over real connections and a real Redis: a public key is refused alone, and other sources are not affected."""

from __future__ import annotations

import asyncio
import base64
import hmac
import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
import redis.asyncio

import lanes
import mapping
from ingest import counters
from ingest.access.shares import Shares
from ingest.access.sources import sources
from ingest.errors import Refusal
from tests.conftest import RedisServer
from tests.secrets import CREDENTIALS_TOML, WEBHOOK_SECRET, secret
from tests.unit.ingest.test_app import Asked, accepted, replies

pytestmark = pytest.mark.usefixtures("redis_client")

SERVER_KEY = secret("server_key")
CONFIG = f"""
[sources.web]
write_key = "web"
trust = "public"
webhook_secret = "{WEBHOOK_SECRET}"
destinations = ["demo"]

[sources.server]
write_key = "{SERVER_KEY}"
trust = "server"
destinations = ["demo"]

[destinations.demo]
{CREDENTIALS_TOML}"""
TRACK = {"type": "track", "event": "x", "userId": "1"}
ALIAS = {"type": "alias", "userId": "1", "previousId": "2"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "segue.toml"
    file.write_text(CONFIG)
    return file


def batch(write_key: str, *events: dict[str, Any]) -> Asked:
    return Asked("POST", "/v1/batch", orjson.dumps({"writeKey": write_key, "batch": events}))


def test_a_public_key_does_not_merge_by_any_path(
    redis_server: RedisServer, redis_client: redis.Redis, config: Path
) -> None:
    encoded = base64.b64encode(orjson.dumps(ALIAS | {"writeKey": "web"})).decode()
    signed = hmac.new(WEBHOOK_SECRET.encode(), orjson.dumps(ALIAS), "sha1").hexdigest()

    single, kept, whole, pixel, webhook, server = replies(
        redis_server,
        Asked("POST", "/v1/alias", orjson.dumps(ALIAS | {"writeKey": "web"})),
        batch("web", TRACK, ALIAS),
        batch("web", ALIAS, ALIAS),
        Asked("GET", f"/v1/pixel/alias?data={encoded}"),
        Asked("POST", "/v1/webhook/web", orjson.dumps(ALIAS), {"X_Signature": signed}),
        batch(SERVER_KEY, ALIAS),
        config=config,
    )

    assert (single.status, single.json["code"], whole.status, webhook.status) == (403, "forbidden", 403, 403)
    assert (kept.status, kept.json["success"], kept.json["rejected"][0]["index"]) == (200, True, 1)
    assert "mergePeople" in kept.json["rejected"][0]["message"]
    assert (pixel.status, server.status) == (200, 200)
    assert accepted(redis_client) == 2
    assert counters.totals(redis_client)["web"] == {"accepted": 1, "rejected": 6, "forbidden": 6}


def test_a_source_that_fills_its_share_of_the_queue_is_refused_alone(
    redis_server: RedisServer, redis_client: redis.Redis, config: Path
) -> None:
    events = [TRACK | {"messageId": str(number)} for number in range(20)]
    raw = orjson.dumps(TRACK)
    signed = hmac.new(WEBHOOK_SECRET.encode(), raw, "sha1").hexdigest()

    first, second, webhook, server = replies(
        redis_server,
        batch("web", *events),
        batch("web", TRACK),
        Asked("POST", "/v1/webhook/web", raw, {"X_Signature": signed}),
        batch(SERVER_KEY, *events[:15]),
        config=config,
        queue_limit=40,
    )

    assert (first.status, server.status) == (200, 200)
    assert (second.status, second.json["code"], second.headers["retry-after"]) == (429, "queue_share_used", "10")
    assert webhook.status == 503
    assert accepted(redis_client) == 35
    assert counters.totals(redis_client)["web"] == {"accepted": 20, "rejected": 0, "throttled": 2}


@pytest.mark.parametrize("key", ["events_per_s", "client_events_per_s"])
def test_a_source_beyond_its_rate_is_told_when_to_send_again(
    redis_server: RedisServer, redis_client: redis.Redis, config: Path, key: str
) -> None:
    config.write_text(CONFIG.replace('trust = "public"', f'trust = "public"\n{key} = 0.1'))
    raw = orjson.dumps(TRACK)
    signed = hmac.new(WEBHOOK_SECRET.encode(), raw, "sha1").hexdigest()

    first, second, webhook, server = replies(
        redis_server,
        batch("web", TRACK),
        batch("web", TRACK),
        Asked("POST", "/v1/webhook/web", raw, {"X_Signature": signed}),
        batch(SERVER_KEY, TRACK, TRACK),
        config=config,
    )

    assert (first.status, server.status) == (200, 200)
    assert (second.status, second.json["code"], second.headers["retry-after"]) == (429, "rate_limited", "10")
    assert (webhook.status, webhook.json["code"], webhook.headers["retry-after"]) == (503, "rate_limited", "10")
    assert accepted(redis_client) == 3


def test_another_process_finds_the_share_used(
    redis_server: RedisServer, redis_client: redis.Redis, config: Path
) -> None:
    events = [TRACK | {"messageId": str(number)} for number in range(20)]
    replies(redis_server, batch("web", *events), batch(SERVER_KEY, *events), config=config)
    assert accepted(redis_client) == 40

    async def measured() -> Shares:
        client = redis.asyncio.Redis.from_url(redis_server.url)
        queue = lanes.AsyncQueue(client=client, name="demo", limit=40)
        document = tomllib.loads(CONFIG)
        shares = Shares(queue, mapping.destinations(document)["demo"], sources(document))
        await shares.measure()
        await client.aclose()
        return shares

    shares = asyncio.run(measured())
    entry = lanes.NewEvent(b"", (), "m")
    with pytest.raises(Refusal, match="its share of a destination"):
        shares.take("web", [entry])
    shares.take("server", [entry])


def test_a_request_without_a_source_is_counted(
    redis_server: RedisServer, redis_client: redis.Redis, config: Path
) -> None:
    (reply,) = replies(redis_server, batch("unknown-key", TRACK), config=config)

    assert reply.status == 401
    assert counters.totals(redis_client) == {"": {"unauthorized": 1}}
