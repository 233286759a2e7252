"""SIGTERM to a busy worker: it settles its claims, so that no event waits for the end of a lease."""

from __future__ import annotations

from tests.conftest import RedisServer
from tests.pipeline import Pipeline, configuration, wait_until

EVENTS = 600
PEOPLE = 150
LEASE_S = 600
GRACE_S = 10  # the shortest usual time between SIGTERM and SIGKILL
CONFIG = configuration(batch_items=1, delivery={"requests_per_s": 1000})


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


def requests(pipeline: Pipeline) -> int:
    """Return the number of requests that the simulator has received."""
    by_status: dict[str, int] = pipeline.http.get(f"{pipeline.simulator_url}/_sim/stats").json()["requests"]
    return sum(by_status.values())
