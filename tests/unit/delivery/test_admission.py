"""One rate limit and one circuit breaker for all workers, over fakeredis, whose clock is the machine's."""

from __future__ import annotations

import math

import fakeredis
import pytest
import redis

from delivery import admission as admissions
from delivery import scripts
from delivery.admission import FAILURES, LONGEST_PROBE_WAIT_S, LONGEST_SET_ASIDE_S, SET_ASIDE_PROBES, Admission
from delivery.batching import Item, Request
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, Response, RetryLater
from lanes import keys
from tests.logged import logged
from tests.queues import queue_of

QUEUE = "journeys"
KEY = "segue:{journeys}:admission"
READY = keys.READY.of(QUEUE)
DOWN = RetryLater("no response: ConnectError", Response(None, "ConnectError"))
REQUEST = Request("/api/v2/entity", (Item(1, 0, "trackEvent", "event", "/api/v2/entity", b"{}"),))


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def admission(
    client: redis.Redis, requests_per_s: float = 1000, probe_wait_s: float = 60, turn_s: float = 1
) -> Admission:
    return Admission(
        queue=queue_of(client, QUEUE), requests_per_s=requests_per_s, probe_wait_s=probe_wait_s, turn_s=turn_s
    )


def send(by: Admission, outcome: Outcome) -> Outcome:
    """Send one request that has this outcome; return the outcome that the caller gets."""
    return by.guard(lambda _request: [outcome])(REQUEST)[0]


def state_of(client: redis.Redis) -> admissions.AdmissionState:
    return admissions.read(queue_of(client, QUEUE))


def make_probe_due(client: redis.Redis) -> None:
    client.hset(KEY, "probe_at", 0)
    client.zadd(READY, {"1": 0})


def test_failures_in_a_row_open_the_circuit_breaker_and_the_last_one_spends_no_attempt(client: redis.Redis) -> None:
    outcomes = [send(admission(client), DOWN) for _ in range(FAILURES)]

    assert outcomes[:-1] == [DOWN] * (FAILURES - 1)
    assert isinstance(outcomes[-1], Paused)
    assert admission(client).permit() == "none"
    state = state_of(client)
    assert (state.breaker, state.paused, state.reason) == ("open", False, DOWN.reason)
    assert client.hget(KEY, "state") == b"open"


def test_a_response_between_failures_keeps_the_circuit_breaker_closed(client: redis.Redis) -> None:
    for _ in range(3 * FAILURES):
        send(admission(client), DOWN)
        send(admission(client), Delivered())

    assert admission(client).permit() == "all"


def test_a_rejection_of_an_item_is_a_response(client: redis.Redis) -> None:
    for _ in range(FAILURES):
        send(admission(client), DOWN)

    send(admission(client), Rejected("HTTP 400", Response(400, "")))

    assert state_of(client).breaker == "closed"


def test_refused_credentials_pause_the_destination_at_once_with_the_reason(client: redis.Redis) -> None:
    send(admission(client), Paused("the credentials were refused (HTTP 401)", Response(401, "")))

    state = state_of(client)
    assert (state.paused, state.breaker, state.reason) == (True, "closed", "the credentials were refused (HTTP 401)")
    assert admission(client).permit() == "none"
    assert client.hget(KEY, "state") == b"paused"


def test_one_deliverer_probes_when_a_probe_is_due_and_its_success_closes_the_circuit_breaker(
    client: redis.Redis,
) -> None:
    for _ in range(FAILURES):
        send(admission(client), DOWN)
    make_probe_due(client)

    assert [admission(client).permit() for _ in range(3)] == ["probe", "none", "none"]

    send(admission(client), Delivered())
    assert admission(client).permit() == "all"


def test_a_failed_probe_doubles_the_wait_and_a_request_that_was_in_progress_does_not(client: redis.Redis) -> None:
    for _ in range(FAILURES + 3):
        send(admission(client, probe_wait_s=1), DOWN)
    assert client.hget(KEY, "probe_wait") == b"1000"

    make_probe_due(client)
    admission(client).permit()
    send(admission(client, probe_wait_s=1), DOWN)

    assert client.hget(KEY, "probe_wait") == b"2000"
    assert admission(client).permit() == "none"


def test_no_probe_begins_without_an_event_to_send(client: redis.Redis) -> None:
    """It would keep the next one from beginning for half a minute."""
    for _ in range(FAILURES):
        send(admission(client), DOWN)
    make_probe_due(client)
    client.zadd(READY, {"1": (client.time()[0] + 60) * 1000})

    assert admission(client).permit() == "none"

    client.zadd(READY, {"2": 0})
    assert admission(client).permit() == "probe"


@pytest.mark.parametrize("failed", [DOWN, Paused("the credentials were refused (HTTP 403)", Response(403, ""))])
def test_the_events_of_a_request_that_stops_the_destination_wait_for_longer_than_the_next_probe(
    client: redis.Redis, failed: Outcome
) -> None:
    """They may be the reason, each of them alone: so the next probe is another event, and they return one by one."""
    for _ in range(FAILURES - 1):
        send(admission(client, probe_wait_s=1), DOWN)

    outcomes = admission(client, probe_wait_s=1).guard(lambda _: [failed] * 50)(REQUEST)

    waits = {outcome.after_s for outcome in outcomes if isinstance(outcome, Paused)}
    assert len(waits) == 50
    assert 1 <= min(waits) < max(waits) <= SET_ASIDE_PROBES


