"""How often and how long a request and an event are tried again.

Two loops. The inner one sends the same bytes up to IN_PROCESS_ATTEMPTS times within the task, with full jitter. A wait
is drawn evenly from 0 to base, 2 base, … seconds. All of it ends well before the lease. The outer one returns the event
to its lanes with a longer wait. That is drawn from 0 to min(MAX_DELAY_S, base 2^attempt) seconds, and never less than
the service's Retry-After.

After MAX_ATTEMPTS of the outer loop the event is buried; after LEAST_ATTEMPTS when it is MAX_AGE_S old by then. An old
event gets LEAST_ATTEMPTS as well, as it may have waited behind others or for a service that was down. A response of 429
is no attempt, however often it comes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from delivery.outcomes import Outcome, RetryLater, Send

IN_PROCESS_ATTEMPTS: Final = 3
LEAST_ATTEMPTS: Final = 10
MAX_ATTEMPTS: Final = 30
MAX_DELAY_S: Final = 300.0
MAX_AGE_S: float = 4 * 3600.0

_jitter = random.Random()


def retrying(send: Send, base_s: float, within_s: float) -> Send:
    """Return `send` as a function that tries again while all outcomes of a request are RetryLater.

    No attempt begins later than `within_s` seconds after the first one.
    """
    policy = _policy(base_s, within_s)
    return lambda request: policy(send, request)


@cache  # threads share it, as tenacity allows; each policy is a cycle of objects that only a garbage collection frees
def _policy(base_s: float, within_s: float) -> Retrying:
    return Retrying(
        retry=retry_if_result(_all_may_be_retried),
        wait=_wait(base_s),
        stop=stop_after_attempt(IN_PROCESS_ATTEMPTS) | stop_before_delay(within_s),
        retry_error_callback=_last_result,
    )


def release_delay_s(outcome: RetryLater, attempts: int, base_s: float) -> float:
    """Return the seconds to wait before the next try of an event that was tried `attempts` times before."""
    backoff_s = _jitter.uniform(0, min(MAX_DELAY_S, base_s * 2 ** min(attempts + 1, 30)))
    return max(backoff_s, outcome.after_s or 0.0)


def is_exhausted(attempts: int, age_s: float) -> bool:
    """Whether an event of this age, in seconds, is given up after so many attempts."""
    return attempts >= MAX_ATTEMPTS or (attempts >= LEAST_ATTEMPTS and age_s > MAX_AGE_S)


def _all_may_be_retried(outcomes: list[Outcome]) -> bool:
    return all(isinstance(outcome, RetryLater) for outcome in outcomes)


def _wait(base_s: float) -> Callable[[RetryCallState], float]:
    jittered = wait_random_exponential(multiplier=base_s, max=MAX_DELAY_S)

    def wait(state: RetryCallState) -> float:
        return max(jittered(state), _retry_after_s(state))

    return wait


def _retry_after_s(state: RetryCallState) -> float:
    outcomes: list[Outcome] = state.outcome.result() if state.outcome else []
    return max((outcome.after_s or 0.0 for outcome in outcomes if isinstance(outcome, RetryLater)), default=0.0)


def _last_result(state: RetryCallState) -> list[Outcome]:
    assert state.outcome is not None
    result: list[Outcome] = state.outcome.result()
    return result
