"""How the service accepts and applies: at once, late, shuffled; and what it counts as gone wrong."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.operations import fault
from simulator.options import Faults
from simulator.service import Service


def track(name: str, trace: str | None = None, **more: Any) -> dict[str, Any]:
    attributes = {"segue_trace": trace} if trace else {}
    return {
        "type": "person", "action": "event", "name": name, "identifiers": {"id": "1"}, "attributes": attributes
    } | more  # fmt: skip


def service(**faults: Any) -> Service:
    made = Service(seed=7)
    made.set_faults(Faults(**faults))
    return made


def names(made: Service) -> list[str]:
    return [entry["operation"]["name"] for entry in made.journal]


def pass_time(made: Service, seconds: float) -> None:
    made.clock_ahead_s += seconds
    made.catch_up()


def test_what_is_accepted_is_applied_at_once_by_default() -> None:
    made = service()
    made.accept([track("a"), track("b")])

    assert names(made) == ["a", "b"]
    assert made.stats()["pending"] == 0


def test_applied_late_but_in_order_nothing_is_seen_before_its_time() -> None:
    made = service(apply="in_order", lag_ms=[500, 2000])
    for n in range(20):
        made.accept([track(str(n))])
    assert names(made) == []

    pass_time(made, 2.1)
    assert names(made) == [str(n) for n in range(20)]
    assert made.order_violations == 0


def test_applied_late_and_shuffled_requests_overtake_each_other_but_not_items_of_one() -> None:
    made = service(apply="shuffled", lag_ms=[0, 2000])
    for n in range(20):
        made.accept([track(f"{n}a", f"s:{2 * n + 1}"), track(f"{n}b", f"s:{2 * n + 2}")])
    pass_time(made, 3)

    order = names(made)
    assert len(order) == 40
    assert order != sorted(order, key=lambda name: (int(name[:-1]), name))
    assert all(order.index(f"{n}a") < order.index(f"{n}b") for n in range(20))
    assert made.order_violations > 0


def test_a_tail_of_late_ones_comes_up_to_a_minute_later() -> None:
    made = service(apply="shuffled", lag_ms=[0, 0], lag_tail=0.5, lag_tail_ms=60_000)
    for n in range(40):
        made.accept([track(str(n))])
    pass_time(made, 1)
    assert 0 < made.stats()["pending"] < 40

    pass_time(made, 60)
    assert made.stats()["pending"] == 0


def test_the_trace_shows_disorder_and_repetition_and_is_not_kept() -> None:
    made = service()
    made.accept([track("a", "s:1"), track("b", "s:2"), track("a", "s:1"), track("c", "other:1")])

    stats = made.stats()
    assert (stats["order_violations"], stats["applied_twice"]) == (1, 1)
    assert made.journal[0]["operation"]["attributes"] == {}


def test_a_repetition_that_the_service_ignores_is_not_applied_twice() -> None:
    made = service()
    again = {"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}
    made.accept([track("a", "s:1", **again)])
    made.accept([track("a", "s:1", **again)])

    assert made.stats()["applied_twice"] == 0


def test_an_older_attribute_that_wins_is_counted() -> None:
    made = service()
    for place, at in ((2, 100), (1, 100)):
        made.accept(
            [
                {
                    "type": "person",
                    "action": "identify",
                    "identifiers": {"id": "1"},
                    "attributes": {"plan": place, "segue_trace": f"s:{place}"},
                    "timestamp": at,
                }
            ]
        )

    assert made.stats()["stale_attribute_won"] == 1


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ("text", ""),
        ({"type": "nobody", "action": "event"}, "type"),
        ({"type": "person", "action": "dance"}, "action"),
        (track("x", identifiers={}), "identifiers"),
        (track("x", identifiers={"id": "1", "email": "a@x.com"}), "identifiers"),
        (track("x", identifiers={"nick": "1"}), "identifiers.nick"),
        (track("x", identifiers={"id": "é" * 76}), "identifiers.id"),
        (track("  "), "name"),
        (track("x" * 101), "name"),
        (track("x", attributes={"a": "b" * 33_000}), ""),
        (track("x", action="identify", attributes={"a": "b" * 1001}), "attributes.a"),
        (track("x", action="identify", attributes={str(n): n for n in range(301)}), "attributes"),
        (track("x", action="add_device"), "device.token"),
        (track("x", action="add_device", device={"token": "t", "platform": "web"}), "device.platform"),
        ({"type": "person", "action": "merge", "primary": {"id": "1"}}, "secondary"),
        ({"type": "person", "action": "merge", "primary": {"id": "1", "email": "a"}, "secondary": {}}, "primary"),
        ({"type": "object", "action": "identify", "identifiers": {"object_id": "1"}}, "identifiers.object_type_id"),
        (track("x", action="add_relationships"), "cio_relationships"),
    ],
)
def test_a_bad_operation_is_refused_by_field(operation: Any, field: str) -> None:
    found = fault(operation)

    assert found is not None
    assert found["field"] == field


def test_more_requests_than_the_limit_in_a_second_are_too_many() -> None:
    made = service(requests_per_s=3)
    made.now = lambda: 1000.0  # type: ignore[method-assign]

    assert [made.is_over_the_limit() for _ in range(5)] == [False, False, False, True, True]
