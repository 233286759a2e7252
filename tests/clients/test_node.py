"""@segment/analytics-node sends batches side by side, and they overtake each other."""

from __future__ import annotations

import pytest

from tests.clients.node import run
from tests.conftest import RedisServer
from tests.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("_node")
# A busy machine delays more than a network: the commands use the default of one second.
WINDOW_MS = 5_000


@pytest.mark.parametrize("most_pause_ms", [0, 40])
def test_people_of_the_node_client_act_in_their_order(redis_server: RedisServer, most_pause_ms: int) -> None:
    variables = {"SEGUE_REORDER_MS": str(WINDOW_MS), "SEGUE_SETTLE_S": "0.2"}
    with Pipeline(redis_server.url, workers=2, **variables) as running:
        made = run(running, 0, most_pause_ms)

    assert made.reordered > 0, "no request overtook another one: the test shows nothing"
    assert (made.harmed, made.effects.lost) == (frozenset(), 0), made.figures


def test_people_of_the_node_client_are_out_of_order_without_a_window(redis_server: RedisServer) -> None:
    with Pipeline(redis_server.url, workers=2, SEGUE_REORDER_MS="0", SEGUE_SETTLE_S="0.2") as running:
        made = run(running, 0, 40)

    assert made.harmed, made.figures
    assert made.effects.lost == 0
