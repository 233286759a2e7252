"""`segue metrics`: what Redis has, read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry, generate_latest

import lanes
from console.exporter.collector import QueueCollector
from delivery import overrides
from ingest.acceptance import Configuration
from lanes import configurations, fates, keys
from lanes.clock import redis_ms
from settings import Settings
from tests.queues import default_queue, unavailable

DOCUMENT: dict[str, Any] = {
    "sources": {"web": {"write_key": "w", "destinations": ["journeys", "other"]}},
    "destinations": {
        name: {"site_id": name, "api_key": name, "delivery": {"requests_per_s": 50}} for name in ("journeys", "other")
    },
}

Value = Callable[..., float | None]


def collector(client: redis.Redis) -> QueueCollector:
    return QueueCollector(client, Settings(), Configuration.of(DOCUMENT))


def scraped(client: redis.Redis) -> Value:
    """Return a function that returns a sample of one scrape by its name and labels."""
    found = CollectorRegistry()
    found.register(collector(client))
    return lambda name, **labels: found.get_sample_value(name, labels)


def test_events_are_counted_by_destination_and_state(redis_client: redis.Redis) -> None:
    queue = default_queue(redis_client, "journeys")
    lanes.append(queue, [lanes.NewEvent(b"{}", ("id:jo",), f"m{number}") for number in range(3)])

    value = scraped(redis_client)

    states = {
        state: value("segue_queue_events", destination="journeys", state=state)
        for state in ("ready", "delayed", "claimed", "blocked")
    }
    assert states == {"ready": 1, "delayed": 0, "claimed": 0, "blocked": 2}
    assert value("segue_queue_events", destination="other", state="ready") == 0
    assert value("segue_queue_changes_total", destination="journeys", change="duplicates") == 0
    assert value("segue_queue_limit_events", destination="journeys") == 1_000_000
    assert value("segue_queue_oldest_age_seconds", destination="other") == 0


def test_every_event_is_counted_by_its_fate(redis_client: redis.Redis) -> None:
    queue = default_queue(redis_client, "journeys")
    accepted, sent = fates.name("accepted", "web"), fates.name("sent", "web")
    lanes.append(queue, [lanes.NewEvent(b"{}", (), f"m{number}", counted_as=accepted) for number in range(4)])
    claim = lanes.claim(queue, lease_ms=1_000, max_events=10, max_bytes=10_000, max_depth=1, poll_ms=0)
    first, second, third, _ = [event.sequence for event in claim.events]
    lanes.settle(
        queue,
        claim.id,
        delivered=[first, second],
        buried=[lanes.Burial(third, b"{}", False, fates.name("dead", "web", "rejected"))],
        counted_as={first: sent, second: fates.name("filtered", "web", "a filter")},
    )

    value = scraped(redis_client)

    def events(fate: str, reason: str = "") -> float | None:
        return value("segue_events_total", destination="journeys", source="web", fate=fate, reason=reason)

    assert (events("accepted"), events("sent"), events("filtered", "a filter")) == (4, 1, 1)
    assert events("dead", "rejected") is None, "it is no counter: a dead letter may leave"
    assert value("segue_dead_letters", destination="journeys", source="web", reason="rejected") == 1
    assert value("segue_queue_changes_total", destination="journeys", change="buried") == 1
    assert value("segue_events_total", destination="other", source="web", fate="sent", reason="") == 0
    assert value("segue_dead_letters", destination="other", source="", reason="") == 0


def test_refusals_are_counted_by_cause(redis_client: redis.Redis) -> None:
    redis_client.hset(keys.REFUSALS.name, '["web",400,"userId"]', 3)

    value = scraped(redis_client)

    assert value("segue_ingest_refusals_total", source="web", status="400", cause="userId") == 3


def test_the_state_of_a_destination_is_the_one_with_1(redis_client: redis.Redis) -> None:
    default_queue(redis_client, "journeys")
    cut = {"rate": "12.5", "cut_at": redis_ms(redis_client)}
    redis_client.hset(keys.ADMISSION.of("journeys"), mapping={"state": "open", "reason": "HTTP 503", **cut})

    value = scraped(redis_client)

    assert value("segue_destination_state", destination="journeys", state="breaker_open") == 1
    assert value("segue_destination_state", destination="journeys", state="delivering") == 0
    assert value("segue_destination_state", destination="other", state="delivering") == 1
    assert value("segue_delivery_rate_requests_per_second", destination="journeys") == pytest.approx(12.5, abs=5)
    assert value("segue_delivery_rate_requests_per_second", destination="other") == 50
    assert value("segue_delivery_rate_limit_requests_per_second", destination="journeys") == 50


def test_a_rate_that_was_cut_recovers_to_the_limit(redis_client: redis.Redis) -> None:
    default_queue(redis_client, "journeys")
    cut = {"rate": "12.5", "cut_at": redis_ms(redis_client) - 3_600_000}
    redis_client.hset(keys.ADMISSION.of("journeys"), mapping=cut)

    assert scraped(redis_client)("segue_delivery_rate_requests_per_second", destination="journeys") == 50


def test_a_pause_and_a_rate_of_an_operator_are_seen(redis_client: redis.Redis) -> None:
    queue = default_queue(redis_client, "journeys")
    overrides.pause(queue, by="grace", why="maintenance")
    overrides.set_rate(queue, 5, by="grace")

    value = scraped(redis_client)

    assert value("segue_destination_state", destination="journeys", state="paused_by_operator") == 1
    assert value("segue_destination_state", destination="journeys", state="delivering") == 0
    assert value("segue_delivery_rate_requests_per_second", destination="journeys") == 5
    assert value("segue_delivery_rate_limit_requests_per_second", destination="journeys") == 5


def test_processes_are_counted_by_configuration(redis_client: redis.Redis) -> None:
    for name, configuration, fault in (("a@h", "one", None), ("b@h", "one", None), ("c@h", "two", "line 3")):
        configurations.report(redis_client, configurations.Process(name, configuration, 0, fault))

    value = scraped(redis_client)

    assert value("segue_processes", configuration="one") == 2
    assert value("segue_processes", configuration="two") == 1
    assert value("segue_configuration_refusals") == 1
    assert value("segue_workers") == 0


def test_a_redis_that_evicts_is_not_safe(redis_client: redis.Redis) -> None:
    value = scraped(redis_client)
    safe = value("segue_redis_safe")
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        evicting = scraped(redis_client)("segue_redis_safe")
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")

    assert (safe, evicting) == (1, 0)
    assert value("segue_redis_up") == 1
    assert (value("segue_redis_memory_bytes") or 0) > 0


def test_without_redis_nothing_but_that_is_told() -> None:
    client = unavailable()

    text = generate_latest(collector(client)).decode()

    assert [line for line in text.splitlines() if not line.startswith("#")] == ["segue_redis_up 0.0"]


def test_scrapes_within_a_second_read_redis_once(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    collects = collector(redis_client)
    first = list(collects.collect())
    monkeypatch.setattr(lanes, "stats", lambda _: pytest.fail("Redis was read again"))

    assert list(collects.collect()) == first


def test_another_configuration_is_used_from_the_next_scrape_on(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.exporter.collector._KEPT_S", 0)
    collects = collector(redis_client)
    found = CollectorRegistry()
    found.register(collects)
    assert found.get_sample_value("segue_queue_limit_events", {"destination": "other"}) is not None

    destinations = {"journeys": DOCUMENT["destinations"]["journeys"]}
    sources = {"web": DOCUMENT["sources"]["web"] | {"destinations": ["journeys"]}}
    collects.configuration = Configuration.of({"sources": sources, "destinations": destinations})

    assert found.get_sample_value("segue_queue_limit_events", {"destination": "other"}) is None
