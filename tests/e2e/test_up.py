"""`segue up` as processes: real clients, killed children, commands in another shell, a clean stop."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from segment.analytics.client import Client

from tests.conftest import RedisServer
from tests.e2e.conftest import Up, clean_environment, segue
from tests.pipeline import wait_until
from tests.secrets import CREDENTIALS_TOML, secret

LINE = '{"id": "1", "event": {"type": "identify", "userId": "ada", "traits": {}}}'


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_official_segment_client_reaches_customer_io(up: Up) -> None:
    client = Client("demo", host=up.ingest_url)
    client.identify("ada", {"email": "ada@example.com", "plan": "pro"})
    for number in range(5):
        client.track("ada", f"Step {number}", {"number": number})
    client.shutdown()

    wait_until(lambda: len(up.people().get("ada", {}).get("events", [])) == 5, "all events are at Customer.io")
    ada = up.people()["ada"]
    assert ada["email"] == "ada@example.com"
    assert ada["attributes"]["plan"] == "pro"
    assert [event["name"] for event in ada["events"]] == [f"Step {number}" for number in range(5)]


def test_a_signed_webhook_reaches_customer_io_and_an_unsigned_one_does_not(up: Up) -> None:
    url = f"{up.ingest_url}/v1/webhook/demo"
    body = orjson.dumps({"type": "identify", "userId": "grace", "messageId": "m1", "traits": {"rank": "admiral"}})
    signature = hmac.new(b"demo-secret", body, hashlib.sha1).hexdigest()

    assert httpx.post(url, content=body, headers={"X-Signature": "0" * 40}).status_code == 401
    assert httpx.post(url, content=body, headers={"X-Signature": signature}).status_code == 200

    wait_until(lambda: "grace" in up.people(), "the person is at Customer.io")
    assert up.people()["grace"]["attributes"]["rank"] == "admiral"


def test_the_console_is_served_and_its_address_is_printed(up: Up) -> None:
    assert any(f"console on {up.console_url}" in line for line in up.lines())

    page = httpx.get(up.console_url)

    assert page.status_code == 200
    assert "Overview" in page.text
    processes = httpx.get(f"{up.console_url}/about", headers={"Accept": "application/json"}).json()["processes"]
    assert any(process["name"].startswith("console-") for process in processes)
    assert httpx.get(up.console_url, headers={"Host": "evil.example"}).status_code == 421


def test_a_first_run_prints_no_warning(up: Up) -> None:
    """Celery warns root only. The embedded Redis is one that workers find suitable."""
    wait_until(
        lambda: sum("worker-" in line and " process_started " in line for line in up.lines()) == 2, "both started"
    )

    assert "ready" in up.lines()
    assert [line for line in up.lines() if re.search("superuser|Warning|redis_unsuitable", line)] == []


def test_a_killed_child_is_restarted_and_delivery_continues(up: Up) -> None:
    before = up.pids()
    for name in ("worker-1", "ingest"):
        os.kill(before[name], signal.SIGKILL)
    wait_until(
        lambda: all(up.pids().get(name) not in (None, before[name]) for name in ("worker-1", "ingest")),
        "both are restarted",
    )
    wait_until(lambda: is_ready(up), "ingest answers again")

    event = {"type": "identify", "userId": "late", "traits": {}}
    assert httpx.post(f"{up.ingest_url}/v1/batch", json={"batch": [event]}, auth=("demo", "")).status_code == 200
    wait_until(lambda: "late" in up.people(), "the person is at Customer.io")
    assert any("worker-1 ended (killed by SIGKILL)" in line for line in up.lines())


def test_status_finds_the_embedded_redis_and_counts(up: Up) -> None:
    wait_until(lambda: up.status()["destinations"][0]["waiting"] == 0, "the events of earlier tests are settled")
    before = up.status()
    event = {"type": "identify", "userId": "counted", "messageId": "once", "traits": {}}
    for _ in range(2):
        httpx.post(f"{up.ingest_url}/v1/batch", json={"batch": [event]}, auth=("demo", ""))
    wait_until(lambda: "counted" in up.people(), "the event is delivered")
    wait_until(lambda: up.status()["destinations"][0]["waiting"] == 0, "the delivery is settled")

    wait_until(lambda: up.status()["workers"] == 2, "the heartbeats of both workers, without that of a killed one")

    after = up.status()
    assert grown(before["sources"], after["sources"], "accepted_total", "duplicates_total", "rejected_total") == [
        1,
        1,
        0,
    ]
    assert grown(before["destinations"], after["destinations"], "delivered_total", "buried_total", "dead") == [1, 0, 0]
    shown = segue("lanes", "show", "id:counted", environment=up.environment)
    first, sent, item = shown.stdout.splitlines()
    assert (shown.returncode, first) == (0, "demo: no event of id:counted is waiting")
    assert "demo:once accepted" in sent
    assert sent.endswith("accepted by Customer.io")
    assert item.startswith("  /api/v2/batch {")


def test_a_stop_leaves_no_process_and_keeps_the_data(tmp_path: Path) -> None:
    for delivered_before, number in enumerate((signal.SIGINT, signal.SIGTERM)):
        with Up(tmp_path) as up:
            assert up.status()["destinations"][0]["delivered_total"] == delivered_before
            event = {"type": "identify", "userId": number.name, "traits": {}}
            httpx.post(f"{up.ingest_url}/v1/batch", json={"batch": [event]}, auth=("demo", ""))
            wait_until(lambda up=up, number=number: number.name in up.people(), "the person is at Customer.io")
            pids = up.pids()
            assert sorted(pids) == ["console", "ingest", "ledger", "redis", "simulator", "worker-1", "worker-2"]
            assert up.stop(number) == 0

        assert [line for line in up.lines() if line in ("ready", "stopping", "stopped")] == [
            "ready",
            "stopping",
            "stopped",
        ]
        assert up.lines()[-1] == "stopped"
        assert not any(is_alive(pid) for pid in pids.values())
        assert not (up.data_dir / "up.json").exists()
    with Up(tmp_path) as last:
        assert last.status()["destinations"][0]["delivered_total"] == 2


@pytest.mark.usefixtures("redis_client")
def test_what_the_environment_provides_is_not_embedded(tmp_path: Path, redis_server: RedisServer) -> None:
    given = {
        "REDIS_URL": redis_server.url,
        "CUSTOMERIO_SITE_ID": secret("site_id"),
        "CUSTOMERIO_API_KEY": secret("api_key"),
    }
    with Up(tmp_path, **given) as up:
        assert sorted(up.pids()) == ["console", "ingest", "ledger", "worker-1", "worker-2"]
        shared = up.shared()

    assert shared["REDIS_URL"] == redis_server.url
    assert "SEGUE_TRACK_URL" not in shared
    checked = segue("translate", "--config", shared["SEGUE_CONFIG"], environment=up.environment, given=LINE)
    assert "https://track.customer.io/api/v2/entity" in checked.stdout


def test_the_event_tester_sends_only_with_send(up: Up) -> None:
    event = '{"type": "identify", "userId": "tried", "traits": {}}'
    environment = up.environment

    tried = segue("test", environment=environment, given=event)
    assert (tried.returncode, "tried" in up.people()) == (0, False)

    sent = segue("test", "--send", environment=environment, given=event)
    assert "sent createUpdatePerson: accepted" in sent.stdout
    assert "tried" in up.people()


def test_a_second_up_on_the_same_data_is_refused(up: Up) -> None:
    refused = segue("up", environment=up.environment)

    assert refused.returncode == 2
    assert f"another `segue up` (process {up.process.pid}) runs on" in refused.stderr


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environment = Up(tmp_path).environment | {"SEGUE_INGEST_PORT": port}
        refused = segue("up", environment=environment)

    assert refused.returncode == 2
    fault = f"port {port} of 127.0.0.1: Address already in use; set SEGUE_INGEST_PORT to another one\n"
    assert refused.stderr.endswith(fault)


def test_every_destination_of_a_file_is_simulated_with_its_own_credentials(tmp_path: Path) -> None:
    config = tmp_path / "segue.toml"
    config.write_text(
        '[sources.shop]\nwrite_key = "shop"\ndestinations = ["one", "two"]\n'
        f'[destinations.one]\nsite_id = "{secret("site_a")}"\napi_key = "{secret("key_a")}"\n'
        f'[destinations.two]\nsite_id = "{secret("site_b")}"\napi_key = "{secret("key_b")}"\n'
    )
    with Up(tmp_path, SEGUE_CONFIG=str(config), SEGUE_WORKERS="1") as up:
        event = {"type": "identify", "userId": "ada", "traits": {}}
        httpx.post(f"{up.ingest_url}/v1/batch", json={"batch": [event]}, auth=("shop", ""))
        wait_until(lambda: delivered(up) == {"one": 1, "two": 1}, "both destinations took the event")
        checked = segue("check", "--credentials", environment=up.environment | {"SEGUE_TRACK_URL": up.simulator_url})

    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count("Customer.io accepts the credentials") == 2


def test_commands_in_another_shell_use_the_queue_of_the_up(tmp_path: Path) -> None:
    """The shell has nothing but the data directory: no configuration, and no value of the queue."""
    config = tmp_path / "segue.toml"
    config.write_text(
        f'[sources.shop]\nwrite_key = "shop"\ndestinations = ["journeys"]\n[destinations.journeys]\n{CREDENTIALS_TOML}'
    )
    variables = {"SEGUE_CONFIG": str(config), "SEGUE_DEDUPE_S": "600", "SEGUE_QUEUE_LIMIT": "5000"}
    with Up(tmp_path, **variables, SEGUE_SPILL_DIR=str(tmp_path / "spill"), SEGUE_WORKERS="1") as up:
        shell = clean_environment(SEGUE_DATA_DIR=str(up.data_dir))
        invalid = {"type": "page", "properties": {}, "userId": "ada", "messageId": "m"}
        httpx.post(f"{up.ingest_url}/v1/batch", json={"batch": [invalid]}, auth=("shop", ""))
        wait_until(lambda: up.status()["destinations"][0]["dead"] == 1, "the event is a dead letter")

        status = segue("status", "--json", environment=shell)
        stats = segue("dead", "stats", "--json", environment=shell)
        forgotten = segue("forget", "--user-id", "ada", "--json", environment=shell)
        differing = segue("dead", "stats", environment=shell | {"SEGUE_DEDUPE_S": "60"})
        shared = up.shared()

    assert (status.returncode, stats.returncode, forgotten.returncode) == (0, 0, 0), stats.stderr + forgotten.stderr
    assert [(row["name"], row["dead"]) for row in orjson.loads(status.stdout)["destinations"]] == [("journeys", 1)]
    assert (orjson.loads(stats.stdout)["destination"], orjson.loads(stats.stdout)["dead"]) == ("journeys", 1)
    (receipt,) = orjson.loads(forgotten.stdout)["receipts"]
    assert receipt["removed"]["message_ids"] == 1, "found under the SEGUE_DEDUPE_S of the queue"
    assert differing.returncode == 2
    assert "SEGUE_DEDUPE_S is 60 here and 600 in Redis" in differing.stderr
    assert {name: shared[name] for name in variables} == variables
    assert {"SEGUE_SETTLE_S", "SEGUE_SPILL_DIR", "REDIS_URL", "SEGUE_TRACK_URL"} <= shared.keys()


def grown(before: list[dict[str, Any]], after: list[dict[str, Any]], *figures: str) -> list[int]:
    """By how much the figures of the only source or destination grew."""
    return [after[0][figure] - before[0][figure] for figure in figures]


def delivered(up: Up) -> dict[str, int]:
    return {destination["name"]: destination["delivered_total"] for destination in up.status()["destinations"]}


def is_ready(up: Up) -> bool:
    try:
        return httpx.get(f"{up.ingest_url}/ready").is_success
    except httpx.HTTPError:
        return False