def test_an_event_of_a_late_probe_waits_for_a_minute_at_most(client: redis.Redis) -> None:
    for _ in range(FAILURES):
        send(admission(client, probe_wait_s=LONGEST_PROBE_WAIT_S), DOWN)

    outcome = send(admission(client), DOWN)

    assert isinstance(outcome, Paused)
    assert LONGEST_PROBE_WAIT_S <= outcome.after_s <= LONGEST_SET_ASIDE_S


def test_turns_are_spaced_by_the_rate_over_all_workers(client: redis.Redis) -> None:
    send(admission(client, requests_per_s=10, turn_s=0), Delivered())

    outcome = send(admission(client, requests_per_s=10, turn_s=0), Delivered())

    assert isinstance(outcome, Paused)
    assert 0 < outcome.after_s <= 1 / (10 * 0.97)


@pytest.mark.parametrize("limit", [0.5, 1, 2.5, 40])
def test_requests_that_come_late_to_their_turns_never_exceed_the_limit(client: redis.Redis, limit: float) -> None:
    """A machine that was busy wakes all threads at once whose turns have passed. Without the second question all of
    their requests would leave together."""
    most = math.ceil(limit)
    late = [scripts.run(queue_of(client, QUEUE), "acquire", limit, 10_000_000, 1)[1] for _ in range(most + 1)]

    assert late[:-1] == [0] * most
    assert 0 < late[-1] <= most / limit * 1_000_000


def test_a_request_that_waited_for_its_turn_leaves_when_it_has_come(client: redis.Redis) -> None:
    turns = [scripts.run(queue_of(client, QUEUE), "acquire", 20, 10_000_000, 0) for _ in range(2)]

    outcome = send(admission(client, requests_per_s=20), Delivered())

    assert [wait for _, wait, _ in turns] == [0, pytest.approx(51_546, abs=20_000)]
    assert outcome == Delivered()
    assert client.time()[0] * 1_000_000 + client.time()[1] >= turns[-1][0] + 51_546


def test_a_429_halves_the_rate_once_a_second_and_stops_all_workers_for_its_retry_after(client: redis.Redis) -> None:
    throttled = RetryLater("HTTP 429", Response(429, ""), after_s=30)

    for _ in range(5):
        client.hdel(KEY, "turn")
        send(admission(client, requests_per_s=100), throttled)

    assert state_of(client).requests_per_s == 50
    outcome = send(admission(client, requests_per_s=100), Delivered())
    assert isinstance(outcome, Paused)
    assert outcome.after_s > 25
    assert admission(client).permit() == "none", "nothing is claimed only to be released"
    assert state_of(client).breaker == "closed"


def test_a_503_stops_all_workers_for_its_retry_after_and_cuts_no_rate(client: redis.Redis) -> None:
    send(admission(client), RetryLater("HTTP 503, try again after 30 s", Response(503, ""), after_s=30))

    outcome = send(admission(client), Delivered())

    assert isinstance(outcome, Paused)
    assert outcome.after_s > 25
    assert admission(client).permit() == "none"
    state = state_of(client)
    assert (state.breaker, state.reason, state.requests_per_s) == ("closed", "HTTP 503, try again after 30 s", None)


def test_the_next_probe_is_not_due_before_the_retry_after_of_the_last_one(client: redis.Redis) -> None:
    for _ in range(FAILURES):
        client.hdel(KEY, "turn")
        send(admission(client, probe_wait_s=1), RetryLater("HTTP 503", Response(503, ""), after_s=120))

    state = state_of(client)
    assert state.since_ms is not None
    assert state.probe_ms is not None
    assert 119_000 <= state.probe_ms - state.since_ms <= 121_000


def test_responses_that_become_slow_lower_the_rate_by_a_tenth_and_a_single_one_does_not(client: redis.Redis) -> None:
    now = 0.0
    slowing = Admission(
        queue=queue_of(client, QUEUE), requests_per_s=1000, probe_wait_s=60, turn_s=1, clock=lambda: now
    )

    def respond(times: int, *, elapsed_s: float) -> None:
        def responding(_: Request) -> list[Outcome]:
            nonlocal now
            now += elapsed_s
            return [Delivered()]

        for _ in range(times):
            slowing.guard(responding)(REQUEST)

    for _ in range(3):
        respond(30, elapsed_s=0.1)
        respond(2, elapsed_s=2.0)
    assert state_of(client).requests_per_s is None

    respond(10, elapsed_s=2.0)
    assert state_of(client).requests_per_s == 900


