"""The time and order in which accepted operations are applied, and the figures about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from simulator.control import control
from simulator.limit import Limit
from simulator.options import Faults, Options
from simulator.service import Service
from tests.unit.simulator.saying import ULID, event, identify, merge

ADA = {"id": "ada"}


@pytest.fixture
def service() -> Service:
    """A service with a stopped clock."""
    service = Service(seed=1)
    service.clock.set_virtual(True)
    return service


def applied(service: Service) -> list[Any]:
    return [entry["operation"]["name"] for entry in service.journal]


def advance(service: Service, seconds: float) -> None:
    service.clock.advance(seconds)
    service.catch_up()


def accept_numbered(service: Service, requests: int, items: int = 1) -> None:
    for request in range(requests):
        service.accept([event(ADA, f"{request}.{item}") for item in range(items)])


def numbered(requests: int, items: int = 1) -> Iterator[str]:
    return (f"{request}.{item}" for request in range(requests) for item in range(items))


def test_by_default_operations_are_applied_on_arrival(service: Service) -> None:
    accept_numbered(service, 3, 2)
    assert applied(service) == list(numbered(3, 2))
    assert service.journal[0]["arrived_at"] == service.journal[0]["applied_at"] == service.clock.now()


def test_in_order_applies_operations_late_in_the_order_of_arrival(service: Service) -> None:
    service.set_faults(Faults(apply="in_order"))
    accept_numbered(service, 50, 2)
    assert (applied(service), service.stats()["pending"]) == ([], 100)
    advance(service, 61)
    assert applied(service) == list(numbered(50, 2))
    assert (service.stats()["pending"], service.stats()["applied"]) == (0, 100)


def test_shuffled_mixes_requests_and_keeps_each_request_together(service: Service) -> None:
    service.set_faults(Faults(apply="shuffled"))
    accept_numbered(service, 50, 2)
    advance(service, 61)
    seen = applied(service)
    assert (sorted(seen), seen == list(numbered(50, 2))) == (sorted(numbered(50, 2)), False)
    assert all(first.split(".")[0] == second.split(".")[0] for first, second in zip(seen[::2], seen[1::2], strict=True))


@pytest.mark.parametrize("apply", ["at_once", "in_order", "shuffled"])
def test_the_items_of_one_request_are_shuffled_only_by_option(service: Service, apply: Any) -> None:
    for shuffle in (False, True):
        service.reset()
        service.set_faults(Faults(apply=apply, shuffle_batches=shuffle))
        accept_numbered(service, 1, 50)
        advance(service, 61)
        assert (applied(service) != list(numbered(1, 50))) == shuffle


def test_each_operation_is_applied_at_its_own_time_after_arrival(service: Service) -> None:
    service.set_faults(Faults(apply="shuffled", lag_ms=(1000, 2000), lag_tail=0))
    accept_numbered(service, 20)
    advance(service, 3600)
    lags = [entry["applied_at"] - entry["arrived_at"] for entry in service.journal]
    assert all(1 <= lag <= 2 for lag in lags)
    assert lags == sorted(lags)


def test_a_share_of_delays_is_long_and_all_delays_can_be_scaled(service: Service) -> None:
    service.set_faults(Faults(apply="shuffled", lag_tail=0.1, lag_scale=0.01))
    accept_numbered(service, 500)
    advance(service, 0.0201)
    late = service.stats()["pending"]
    assert 20 < late < 90
    advance(service, 0.6)
    assert service.stats()["pending"] == 0


def test_the_same_seed_gives_the_same_order(service: Service) -> None:
    orders = []
    for seed in (1, 1, 2):
        service.reset()
        service.set_faults(Faults(apply="shuffled", seed=seed))
        accept_numbered(service, 50)
        advance(service, 61)
        orders.append(applied(service))
    assert orders[0] == orders[1] != orders[2]


def test_application_at_once_does_not_overtake_pending_operations(service: Service) -> None:
    service.set_faults(Faults(apply="in_order", lag_ms=(1000, 1000), lag_tail=0))
    service.accept([event(ADA, "first")])
    service.set_faults(Faults())
    service.accept([event(ADA, "second")])
    advance(service, 1.1)
    assert applied(service) == ["first", "second"]


def test_a_read_applies_the_operations_that_are_due(service: Service) -> None:
    service.set_faults(Faults(apply="in_order", lag_ms=(1000, 1000), lag_tail=0))
    service.accept([event(ADA)])
    assert b'"ada"' not in control(service, "GET", "people", b"").body
    service.clock.advance(1.1)
    assert b'"ada"' in control(service, "GET", "people", b"").body


def test_an_event_without_a_time_gets_the_time_of_receipt(service: Service) -> None:
    service.set_faults(Faults(apply="in_order", lag_ms=(1000, 1000), lag_tail=0))
    arrived_at = service.clock.now()
    service.accept([event(ADA)])
    advance(service, 5)
    (person,) = service.workspace.people.values()
    assert person.events[0]["timestamp"] == arrived_at


def test_an_operation_applied_after_a_later_one_of_its_stream_is_a_violation(service: Service) -> None:
    for trace in ("a:1", "a:4", "a:2", "a:3", "b:1", "a:5", "no number"):
        service.accept([identify(ADA, segue_trace=trace)])
    assert service.stats()["order_violations"] == 2
    assert service.journal[0]["trace"] == "a:1"


def test_a_repeated_update_has_no_effect_and_a_repeated_event_is_applied_twice(service: Service) -> None:
    once = [identify(ADA, segue_trace="a:1"), event(ADA, attributes={"segue_trace": "a:2"})]
    service.accept(once)
    again = [identify(ADA, segue_trace="a:1"), event(ADA, attributes={"segue_trace": "a:2"})]
    service.accept(again)
    stats = service.stats()
    assert (stats["order_violations"], stats["applied_twice"]) == (0, 1)


def test_a_repeated_event_with_a_ulid_is_not_applied_twice(service: Service) -> None:
    service.accept([event(ADA, id=ULID, attributes={"segue_trace": "a:2"})])
    service.accept([event(ADA, attributes={"segue_trace": "a:3"})])
    service.accept([event(ADA, id=ULID, attributes={"segue_trace": "a:2"})])
    stats = service.stats()
    assert (stats["order_violations"], stats["applied_twice"], stats["duplicate_event"]) == (0, 0, 1)


def test_a_merge_that_overtakes_its_primary_is_counted(service: Service) -> None:
    service.accept([merge(ADA, {"id": "bob"}), identify(ADA)])
    assert service.stats()["merge_without_primary"] == 1


def test_only_counts_are_kept_without_a_journal(service: Service) -> None:
    service.set_options(Options(keep_journal=False))
    service.accept([event(ADA), merge(ADA, {"id": "bob"})])
    assert (service.journal, service.workspace.activity, service.stats()["merge_without_secondary"]) == ([], [], 1)


def test_a_share_of_the_items_can_be_refused_with_or_without_a_reason(service: Service) -> None:
    service.set_faults(Faults(item_errors=0.5))
    found = [service.check(event(ADA)) for _ in range(100)]
    assert 20 < sum(fault is not None for fault in found) < 80
    assert all(fault is None or fault.keys() == {"reason", "field", "message"} for fault in found)
    service.set_faults(Faults(item_errors=1, item_errors_bare=True))
    assert service.check(event(ADA)) == {"reason": "invalid"}


def test_a_reset_deletes_all_but_the_options(service: Service) -> None:
    service.set_options(Options(identifiers="id"))
    service.set_faults(Faults(apply="in_order"))
    service.accept([event(ADA)])
    service.reset()
    assert (service.stats()["pending"], service.faults.apply, service.options.identifiers) == (0, "at_once", "id")
    assert service.workspace.options.identifiers == "id"


def test_the_limit_allows_the_requests_of_one_second_at_once_and_then_its_rate() -> None:
    limit = Limit()
    assert [limit.is_exceeded(100.0, 10) for _ in range(12)] == [False] * 10 + [True] * 2
    assert not limit.is_exceeded(100.11, 10)
    assert limit.is_exceeded(100.12, 10)
    assert not any(limit.is_exceeded(200 + n / 10, 10) for n in range(100))


def test_the_busiest_second_may_start_at_any_time() -> None:
    limit = Limit()
    for at in (10.6, 10.8, 11.1, 11.5, 11.7):
        limit.is_exceeded(at, None)
    assert (limit.busiest, limit.by_second) == (4, {10: 2, 11: 3})


def test_the_clock_continues_from_the_time_at_which_it_was_stopped(service: Service) -> None:
    stopped_at = service.clock.now()
    assert service.clock.now() == stopped_at
    service.clock.advance(3600)
    service.clock.set_virtual(False)
    assert stopped_at + 3600 <= service.clock.now() < stopped_at + 3660
