"""What the tests of commands share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fakeredis
import pytest
import redis


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell that sets no variable but the data directory."""
    for name in ("REDIS_URL", "SEGUE_CONFIG", "SEGUE_TRACK_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEGUE_DATA_DIR", str(tmp_path))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, set_up: None) -> Iterator[redis.Redis]:  # noqa: ARG001
    """The Redis that each command connects to, from such a shell."""
    with fakeredis.FakeRedis() as client:
        monkeypatch.setattr(redis.Redis, "from_url", lambda *_, **__: client)
        yield client
