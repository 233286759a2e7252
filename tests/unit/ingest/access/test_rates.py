"""Rates: a source and each of its clients have a token bucket of their own."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.access import rates
from ingest.access.rates import BURST_S, Rates
from ingest.access.sources import Source
from ingest.errors import Refusal
from tests.unit.ingest.access.test_permissions import TRACK, calls, send
from tests.unit.ingest.test_calls import Counts


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def rates_of(clock: Clock, **keys: Any) -> Rates:
    return Rates(Source(name="web", write_key="w", destinations=["d"], **keys), clock)


def test_a_source_may_burst_and_then_waits_for_tokens() -> None:
    clock = Clock()
    limited = rates_of(clock, events_per_s=10)

    for _ in range(BURST_S):
        limited.take_request(10)
    with pytest.raises(Refusal) as refused:
        limited.take_request(1)
    assert (refused.value.status, refused.value.code, refused.value.retry_after_s) == (429, "rate_limited", 1)
    assert refused.value.message == "this source sends more than 10 events per second; send the request again"

    clock.now += 1.0
    limited.take_request(1)


def test_a_batch_may_overdraw_the_bucket_and_what_follows_waits() -> None:
    clock = Clock()
    limited = rates_of(clock, events_per_s=10)

    limited.take_request(2_500)
    with pytest.raises(Refusal) as refused:
        limited.take_request(1)
    assert refused.value.retry_after_s == 241  # 2,400 tokens are owed, and one is needed

    clock.now += 241
    limited.take_request(1)


@pytest.mark.parametrize("per_s", [0.01, 0.5, 1_000_000])
def test_any_rate_takes_a_first_event(per_s: float) -> None:
    rates_of(Clock(), events_per_s=per_s).take_request(1)


def test_a_client_that_sends_too_much_is_refused_alone() -> None:
    limited = rates_of(Clock(), client_events_per_s=1)

    for _ in range(BURST_S):
        limited.take_event({"anonymousId": "a", "userId": "1"})
        limited.take_event({"userId": "1"})
    for event in ({"anonymousId": "a"}, {"userId": "1"}):
        with pytest.raises(Refusal, match="this client sends more than 1 events per second"):
            limited.take_event(event)
    limited.take_event({"anonymousId": "b"})


def test_the_clients_that_were_seen_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST_CLIENTS", 10)
    limited = rates_of(Clock(), client_events_per_s=0.1)

    limited.take_event({"anonymousId": "a"})
    for other in range(10):
        limited.take_event({"anonymousId": other})
    with pytest.raises(Refusal):
        limited.take_event({"anonymousId": 9})
    assert len(limited._recent) + len(limited._older) <= 20


def test_a_request_beyond_the_rate_is_refused_before_its_events_are_read_and_counted() -> None:
    counters = Counts()
    limited = calls(counters, events_per_s=0.1)

    send(limited, "batch", {"batch": [TRACK]})
    for path, body in (("track", TRACK), ("batch", {"batch": [TRACK, {}]}), ("import", {"batch": [TRACK]})):
        with pytest.raises(Refusal, match="this source sends more than"):
            send(limited, path, body)

    assert counters.counts == {"web:throttled": 4}


def test_in_a_batch_only_the_events_of_the_client_that_sends_too_much_are_refused() -> None:
    counters = Counts()
    limited = calls(counters, client_events_per_s=0.1)

    offer = send(limited, "batch", {"batch": [TRACK, TRACK, TRACK | {"userId": "2"}]})

    assert [(index, refusal.status) for index, refusal in offer.rejected] == [(1, 429)]
    assert len(offer.entries) == 2
    assert counters.counts == {"web:rejected": 1, "web:throttled": 1}
