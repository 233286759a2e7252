"""`segue health`: an ingest that serves, a worker of this machine that sends heartbeats."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import fakeredis
import httpx
import pytest
import redis

from console.local import health
from lanes import keys
from settings import Settings
from workers import heartbeat


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    with fakeredis.FakeRedis() as client:
        yield client


def fault(role: health.Role | None, client: redis.Redis) -> str | None:
    return health.fault(role, Settings(), client)


def answer(monkeypatch: pytest.MonkeyPatch, status: int | None) -> None:
    def get(url: str, **_: object) -> httpx.Response:
        assert url == "http://127.0.0.1:8080/health"
        if status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(status)

    monkeypatch.setattr(httpx, "get", get)


def test_an_ingest_that_serves_is_healthy(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, 200)

    assert fault("ingest", client) is None
    assert fault(None, client) is None
    assert fault("worker", client) == "no worker of this machine sends heartbeats"


@pytest.mark.parametrize(("status", "words"), [(None, "did not answer: refused"), (503, "answers HTTP 503")])
def test_another_ingest_is_not(
    status: int | None, words: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, status)

    assert words in (fault("ingest", client) or "")
    assert words in (fault(None, client) or "")


def test_a_worker_of_this_machine_is_healthy(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, None)
    client.zadd(keys.WORKERS.name, {"segue-1@elsewhere": 1e12, f"segue-1@{socket.gethostname()}": 1})
    assert fault("worker", client) == "no worker of this machine sends heartbeats"
    heartbeat.send(client)

    assert fault("worker", client) is None
    assert fault(None, client) is None
