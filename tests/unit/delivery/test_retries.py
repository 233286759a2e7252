"""Waits are bounded, jittered, and never shorter than the service's Retry-After."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery import retries
from delivery.batching import Item, Request
from delivery.outcomes import Delivered, Outcome, Rejected, Response, RetryLater

RESPONSE = Response(503, "")
REQUEST = Request("/api/v2/entity", (Item(1, 0, "trackEvent", "event", "/api/v2/entity", b"{}"),))


class Service:
    """A `send` that responds with the same outcomes each time, and counts its calls."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self, request: Request) -> list[Outcome]:
        assert request is REQUEST
        self.calls += 1
        return self.outcomes


@given(st.integers(0, 1000), st.floats(0.001, 10), st.none() | st.floats(0, 300))
def test_a_released_event_waits_within_the_bounds(attempts: int, base_s: float, after_s: float | None) -> None:
    delay_s = retries.release_delay_s(RetryLater("HTTP 503", RESPONSE, after_s), attempts, base_s)

    assert (after_s or 0) <= delay_s <= max(retries.MAX_DELAY_S, after_s or 0)


def test_a_request_is_sent_a_few_times_and_its_last_outcomes_are_returned() -> None:
    service = Service(RetryLater("HTTP 503", RESPONSE))

    assert retries.retrying(service, base_s=0.0001, within_s=10)(REQUEST) == service.outcomes
    assert service.calls == retries.IN_PROCESS_ATTEMPTS


def test_a_partly_accepted_request_is_not_sent_again() -> None:
    service = Service(Delivered(), RetryLater("HTTP 503", RESPONSE), Rejected("no", RESPONSE))

    retries.retrying(service, base_s=0.0001, within_s=10)(REQUEST)

    assert service.calls == 1


def test_a_retry_after_that_exceeds_the_time_is_left_to_the_release() -> None:
    service = Service(RetryLater("HTTP 429", RESPONSE, after_s=60))

    retries.retrying(service, base_s=0.0001, within_s=1)(REQUEST)

    assert service.calls == 1


@pytest.mark.parametrize(
    ("attempts", "age_s", "is_exhausted"),
    [
        (retries.MAX_ATTEMPTS, 0, True),
        (retries.MAX_ATTEMPTS - 1, 0, False),
        (retries.LEAST_ATTEMPTS, retries.MAX_AGE_S + 1, True),
        (retries.LEAST_ATTEMPTS - 1, retries.MAX_AGE_S + 1, False),
    ],
)
def test_an_event_is_exhausted_by_attempts_or_by_fewer_attempts_and_age(
    attempts: int, age_s: float, is_exhausted: bool
) -> None:
    assert retries.is_exhausted(attempts, age_s) is is_exhausted
