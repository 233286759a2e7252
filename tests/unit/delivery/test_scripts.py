"""The scripts of delivery do all or nothing, as those of the lanes do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from delivery.scripts import run
from lanes import Queue, ScriptError, keys
from tests.lanes.test_scripts import commands_of_scripts
from tests.queues import queue_of

PERSON, OTHER = b"person..", b"other..."
REPORT = (10, 1, 1000, 30_000, 500, "reason")
TIME = b"\0\1\2\3\4\5"
UPDATE = (7, 1_000_000, 1_000_000, "c", 1, PERSON, 1, PERSON, "=oth", 1, PERSON + OTHER + b"1" + TIME + b"emailplan.")
MERGED, DELETED = ("merged", PERSON, OTHER + b"{}", TIME), ("deleted", OTHER, 1, "")

CALLS: dict[str, Callable[[Queue], Any]] = {
    "permit": lambda queue: [run(queue, "report", "failed", *REPORT), run(queue, "permit", 1000, 1000)],
    "acquire": lambda queue: [run(queue, "acquire", 2, 10_000_000, 0) for _ in range(4)],
    "report": lambda queue: [
        run(queue, "report", result, *REPORT)
        for result in ("failed", "misconfigured", "throttled", "slow", "responded", "slow")
    ],
    "register": lambda queue: run(queue, "register", 60_000, 1, 10, PERSON + OTHER, "", *UPDATE),
    "remember_identities": lambda queue: run(
        queue, "remember_identities", 60_000, *MERGED, *DELETED, "back", PERSON, "", ""
    ),
    "remember_attributes": lambda queue: run(queue, "remember_attributes", 60_000, PERSON, b"{}"),
    "read_attributes": lambda queue: run(queue, "read_attributes", 60_000, PERSON, OTHER),
    "trim_log": lambda queue: run(queue, "trim_log", 2, 1000, 0.1),
}


@pytest.mark.parametrize("verb", CALLS)
def test_a_script_reads_and_decides_before_it_writes(redis_client: redis.Redis, verb: str) -> None:
    queue = queue_of(redis_client, "demo")
    redis_client.rpush(keys.LOG.of("demo"), *(b"%013d entry" % n for n in range(4)))
    flags = {name.upper(): found["flags"] for name, found in redis_client.command().items()}

    with commands_of_scripts(redis_client) as calls:
        CALLS[verb](queue)

    assert any(calls)
    for commands in calls:
        writes = ["write" in flags[name] for name in commands]
        assert writes == sorted(writes), f"a read after a write: {commands}"


def test_a_failing_script_names_verb_queue_and_line(redis_client: redis.Redis) -> None:
    queue = queue_of(redis_client, "demo")
    redis_client.set(keys.ADMISSION.of("demo"), "not a hash")

    with pytest.raises(ScriptError, match=r"^acquire on queue demo: acquire.lua:\d+: WRONGTYPE "):
        run(queue, "acquire", 2, 10_000_000, 0)
