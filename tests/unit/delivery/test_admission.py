"""One rate and one breaker for all workers, over an imitation server whose clock is the machine's."""

from __future__ import annotations

import math

import fakeredis
import pytest
import redis

from delivery import admission as gates
from delivery import scripts
from delivery.admission import FAILURES, Gate
from delivery.batching import Item, Request
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, Response, RetryLater
from tests.queues import queue_of

QUEUE = "journeys"
KEY = "segue:{journeys}:admission"
DEAD = RetryLater("no answer: ConnectError", Response(None, "ConnectError"))
REQUEST = Request("/api/v2/entity", (Item(1, 0, "trackEvent", "event", "/api/v2/entity", b"{}"),))


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def gate(client: redis.Redis, requests_per_s: float = 1000, probe_wait_s: float = 60, turn_s: float = 1) -> Gate:
    return Gate(queue_of(client, QUEUE), requests_per_s, probe_wait_s, turn_s)


def send(one: Gate, outcome: Outcome) -> Outcome:
    return one.guard(lambda _request: [outcome])(REQUEST)[0]


def probe_is_due(client: redis.Redis) -> None:
    client.hset(KEY, "probe_at", 0)


def test_a_dead_service_shuts_the_gate_and_spends_no_attempt_from_then_on(client: redis.Redis) -> None:
    outcomes = [send(gate(client), DEAD) for _ in range(FAILURES)]

    assert outcomes[:-1] == [DEAD] * (FAILURES - 1)
    assert isinstance(outcomes[-1], Paused)
    assert gate(client).admit() == "shut"
    state = gates.read(queue_of(client, QUEUE))
    assert (state.breaker, state.paused, state.reason) == ("open", False, DEAD.reason)


def test_an_answer_between_failures_keeps_the_gate_open(client: redis.Redis) -> None:
    for _ in range(3 * FAILURES):
        send(gate(client), DEAD)
        send(gate(client), Delivered())

    assert gate(client).admit() == "open"


def test_a_refusal_of_an_item_is_an_answer(client: redis.Redis) -> None:
    for _ in range(FAILURES):
        send(gate(client), DEAD)

    send(gate(client), Rejected("HTTP 400", Response(400, "")))

    assert gates.read(queue_of(client, QUEUE)).breaker == "closed"


def test_refused_credentials_pause_at_once_with_a_reason(client: redis.Redis) -> None:
    send(gate(client), Paused("the credentials were refused (HTTP 401)", Response(401, "")))

    state = gates.read(queue_of(client, QUEUE))
    assert (state.paused, state.breaker, state.reason) == (True, "closed", "the credentials were refused (HTTP 401)")
    assert gate(client).admit() == "shut"


def test_one_deliverer_probes_when_it_is_time_and_its_success_opens_the_gate(client: redis.Redis) -> None:
    for _ in range(FAILURES):
        send(gate(client), DEAD)
    probe_is_due(client)

    assert [gate(client).admit() for _ in range(3)] == ["probe", "shut", "shut"]

    send(gate(client), Delivered())
    assert gate(client).admit() == "open"


def test_each_failed_probe_doubles_the_wait_and_what_was_under_way_does_not(client: redis.Redis) -> None:
    for _ in range(FAILURES + 3):
        send(gate(client, probe_wait_s=1), DEAD)
    assert client.hget(KEY, "probe_wait") == b"1000"

    probe_is_due(client)
    gate(client).admit()
    send(gate(client, probe_wait_s=1), DEAD)

    assert client.hget(KEY, "probe_wait") == b"2000"
    assert gate(client).admit() == "shut"


def test_turns_are_spaced_by_the_rate_over_all_workers(client: redis.Redis) -> None:
    send(gate(client, requests_per_s=10, turn_s=0), Delivered())

    outcome = send(gate(client, requests_per_s=10, turn_s=0), Delivered())

    assert isinstance(outcome, Paused)
    assert 0 < outcome.after_s <= 1 / (10 * 0.97)


@pytest.mark.parametrize("limit", [0.5, 1, 2.5, 40])
def test_those_who_come_late_to_their_turns_never_leave_above_the_limit(client: redis.Redis, limit: float) -> None:
    """A machine that was busy wakes all at once whose turns have passed; without the second look all would leave."""
    most = math.ceil(limit)
    late = [scripts.run(client, "depart", KEY, limit, 10_000_000, 1)[1] for _ in range(most + 1)]

    assert late[:-1] == [0] * most
    assert 0 < late[-1] <= most / limit * 1_000_000


def test_whoever_waited_for_a_turn_leaves_at_it(client: redis.Redis) -> None:
    turns = [scripts.run(client, "depart", KEY, 20, 10_000_000, 0) for _ in range(2)]

    outcome = send(gate(client, requests_per_s=20), Delivered())

    assert [wait for _, wait, _ in turns] == [0, pytest.approx(51_546, abs=20_000)]
    assert outcome == Delivered()
    assert client.time()[0] * 1_000_000 + client.time()[1] >= turns[-1][0] + 51_546


def test_a_429_halves_the_rate_once_a_second_and_holds_everybody_as_long_as_it_says(client: redis.Redis) -> None:
    storm = RetryLater("HTTP 429", Response(429, ""), after_s=30)

    for _ in range(5):
        client.hdel(KEY, "turn")
        send(gate(client, requests_per_s=100), storm)

    assert gates.read(queue_of(client, QUEUE)).requests_per_s == 50
    held = send(gate(client, requests_per_s=100), Delivered())
    assert isinstance(held, Paused)
    assert held.after_s > 25
    assert gate(client).admit() == "shut", "nothing is claimed only to be put back"
    assert gates.read(queue_of(client, QUEUE)).breaker == "closed"


def test_answers_that_become_slow_lower_the_rate_by_a_tenth_and_one_alone_does_not(client: redis.Redis) -> None:
    now = 0.0
    one = Gate(queue_of(client, QUEUE), requests_per_s=1000, probe_wait_s=60, turn_s=1, clock=lambda: now)

    def answers(times: int, *, took_s: float) -> None:
        def answer(_: Request) -> list[Outcome]:
            nonlocal now
            now += took_s
            return [Delivered()]

        for _ in range(times):
            one.guard(answer)(REQUEST)

    for _ in range(3):
        answers(30, took_s=0.1)
        answers(2, took_s=2.0)
    assert gates.read(queue_of(client, QUEUE)).requests_per_s is None

    answers(10, took_s=2.0)
    assert gates.read(queue_of(client, QUEUE)).requests_per_s == 900


def test_a_rate_that_was_cut_comes_back_within_half_a_minute(client: redis.Redis) -> None:
    send(gate(client, requests_per_s=100), RetryLater("HTTP 429", Response(429, "")))
    seconds, microseconds = client.time()
    client.hset(KEY, mapping={"rate_at": (seconds - 30) * 1_000_000 + microseconds, "cut_at": 0, "turn": 0})

    send(gate(client, requests_per_s=100), Delivered())
    send(gate(client, requests_per_s=100), RetryLater("HTTP 429", Response(429, "")))

    assert gates.read(queue_of(client, QUEUE)).requests_per_s == 50
