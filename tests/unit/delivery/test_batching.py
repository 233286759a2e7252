"""Packing keeps the order and the limits, and gives other paths a request of their own."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from delivery.batching import MAX_BODY_BYTES, Item, Request, encode, pack
from mapping import Operation
from mapping.operation import BATCH_PATH


def item(sequence: int, size: int = 10, path: str = "/api/v2/entity") -> Item:
    body = {"name": "x" * size}
    return encode(sequence, 0, Operation(0, "trackEvent", "event", path, body), body)


def test_items_are_packed_in_order_up_to_the_count() -> None:
    requests = list(pack([item(n) for n in range(5)], 2))

    assert [[each.sequence for each in request.items] for request in requests] == [[0, 1], [2, 3], [4]]


@given(st.lists(st.integers(1, 40_000), max_size=60), st.integers(1, 100))
def test_every_body_keeps_within_the_limits_and_no_item_is_lost(sizes: list[int], most: int) -> None:
    items = [item(at, size) for at, size in enumerate(sizes)]

    requests = list(pack(items, most))

    assert [each for request in requests for each in request.items] == items
    assert all(len(request.body()) <= MAX_BODY_BYTES for request in requests)
    assert all(len(request.items) <= most for request in requests)
    for request in requests:
        assert orjson.loads(request.body()) == {"batch": [orjson.loads(each.data) for each in request.items]}


def test_an_operation_of_another_path_has_a_request_of_its_own() -> None:
    metrics = item(2, path="/api/v1/metrics")

    requests = list(pack([item(1), metrics, item(3)], 100))

    assert [(request.path, len(request.items)) for request in requests] == [("/api/v1/metrics", 1), (BATCH_PATH, 2)]
    assert orjson.loads(requests[0].body()) == orjson.loads(metrics.data)


def test_the_halves_of_a_request_keep_the_order() -> None:
    first, second = Request(BATCH_PATH, tuple(item(n) for n in range(5))).halves()

    assert [each.sequence for each in (*first.items, *second.items)] == [0, 1, 2, 3, 4]
