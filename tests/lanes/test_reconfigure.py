"""Changing the values that a queue stores: nothing that is remembered is lost, and no process disagrees meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import redis

import lanes
from lanes import keys
from lanes.append import generation_ms
from tests.lanes.driving import COOLDOWN_MS, QUEUE, append, claim, deliver, depths, event, expire, queue_of
from tests.lanes.test_scripts import commands_of_scripts

RECONFIGURE = import_module("lanes.reconfigure")  # the package has a function of that name
DAY_S = 86_400


@pytest.fixture
def queue(client: redis.Redis) -> lanes.Queue:
    return lanes.open_queue(queue_of(client))


def age(client: redis.Redis, key: keys.Key, generations: int) -> None:
    """Let the fields of the current generation be of an earlier one."""
    number = max(int(name.rpartition(b":")[2]) for name in client.scan_iter(f"{keys.base(QUEUE)}{key.prefix}*"))
    client.rename(key.of(QUEUE, number), key.of(QUEUE, number - generations))


def appended(queue: lanes.Queue, *names: str) -> tuple[bool, ...]:
    return lanes.append(queue, [event(name) for name in names]).accepted


@pytest.mark.parametrize("dedupe_s", [600, 3601, 7 * DAY_S])
def test_message_ids_are_remembered_in_generations_of_another_length(queue: lanes.Queue, dedupe_s: int) -> None:
    changed = replace(queue, dedupe_s=dedupe_s)
    for generations, name in ((3, "oldest"), (1, "older")):
        appended(queue, name)
        age(queue.client, keys.SEEN, generations)
    appended(queue, "newest")

    assert lanes.reconfigure(changed) == {"dedupe_s": (3600, dedupe_s)}

    assert appended(lanes.open_queue(changed), "oldest", "older", "newest", "new") == (False, False, False, True)
    (seen,) = queue.client.scan_iter(f"{queue.base}:seen:*")
    assert 0 < queue.client.pttl(seen) <= 5 * generation_ms(dedupe_s)


def test_message_ids_of_one_bucket_are_remembered_once_each(queue: lanes.Queue) -> None:
    changed, bucket = replace(queue, dedupe_s=60), b"\0\0\1"
    now_ms = int(time.time() * 1000) // generation_ms(3600)
    for back, fingerprints in ((0, b"aaaaaabbbbbb"), (1, b"bbbbbbcccccc")):
        queue.client.hset(keys.SEEN.of(QUEUE, now_ms - back), bucket, fingerprints)

    lanes.reconfigure(changed)

    (seen,) = queue.client.scan_iter(f"{queue.base}:seen:*")
    fingerprints = queue.client.hget(seen, bucket)
    assert sorted(fingerprints[at : at + 6] for at in range(0, len(fingerprints), 6)) == [
        b"aaaaaa",
        b"bbbbbb",
        b"cccccc",
    ]


@pytest.mark.parametrize("join_s", [600, 3601, 3700, 30 * DAY_S])
def test_of_a_field_in_two_generations_the_newer_value_is_kept(queue: lanes.Queue, join_s: int) -> None:
    """Also when the number of the new generation is that of an old one."""
    now_ms = int(time.time() * 1000)
    number = now_ms // 3_600_000
    for key in (keys.JOIN, keys.MERGED, keys.DELETED):
        for back in range(2):
            queue.client.hset(key.of(QUEUE, number - back), mapping={"both": f"{back}", f"only {back}": "value"})

    lanes.reconfigure(replace(queue, join_s=join_s))

    for key in (keys.JOIN, keys.MERGED, keys.DELETED):
        (name,) = queue.client.scan_iter(f"{queue.base}{key.prefix}*")
        assert int(name.decode().rpartition(":")[2]) in (now_ms // (join_s * 1000), now_ms // (join_s * 1000) + 1)
        assert queue.client.hgetall(name) == {b"both": b"0", b"only 0": b"value", b"only 1": b"value"}
        assert 0 < queue.client.pttl(name) <= 2000 * join_s


@pytest.mark.parametrize("target", [41, 42, 43, 44, 50, 30])
def test_the_newest_value_is_kept_whatever_number_the_new_generation_has(queue: lanes.Queue, target: int) -> None:
    for number in (41, 42, 43):
        queue.client.hset(
            keys.JOIN.of(QUEUE, number), mapping={"all": f"{number}", f"{number}": "", "pair": f"{number}"}
        )
    queue.client.hdel(keys.JOIN.of(QUEUE, 43), "pair")

    RECONFIGURE._move(queue, RECONFIGURE._Generations(keys.JOIN, 1000, 60_000), target * 1000)

    assert queue.client.hgetall(keys.JOIN.of(QUEUE, target)) == {
        b"all": b"43",
        b"pair": b"42",
        b"41": b"",
        b"42": b"",
        b"43": b"",
    }


def test_joined_keys_are_joined_after_a_change(queue: lanes.Queue) -> None:
    changed = replace(queue, join_s=DAY_S)
    lanes.append(queue, [event("alias", "old", "new", join=("old", "new"))])

    lanes.reconfigure(changed)

    lanes.append(changed, [event("late", "old"), event("last", "new")])
    assert depths(claim(queue.client)) == {"alias": 0, "late": 1, "last": 2}


def test_the_limit_is_changed_alone(queue: lanes.Queue) -> None:
    appended(queue, "a")
    seen = list(queue.client.scan_iter(f"{queue.base}:seen:*"))

    assert lanes.reconfigure(replace(queue, limit=5)) == {"limit": (queue.limit, 5)}

    assert lanes.stored_config(queue.client, QUEUE) == replace(queue.config, limit=5)
    assert list(queue.client.scan_iter(f"{queue.base}:seen:*")) == seen


def test_the_same_values_change_nothing(queue: lanes.Queue) -> None:
    claim(queue.client)

    assert lanes.reconfigure(queue) == {}


def test_a_queue_that_was_never_opened_gets_the_values(client: redis.Redis) -> None:
    queue = queue_of(client)

    assert lanes.reconfigure(queue) == {}
    assert lanes.stored_config(client, QUEUE) == queue.config


def test_another_layout_is_not_changed(queue: lanes.Queue) -> None:
    queue.client.set(keys.LAYOUT.of(QUEUE), "99")

    with pytest.raises(lanes.OtherLayout):
        lanes.reconfigure(replace(queue, limit=5))


def test_a_queue_with_an_open_claim_is_in_use(queue: lanes.Queue) -> None:
    append(queue.client, event("a", "jo"))
    claimed = claim(queue.client)

    with pytest.raises(lanes.QueueInUse, match="1 claims are open"):
        lanes.reconfigure(replace(queue, limit=5))

    deliver(queue.client, claimed)
    lanes.reconfigure(replace(queue, limit=5))


def test_the_claim_of_a_worker_that_was_killed_does_not_count(queue: lanes.Queue) -> None:
    append(queue.client, event("a", "jo"))
    expire(queue.client, claim(queue.client))

    lanes.reconfigure(replace(queue, limit=5))

    assert [event.body for event in claim(queue.client).events] == [b"a"]


def test_a_queue_is_in_use_while_a_worker_sends_heartbeats(queue: lanes.Queue) -> None:
    queue.client.zadd(keys.WORKERS.name, {"worker": time.time() - 1, "stopped": time.time() - 60})

    with pytest.raises(lanes.QueueInUse, match="1 workers are running"):
        lanes.reconfigure(replace(queue, limit=5))

    queue.client.zrem(keys.WORKERS.name, "worker")
    lanes.reconfigure(replace(queue, limit=5))


def test_a_cooldown_is_not_changed_while_the_old_ones_are_remembered(queue: lanes.Queue) -> None:
    append(queue.client, event("a", "jo"))
    deliver(queue.client, claim(queue.client))

    with pytest.raises(lanes.QueueInUse, match=r"remembered for 1[12]\d s more"):
        lanes.reconfigure(replace(queue, cooldown_ms=1000))

    queue.client.delete(*queue.client.keys(f"{queue.base}:finished_at:*"))
    assert lanes.reconfigure(replace(queue, cooldown_ms=1000)) == {"cooldown_ms": (COOLDOWN_MS, 1000)}


@pytest.mark.parametrize(("cooldown_ms", "left"), [(1000, {b"2": b"1000"}), (0, {}), (90_000, {b"2": b"60000"})])
def test_no_waiting_event_has_a_longer_cooldown_than_the_queue(
    queue: lanes.Queue, cooldown_ms: int, left: dict[bytes, bytes]
) -> None:
    append(queue.client, event("a", "jo"), event("b", "jo", cooldown_ms=COOLDOWN_MS))

    lanes.reconfigure(replace(queue, cooldown_ms=cooldown_ms))

    assert queue.client.hgetall(keys.COOLDOWN.of(QUEUE)) == left


def test_fields_are_moved_by_a_script_that_reads_before_it_writes(redis_client: redis.Redis) -> None:
    queue = lanes.open_queue(queue_of(redis_client))
    appended(queue, "a")
    flags = {name.upper(): found["flags"] for name, found in redis_client.command().items()}

    with commands_of_scripts(redis_client) as calls:
        lanes.reconfigure(replace(queue, dedupe_s=600))

    assert ["HMGET", "HMGET", "HDEL", "HSET", "PEXPIRE"] in calls
    assert all(writes == sorted(writes) for writes in (["write" in flags[name] for name in names] for names in calls))


def interrupted(calls: int) -> Iterator[None]:
    yield from (None for _ in range(calls))
    raise ConnectionError("gone")


@pytest.mark.parametrize("calls", range(3))
def test_an_interrupted_change_is_finished_by_the_next_one(
    queue: lanes.Queue, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    changed, run, left = replace(queue, dedupe_s=600, limit=77), RECONFIGURE.run, interrupted(calls)
    for generations, name in ((3, "oldest"), (1, "older")):
        appended(queue, name)
        age(queue.client, keys.SEEN, generations)
    appended(queue, "newest", "newest too")

    def gone(*arguments: Any) -> Any:
        next(left)
        return run(*arguments)

    monkeypatch.setattr(RECONFIGURE, "_PAGE", 1)
    monkeypatch.setattr(RECONFIGURE, "run", gone)
    with pytest.raises(ConnectionError):
        lanes.reconfigure(changed)
    monkeypatch.undo()
    for values in (queue, changed):
        with pytest.raises(lanes.QueueReconfiguring, match="segue lanes configure --apply"):
            lanes.open_queue(values)

    assert lanes.reconfigure(changed) == {"dedupe_s": (3600, 600), "limit": (queue.limit, 77)}

    names = ("oldest", "older", "newest", "newest too")
    assert appended(lanes.open_queue(changed), *names) == (False,) * 4
    assert not queue.client.exists(keys.REGROUPING.of(QUEUE))


def test_an_interrupted_change_is_finished_before_another_one(
    queue: lanes.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    appended(queue, "a")
    monkeypatch.setattr(RECONFIGURE, "run", lambda *_arguments: next(interrupted(0)))
    with pytest.raises(ConnectionError):
        lanes.reconfigure(replace(queue, dedupe_s=600))
    monkeypatch.undo()

    assert lanes.reconfigure(queue) == {}

    assert lanes.stored_config(queue.client, QUEUE) == queue.config
    assert appended(queue, "a") == (False,)
