"""One process writes: the next one with the same directory follows at once, one with another directory waits."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from lanes import keys
from ledger.owner import NotOwner, Owner


def test_a_second_process_waits_for_the_directory(redis_client: redis.Redis, tmp_path: Path) -> None:
    with Owner(redis_client, tmp_path) as first:
        first.ensure()
        with pytest.raises(NotOwner, match=str(tmp_path)), Owner(redis_client, tmp_path):
            pass
        first.ensure()
    with Owner(redis_client, tmp_path) as second:
        second.ensure()


def test_another_directory_waits_until_the_owner_is_gone(redis_client: redis.Redis, tmp_path: Path) -> None:
    with Owner(redis_client, tmp_path / "a") as first, Owner(redis_client, tmp_path / "b") as other:
        first.ensure()
        with pytest.raises(NotOwner):
            other.ensure()
        redis_client.delete(keys.LEDGER_OWNER.name)
        other.ensure()
        with pytest.raises(NotOwner):
            first.ensure()


def test_a_killed_process_is_followed_at_once(redis_client: redis.Redis, tmp_path: Path) -> None:
    with Owner(redis_client, tmp_path) as first:
        first.ensure()
        left = redis_client.get(keys.LEDGER_OWNER.name)
    redis_client.set(keys.LEDGER_OWNER.name, left or b"", px=60_000)  # a killed process leaves its key

    with Owner(redis_client, tmp_path) as second:
        second.ensure()
