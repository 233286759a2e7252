"""`segue health`: an ingest that serves, a worker of this machine that sends heartbeats."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import fakeredis
import httpx
import pytest

from console import health
from console.session import Session
from lanes import keys
from settings import Settings
from workers import heartbeat


@pytest.fixture
def session() -> Iterator[Session]:
    with fakeredis.FakeRedis() as client:
        session = Session(Settings(), {})
        session.__dict__["client"] = client
        yield session


def answer(monkeypatch: pytest.MonkeyPatch, status: int | None) -> None:
    def get(url: str, **_: object) -> httpx.Response:
        assert url == "http://127.0.0.1:8080/health"
        if status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(status)

    monkeypatch.setattr(httpx, "get", get)


def test_an_ingest_that_serves_is_healthy(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, 200)

    assert health.fault("ingest", session) is None
    assert health.fault(None, session) is None
    assert health.fault("worker", session) == "no worker of this machine sends heartbeats"


@pytest.mark.parametrize(("status", "words"), [(None, "did not answer: refused"), (503, "answers HTTP 503")])
def test_another_ingest_is_not(
    status: int | None, words: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, status)

    assert words in (health.fault("ingest", session) or "")
    assert words in (health.fault(None, session) or "")


def test_a_worker_of_this_machine_is_healthy(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, None)
    session.client.zadd(keys.WORKERS.name, {"segue-1@elsewhere": 1e12, f"segue-1@{socket.gethostname()}": 1})
    assert health.fault("worker", session) == "no worker of this machine sends heartbeats"
    heartbeat.send(session.client)

    assert health.fault("worker", session) is None
    assert health.fault(None, session) is None
