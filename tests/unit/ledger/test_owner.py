"""One process writes: the next one with the same directory follows at once, one with another directory waits."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from lanes import keys
from ledger.owner import Owner
from ledger.storage import NotOwner, storage_of


def owner(client: redis.Redis, location: Path | str) -> Owner:
    return Owner(client, storage_of(str(location)))


def test_a_second_process_waits_until_the_first_one_has_ended(redis_client: redis.Redis, location: str) -> None:
    with owner(redis_client, location) as first:
        first.ensure()
        with pytest.raises(NotOwner, match="another process writes"), owner(redis_client, location) as second:
            second.ensure()
        first.ensure()
    with owner(redis_client, location) as second:
        second.ensure()


def test_another_directory_waits_until_the_owner_is_gone(redis_client: redis.Redis, tmp_path: Path) -> None:
    with owner(redis_client, tmp_path / "a") as first, owner(redis_client, tmp_path / "b") as other:
        first.ensure()
        with pytest.raises(NotOwner):
            other.ensure()
        redis_client.delete(keys.LEDGER_OWNER.name)
        other.ensure()
        with pytest.raises(NotOwner):
            first.ensure()


def test_a_killed_process_with_a_directory_is_followed_at_once(redis_client: redis.Redis, tmp_path: Path) -> None:
    with owner(redis_client, tmp_path) as first:
        first.ensure()
        left = redis_client.get(keys.LEDGER_OWNER.name)
    redis_client.set(keys.LEDGER_OWNER.name, left or b"", px=60_000)  # a killed process leaves its key

    with owner(redis_client, tmp_path) as second:
        second.ensure()


@pytest.mark.usefixtures("object_store")
def test_a_killed_process_with_an_object_store_is_followed_when_its_key_has_expired(redis_client: redis.Redis) -> None:
    location = "s3://ledgers/killed"
    with owner(redis_client, location) as first:
        first.ensure()
        left = redis_client.get(keys.LEDGER_OWNER.name)
    redis_client.set(keys.LEDGER_OWNER.name, left or b"", px=60_000)

    with owner(redis_client, location) as second:
        with pytest.raises(NotOwner):
            second.ensure()
        redis_client.delete(keys.LEDGER_OWNER.name)
        second.ensure()