def test_a_rate_that_was_cut_recovers_within_half_a_minute(client: redis.Redis) -> None:
    send(admission(client, requests_per_s=100), RetryLater("HTTP 429", Response(429, "")))
    seconds, microseconds = client.time()
    client.hset(KEY, mapping={"rate_at": (seconds - 30) * 1_000_000 + microseconds, "cut_at": 0, "turn": 0})

    send(admission(client, requests_per_s=100), Delivered())
    send(admission(client, requests_per_s=100), RetryLater("HTTP 429", Response(429, "")))

    assert state_of(client).requests_per_s == 50


def test_a_retry_after_is_the_reason_while_it_lasts(client: redis.Redis) -> None:
    send(admission(client), RetryLater("HTTP 429, try again after 300 s", Response(429, ""), after_s=300))
    send(admission(client), RetryLater("HTTP 429, try again after 1 s", Response(429, ""), after_s=1))

    state = state_of(client)
    assert (state.paused, state.breaker) == (False, "closed")
    assert state.reason == "HTTP 429, try again after 300 s"

    client.hset(KEY, "wait_until", 1)
    assert state_of(client).reason is None


def test_a_429_without_a_retry_after_is_no_reason(client: redis.Redis) -> None:
    send(admission(client), RetryLater("HTTP 429", Response(429, "")))

    assert state_of(client).reason is None


def test_the_reason_is_that_of_the_last_probe(client: redis.Redis) -> None:
    for _ in range(FAILURES):
        send(admission(client), DOWN)
    for outcome in (
        RetryLater("HTTP 503", Response(503, "")),
        RetryLater("HTTP 429, try again after 7 s", Response(429, ""), after_s=7),
        Paused("the credentials were refused (HTTP 401)", Response(401, "")),
    ):
        make_probe_due(client)
        client.hdel(KEY, "turn")
        assert admission(client).permit() == "probe"
        send(admission(client), outcome)
        assert state_of(client).reason == outcome.reason


def test_the_reason_of_a_request_of_long_ago_is_told_as_such(client: redis.Redis) -> None:
    send(admission(client), Paused("the credentials were refused (HTTP 401)", Response(401, "")))
    client.hincrby(KEY, "reason_at", -600_000)

    assert state_of(client).reason == ("no request for 10 min; the last one: the credentials were refused (HTTP 401)")


def test_another_set_up_ends_a_pause_and_an_open_breaker_and_the_same_one_does_not(client: redis.Redis) -> None:
    queue = queue_of(client, QUEUE)
    admissions.begin(queue, "c0ffee https://track.example")
    send(admission(client), Paused("the credentials were refused (HTTP 401)", Response(401, "")))

    admissions.begin(queue, "c0ffee https://track.example")
    assert state_of(client).paused

    admissions.begin(queue, "decaf https://track.example")
    assert state_of(client).reason is None
    assert admission(client).permit() == "all"


def test_each_change_of_the_state_is_one_line_of_the_log(client: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    unauthorized = Paused("the credentials were refused (HTTP 401)", Response(401, "jo@example.com"))

    for outcome in (*[DOWN] * (FAILURES + 3), Delivered(), Delivered(), unauthorized, unauthorized):
        send(admission(client), outcome)
    make_probe_due(client)
    admission(client).permit()
    send(admission(client), unauthorized)
    admissions.begin(queue_of(client, QUEUE), "another configuration")

    at, refused = {"destination": QUEUE}, {"destination": QUEUE, "reason": unauthorized.reason}
    assert logged(caplog) == [
        {"event": "breaker_opened", **at, "reason": "no response: ConnectError"},
        {"event": "breaker_closed", **at},
        {"event": "destination_paused", **refused},
        {"event": "breaker_half_open", **at, "count": 1},
        {"event": "probe_failed", **refused},
        {"event": "destination_resumed", **at},
    ]


def test_the_first_response_after_a_pause_is_a_line(client: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    send(admission(client), Paused("there is no Track API at this address (HTTP 404)", Response(404, "")))
    send(admission(client), Delivered())

    assert [line["event"] for line in logged(caplog)] == ["destination_paused", "destination_resumed"]


def test_a_lowered_rate_is_a_line(client: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        send(admission(client, requests_per_s=100), RetryLater("HTTP 429", Response(429, "")))

    line = {"event": "rate_lowered", "destination": QUEUE, "reason": "throttled", "requests_per_s": 50.0, "count": 1}
    assert logged(caplog) == [line]


def test_the_state_has_the_present_rate_the_next_probe_and_the_responses_429(client: redis.Redis) -> None:
    assert state_of(client).rate(100) == 100
    throttled = RetryLater("HTTP 429", Response(429, ""))
    for _ in range(3):
        send(admission(client, requests_per_s=100), throttled)

    state = state_of(client)
    assert (state.throttled, state.probe_ms, state.since_ms) == (3, None, None)
    assert state.throttled_ms is not None
    assert 50 <= state.rate(100) < 60
    client.hincrby(KEY, "cut_at", -15_000)
    assert state_of(client).rate(100) == 100

    for _ in range(FAILURES):
        send(admission(client), DOWN)
    state = state_of(client)
    assert state.since_ms is not None
    assert state.probe_ms is not None
    assert 59_000 <= state.probe_ms - state.since_ms <= 61_000
