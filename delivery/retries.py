"""How often and how long we try again.

Two loops. The inner one sends the same bytes up to IN_PROCESS_ATTEMPTS times within the task, with full jitter: a wait
is drawn evenly from 0 to base, 2 base, … seconds, and all of it ends well before the lease. The outer one puts the
event back to its place with a longer wait: drawn from 0 to min(MAX_DELAY_S, base 2^attempt) seconds, never less than
the service asked for. After MAX_ATTEMPTS of those the event is buried; after LEAST_ATTEMPTS when it is MAX_AGE_S old by
then. An old event is given those as well: it may have waited behind others, or for the service to live again. What the
service refuses with 429 is tried for as long as that lasts.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from delivery.outcomes import Outcome, RetryLater

IN_PROCESS_ATTEMPTS = 3
LEAST_ATTEMPTS = 10
MAX_ATTEMPTS = 30
MAX_DELAY_S = 300.0
MAX_AGE_S = 4 * 3600.0

_jitter = random.Random()


def with_retries(send: Callable[[], list[Outcome]], base_s: float, within_s: float) -> list[Outcome]:
    """Return what `send` came to, tried again while all of its items should be, for at most `within_s` seconds."""
    return _retrying(base_s, within_s)(send)


@cache  # one for all threads, as tenacity allows: each is a ring of objects that only a garbage collection frees
def _retrying(base_s: float, within_s: float) -> Retrying:
    return Retrying(
        retry=retry_if_result(_all_may_go_again),
        wait=_wait(base_s),
        stop=stop_after_attempt(IN_PROCESS_ATTEMPTS) | stop_before_delay(within_s),
        retry_error_callback=_last_result,
    )


def release_delay_s(outcome: RetryLater, attempts: int, base_s: float) -> float:
    """Return how long to wait before the next try of an event that was released `attempts` times before, in seconds."""
    backoff_s = _jitter.uniform(0, min(MAX_DELAY_S, base_s * 2 ** min(attempts + 1, 30)))
    return max(backoff_s, outcome.after_s or 0.0)


def _all_may_go_again(outcomes: list[Outcome]) -> bool:
    return all(isinstance(outcome, RetryLater) for outcome in outcomes)


def _wait(base_s: float) -> Callable[[RetryCallState], float]:
    jittered = wait_random_exponential(multiplier=base_s, max=MAX_DELAY_S)

    def wait(state: RetryCallState) -> float:
        return max(jittered(state), _asked_for_s(state))

    return wait


def _asked_for_s(state: RetryCallState) -> float:
    outcomes: list[Outcome] = state.outcome.result() if state.outcome else []
    return max((outcome.after_s or 0.0 for outcome in outcomes if isinstance(outcome, RetryLater)), default=0.0)


def _last_result(state: RetryCallState) -> list[Outcome]:
    assert state.outcome is not None
    result: list[Outcome] = state.outcome.result()
    return result
