"""A shadow destination beside a real one: it sends nothing, and the report names each difference between the two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lanes
from delivery.recording import ledger
from tests.conftest import RedisServer
from tests.e2e.conftest import segue
from tests.pipeline import Pipeline, wait_until
from tests.queues import queue_in
from tests.secrets import CREDENTIALS_TOML, OTHER_CREDENTIALS, OTHER_CREDENTIALS_TOML

PEOPLE = 40
# Three differences: an attribute that is not mapped, a preset that is off, and one more subscription.
CONFIG = f"""
[sources.demo]
write_key = "demo"
destinations = ["now", "next"]
[destinations.now]
{CREDENTIALS_TOML}
[destinations.next]
mode = "shadow"
{OTHER_CREDENTIALS_TOML}
[destinations.next.presets]
"Track Page View" = false
[[destinations.next.subscriptions]]
name = "Create or Update Person"
mapping.custom_attributes = {{ plan = {{ "@path" = "$.traits.plan" }} }}
[[destinations.next.subscriptions]]
name = "Lead"
trigger = 'event = "Signed Up"'
action = "Create or Update Person"
mapping.id = "$.userId"
mapping.custom_attributes = {{ lead = true }}
"""


def test_the_report_names_each_difference_and_nothing_was_sent(redis_server: RedisServer, tmp_path: Path) -> None:
    with Pipeline(redis_server.url, workers=0, config=CONFIG, SEGUE_LEDGER_DIR=str(tmp_path)) as pipeline:
        for name in ("now", "next"):  # as if a ledger ran: what is not written to files yet is read from Redis
            ledger.report_seen(queue_in(pipeline.redis, name))
        pipeline.start_worker()
        pipeline.send(event for number in range(PEOPLE) for event in story(number))
        for name in ("now", "next"):
            queue = queue_in(pipeline.redis, name)
            wait_until(lambda queue=queue: not lanes.stats(queue).waiting, f"{name} is empty")  # type: ignore[misc]

        requests = pipeline.http.get(f"{pipeline.simulator_url}/_sim/stats").json()["requests"]
        report = shown(pipeline, "shadow", "report", "--destination", "next", "--against", "now")
        exports = tmp_path / "exports.jsonl"
        rows = shown_lines(
            pipeline, "ledger", "query", "--destination", "now", "--outcome", "delivered", "--most", "9999"
        )
        exports.write_text("\n".join(json.dumps(as_request(row)) for row in rows))
        compared = shown(pipeline, "shadow", "compare", str(exports), "--destination", "next")
        audit = segue("audit", environment=pipeline.environment)
        text = segue("shadow", "report", "--destination", "next", "--against", "now", environment=pipeline.environment)

    assert OTHER_CREDENTIALS["site_id"] not in requests
    assert report["events"] == 3 * PEOPLE + 2
    assert report["subscriptions"] == {
        "Track Event": 2 * PEOPLE + 1,
        "Create or Update Person": PEOPLE,
        "Lead": PEOPLE,
    }
    assert [(row["fate"], row["events"]) for row in report["not_sent"]] == [("unmatched", PEOPLE)]
    ((refused),) = report["refused_by_customerio"]
    assert (refused["subscription"], refused["items"]) == ("Track Event", 1)
    assert refused["reason"] == "name cannot be longer than 100 bytes"
    ((invalid),) = report["refused_by_mapping"]
    assert (invalid["events"], invalid["examples"]) == (1, ["screen"])
    assert report["comparison"]["operations"] == {
        "equal": 2 * PEOPLE,
        "changed": PEOPLE,
        "only_ours": PEOPLE + 1,  # one was refused by Customer.io
        "only_theirs": PEOPLE,
    }
    differences = [
        (row["kind"], row["what"], row["fields"], row["count"]) for row in report["comparison"]["differences"]
    ]
    assert ("changed", "person identify", ["attributes.beta"], PEOPLE) in differences
    assert ("only_ours", "person identify", [], PEOPLE) in differences
    assert ("only_theirs", "person page", [], PEOPLE) in differences
    assert compared["comparison"]["operations"]["changed"] == PEOPLE
    assert compared["comparison"]["operations"]["only_theirs"] == PEOPLE  # nothing would be sent for a page
    assert compared["not_in_the_ledger"] == 0
    assert audit.returncode == 0, audit.stdout
    assert text.returncode == 1
    assert "  Customer.io would refuse: 1 operation of Track Event: name cannot be longer than 100 bytes" in text.stdout


def story(number: int) -> list[dict[str, Any]]:
    who = {"userId": f"u{number}"}
    calls: list[dict[str, Any]] = [
        {"type": "identify", "traits": {"plan": "pro", "beta": True}},
        {"type": "track", "event": "Signed Up"},
        {"type": "track", "event": "Bought"},
        {"type": "page", "name": "Home", "properties": {"url": "https://shop.example/"}},
    ]
    found = [who | call | {"messageId": f"{number}-{at}"} for at, call in enumerate(calls)]
    if number == 0:
        found.append(who | {"type": "track", "event": "x" * 101, "messageId": "long"})
        found.append(who | {"type": "screen", "messageId": "screen"})
    return found


def shown(pipeline: Pipeline, *arguments: str) -> dict[str, Any]:
    run = segue(*arguments, "--json", environment=pipeline.environment)
    assert run.returncode == 1, run.stdout + run.stderr  # there are differences
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def shown_lines(pipeline: Pipeline, *arguments: str) -> list[dict[str, Any]]:
    run = segue(*arguments, "--json", environment=pipeline.environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def as_request(row: dict[str, Any]) -> dict[str, Any]:
    return {"message_id": row["message_id"], "path": "/api/v2/entity", "body": json.loads(row["body"])}
