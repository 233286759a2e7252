"""analytics.js in Chromium: requests overtake each other, break, and are repeated."""

from __future__ import annotations

import pytest

from tests.clients.browser import LOSSY, UMD, pipeline, run
from tests.clients.network import Faults
from tests.conftest import RedisServer

pytestmark = pytest.mark.usefixtures("_chromium")
# A busy machine delays more than a network: the commands use the default of one second.
WINDOW_MS = 5_000
VISITORS = 10


@pytest.mark.parametrize("browser_batch_ms", [None, 0], ids=["batches", "single events"])
def test_visitors_act_in_their_order(redis_server: RedisServer, browser_batch_ms: int | None) -> None:
    with pipeline(redis_server.url, WINDOW_MS, browser_batch_ms) as running:
        made = run(running, 0, LOSSY, VISITORS)

    assert (made.harmed, made.effects.lost) == (frozenset(), 0), made.figures
    assert made.elsewhere == frozenset()


def test_the_umd_build_loads_nothing_from_elsewhere(redis_server: RedisServer) -> None:
    """Its chunks are at Segment's host, which many visitors block. The page has the options of docs/ingest.md."""
    with pipeline(redis_server.url, WINDOW_MS) as running:
        made = run(running, 0, Faults(), 2, UMD)

    assert (made.harmed, made.effects.lost, made.elsewhere) == (frozenset(), 0, frozenset()), made.figures


def test_events_arrive_after_ten_seconds_of_refusals(redis_server: RedisServer) -> None:
    with pipeline(redis_server.url, WINDOW_MS) as running:
        made = run(running, 0, Faults(outage_s=10), 3)

    assert made.seen["refused"] > 0
    assert made.effects.lost == 0, made.figures
