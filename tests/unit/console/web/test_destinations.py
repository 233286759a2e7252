"""The page of a destination: what its filters dropped, and its rate."""

from __future__ import annotations

import re
from pathlib import Path

import redis

import lanes
from delivery.recording import ledger
from lanes import fates, keys
from mapping.envelope import pack
from tests.conftest import RedisServer
from tests.pipeline import configuration
from tests.queues import default_queue
from tests.unit.console.web.browsing import Browser, event, failure, state_of
from workers import heartbeat

LONG = " or ".join(f"event = 'Mouse Moved {number}'" for number in range(20))


def test_a_filter_has_the_number_of_what_it_dropped_itself(
    redis_server: RedisServer, redis_client: redis.Redis, tmp_path: Path
) -> None:
    conditions = ("type = 'page'", "type = 'page' and name = 'x'", LONG)
    config = tmp_path / "segue.toml"
    filters = (f'[[destinations.demo.filters]]\nif = "{each}"\naction = "drop"\n' for each in conditions)
    config.write_text(configuration("demo") + "".join(filters))
    for number, condition in enumerate(conditions, start=1):
        reason = fates.name("filtered", "demo", f"filter: drop if {condition}")
        redis_client.hset(keys.FATE_TOTALS.of("demo"), reason, 10**number)

    page = Browser(state_of(redis_server.url, config=config), "viewer").json("/destinations/demo")

    assert [each["dropped"] for each in page["filters"]] == [10, 100, 1000]


def test_the_rate_that_a_form_shows_is_one_that_it_takes(
    redis_server: RedisServer, redis_client: redis.Redis, tmp_path: Path
) -> None:
    redis_client.ping()
    config = tmp_path / "segue.toml"
    config.write_text(configuration("demo", delivery={"requests_per_s": 5000}))
    operator = Browser(state_of(redis_server.url, config=config), "operator")
    operator.follow(operator.post("/destinations/demo/rate", requests_per_s="2000"))

    (shown,) = re.findall(r'name="requests_per_s"[^>]*value="([^"]*)"', operator.get("/destinations/demo").text)

    assert operator.post("/destinations/demo/rate", requests_per_s=shown).status_code == 303
    assert operator.json("/destinations/demo")["operator"]["rate"]["requests_per_s"] == 2000


def test_what_was_accepted_in_vain_is_told(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    redis_client.hset(keys.UNAPPLIED.of("demo"), "address_conflict", 3)

    page = Browser(state_of(redis_server.url), "viewer").get("/destinations/demo").text

    assert "accepted 3 operations that it will not apply: the e-mail address belongs to another person" in page


def test_a_queue_without_a_destination_is_told_first(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    heartbeat.send(redis_client)
    dead = lanes.ImportedDeadLetter(None, 1, ("id:1",), pack("demo", event(1)), failure("x"))
    lanes.import_dead_letters(default_queue(redis_client, "old"), [dead])

    cause = Browser(state_of(redis_server.url), "viewer").json("/")["causes"][0]

    assert cause["text"] == "Nothing delivers the 0 events and 1 dead letter of old, which is not configured any more."
    assert cause["command"] == "segue lanes move old DESTINATION"


def test_a_ledger_that_ended_is_told(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    heartbeat.send(redis_client)
    ledger.report_seen(default_queue(redis_client, "demo"))
    redis_client.hset(keys.LEDGER.of("demo"), "seen_ms", "1700000000000")

    causes = Browser(state_of(redis_server.url), "viewer").json("/")["causes"]

    assert [cause["command"] for cause in causes if "the ledger has not run since" in cause["text"]] == ["segue ledger"]
