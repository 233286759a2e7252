"""What `segue check --redis` and every process find out about a real Redis: eviction, role, persistence, rights."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio
from redis.exceptions import NoPermissionError

import lanes
from console.checking import redis_findings
from ingest.queues import redis_errors
from lanes import keys
from lanes.scripts import NotReplicated
from lanes.server import checks
from lanes.server.checks import Server
from privacy import erasure
from tests.conftest import RedisServer
from tests.logged import logged
from tests.pipeline import Pipeline, configuration

USER, PASSWORD = "carrier", "p4ss"
SECURITY = Path(__file__).parents[2] / "docs" / "security.md"


@pytest.fixture
def documented_user(redis_client: redis.Redis, redis_server: RedisServer) -> Iterator[str]:
    """The URL of the user that docs/security.md defines."""
    (rule,) = re.findall(rf"^ +user {USER} (.+)$", SECURITY.read_text(), re.MULTILINE)
    redis_client.execute_command("ACL", "SETUSER", USER, "reset", *rule.replace("PASSWORD", PASSWORD).split())
    yield redis_server.url.replace("://", f"://{USER}:{PASSWORD}@")
    redis_client.execute_command("ACL", "DELUSER", USER)


def faults(client: redis.Redis) -> list[str]:
    return [finding.text for finding in redis_findings(client) if finding.is_fault]


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl"])
def test_every_evicting_policy_is_found_without_the_right_to_config(
    redis_client: redis.Redis, documented_user: str, policy: str
) -> None:
    with redis.Redis.from_url(documented_user) as client:
        with pytest.raises(NoPermissionError):
            client.config_get("maxmemory-policy")
        redis_client.config_set("maxmemory-policy", policy)
        try:
            found = faults(client)
        finally:
            redis_client.config_set("maxmemory-policy", "noeviction")
        assert found == [f"maxmemory-policy is {policy}: it deletes events when its memory is full"]
        assert faults(client) == []


def test_a_replica_is_a_fault(redis_client: redis.Redis) -> None:
    redis_client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        assert "this is a replica: it takes no writes; name the primary" in faults(redis_client)
    finally:
        redis_client.execute_command("REPLICAOF", "NO", "ONE")


def test_a_user_without_a_right_is_told_which(redis_client: redis.Redis, documented_user: str) -> None:
    for command in ("hgetall", "zrem"):
        redis_client.execute_command("ACL", "SETUSER", USER, f"-{command}")
    with redis.Redis.from_url(documented_user) as client:
        assert checks.missing_rights(client) == ["HGETALL", "ZREM"]


def test_a_user_without_info_can_be_used(redis_client: redis.Redis, documented_user: str) -> None:
    redis_client.execute_command("ACL", "SETUSER", USER, "-info")
    with redis.Redis.from_url(documented_user) as client:
        lanes.open_queue(lanes.Queue(client=client, name="q"))
        findings = [finding.text for finding in redis_findings(client)]
    assert findings == ["INFO is forbidden: version, role, persistence and memory cannot be checked"]


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14 is too old: Segue needs 7.0"),
        ({"redis_version": "7.2.0", "redis_mode": "sentinel"}, "this is a Sentinel, not a Redis that holds data"),
        ({"redis_version": "8.0.0", "server_mode": "sentinel"}, "this is a Sentinel, not a Redis that holds data"),
        ({"redis_version": "7.0.15"}, None),
        ({"redis_version": "10.0"}, None),
    ],
)
def test_a_server_that_cannot_hold_queues_is_refused(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, info: dict[str, str], text: str | None
) -> None:
    monkeypatch.setattr(redis_client, "info", lambda *_: info)
    assert Server(info).misfit() == text
    if text:
        with pytest.raises(lanes.UnsuitableServer, match=re.escape(text)):
            lanes.open_queue(lanes.Queue(client=redis_client, name="q"))


def test_the_documented_user_is_enough_for_the_pipeline(redis_client: redis.Redis, documented_user: str) -> None:
    class OfUser(Pipeline):
        """A pipeline whose processes are this user; the test itself is another."""

        def __init__(self) -> None:
            super().__init__(documented_user, workers=1, config=configuration())
            self.redis = redis_client

    with OfUser() as pipeline:
        pipeline.send([{"type": "identify", "userId": "1", "messageId": "m", "traits": {"email": "a@b.example"}}])
        pipeline.drain()
        assert pipeline.stats().delivered_total == 1
        assert urlsplit(documented_user).username == USER


def test_a_refused_rewrite_is_told_and_wanted_again(
    redis_client: redis.Redis, documented_user: str, caplog: pytest.LogCaptureFixture
) -> None:
    redis_client.execute_command("ACL", "SETUSER", USER, "-bgrewriteaof", "-info")
    with redis.Redis.from_url(documented_user) as client:
        assert erasure.rewrite_history(client) == "refused"
        assert client.exists(keys.AOF_REWRITE.name)
        erasure.rewrite_wanted_history(client)
        assert client.exists(keys.AOF_REWRITE.name)
    assert [line["event"] for line in logged(caplog)] == ["history_not_rewritten"] * 2


def test_an_append_that_no_replica_gets_is_not_acknowledged(
    redis_client: redis.Redis, redis_server: RedisServer
) -> None:
    event = lanes.NewEvent(b"body", ("k",), "m")

    async def append() -> Exception | None:
        async with redis.asyncio.Redis.from_url(redis_server.url) as client:
            queue = lanes.AsyncQueue(client=client, name="q", replicated_ms=1)
            try:
                await lanes.append_async(queue, [event])
            except redis.RedisError as error:
                return error
        return None

    assert isinstance(asyncio.run(append()), NotReplicated)
    assert redis_errors.fault(NotReplicated("q")).code == "not_replicated"
    redis_client.config_set("appendonly", "no")
    try:
        assert "appendonly" in str(asyncio.run(append()))
    finally:
        redis_client.config_set("appendonly", "yes")
    assert lanes.stats(lanes.Queue(client=redis_client, name="q")).waiting == 1
