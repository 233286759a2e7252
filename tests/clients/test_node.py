"""@segment/analytics-node sends batches side by side, and they overtake each other."""

from __future__ import annotations

import pytest

from tests.clients.node import pipeline, run
from tests.conftest import RedisServer

pytestmark = pytest.mark.usefixtures("_node")
# A busy machine delays more than a network: the commands use the default of one second.
WINDOW_MS = 5_000


@pytest.mark.parametrize("most_pause_ms", [0, 40])
def test_people_of_the_node_client_act_in_their_order(redis_server: RedisServer, most_pause_ms: int) -> None:
    with pipeline(redis_server.url, WINDOW_MS) as running:
        made = run(running, 0, most_pause_ms)

    assert made.reordered > 0, "no request overtook another one: the test shows nothing"
    assert (made.harmed, made.effects.lost) == (frozenset(), 0), made.figures


def test_people_of_the_node_client_are_out_of_order_without_a_window(redis_server: RedisServer) -> None:
    with pipeline(redis_server.url, 0) as running:
        made = run(running, 0, 40)

    assert made.harmed, made.figures
    assert made.effects.lost == 0
