"""Waits are bounded, jittered, and never shorter than what the service asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from delivery import retries
from delivery.outcomes import Delivered, Outcome, Rejected, Response, RetryLater

RESPONSE = Response(503, "")


@given(st.integers(0, 1000), st.floats(0.001, 10), st.none() | st.floats(0, 300))
def test_a_release_waits_within_its_bounds(attempts: int, base_s: float, after_s: float | None) -> None:
    delay_s = retries.release_delay_s(RetryLater("HTTP 503", RESPONSE, after_s), attempts, base_s)

    assert (after_s or 0) <= delay_s <= max(retries.MAX_DELAY_S, after_s or 0)


def test_the_same_is_sent_a_few_times_and_then_given_back() -> None:
    calls: list[None] = []

    def send() -> list[Outcome]:
        calls.append(None)
        return [RetryLater("HTTP 503", RESPONSE)]

    assert retries.with_retries(send, base_s=0.0001, within_s=10) == [RetryLater("HTTP 503", RESPONSE)]
    assert len(calls) == retries.IN_PROCESS_ATTEMPTS


def test_a_partly_accepted_request_is_not_sent_again() -> None:
    calls: list[None] = []

    def send() -> list[Outcome]:
        calls.append(None)
        return [Delivered(), RetryLater("HTTP 503", RESPONSE), Rejected("no", RESPONSE)]

    retries.with_retries(send, base_s=0.0001, within_s=10)

    assert len(calls) == 1


def test_a_wait_that_does_not_fit_is_left_to_the_release() -> None:
    calls: list[None] = []

    def send() -> list[Outcome]:
        calls.append(None)
        return [RetryLater("HTTP 429", RESPONSE, after_s=60)]

    retries.with_retries(send, base_s=0.0001, within_s=1)

    assert len(calls) == 1
