"""`segue audit`: exit codes, what it prints, and the message ids that it finds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

import lanes
from console import cli
from delivery import log as delivery_log
from delivery.batching import Item, Request
from delivery.outcomes import Delivered
from lanes import fates, keys
from ledger import writing
from mapping.envelope import pack
from mapping.operation import BATCH_PATH
from tests.ledgers import files_in, no_check
from tests.queues import queue_of

runner = CliRunner()
SOURCE = "website"


@pytest.fixture
def queue(store: redis.Redis) -> lanes.Queue:
    """The queue of the destination of the default configuration."""
    return lanes.open_queue(queue_of(store, "demo"))


def append(queue: lanes.Queue, *message_ids: str) -> None:
    lanes.append(
        queue,
        [
            lanes.NewEvent(
                pack(SOURCE, {"type": "track", "messageId": name}),
                (name,),
                name,
                counted_as=fates.name("accepted", SOURCE),
            )
            for name in message_ids
        ],
    )


def claimed(queue: lanes.Queue) -> lanes.Claim:
    return lanes.claim(queue, lease_ms=60_000, max_events=100, max_bytes=10**6, max_depth=100, poll_ms=0, by="test")


def audited(*arguments: str) -> tuple[int, dict[str, object]]:
    result = runner.invoke(cli.app, ["audit", "--json", *arguments])
    return result.exit_code, json.loads(result.stdout)


def test_a_queue_that_balances_is_exit_code_0(queue: lanes.Queue) -> None:
    append(queue, "m1", "m2")
    claim = claimed(queue)
    lanes.settle(queue, claim.id, delivered=[1], counted_as={1: fates.name("sent", SOURCE)})

    result = runner.invoke(cli.app, ["audit"])

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "destination demo: balanced, 2 events accepted",
        "  sent                   1",
        "  waiting                1",
    ]
    code, accounts = audited()
    assert (code, accounts["balanced"], accounts["missing"]) == (0, True, [])
    (row,) = accounts["hours"]  # type: ignore[misc]
    assert {name: row[name] for name in ("source", "accepted", "sent", "waiting", "difference")} == {
        "source": SOURCE,
        "accepted": 2,
        "sent": 1,
        "waiting": 1,
        "difference": 0,
    }


def test_an_event_that_was_removed_by_hand_is_exit_code_1_and_its_sequence(queue: lanes.Queue) -> None:
    append(queue, "m1", "m2", "m3")
    queue.client.hdel(keys.EVENT.of(queue.name), "2")
    queue.client.zrem(keys.READY.of(queue.name), "2")

    code, accounts = audited()

    assert (code, accounts["balanced"], accounts["lost"]) == (1, False, 1)
    assert [row["difference"] for row in accounts["hours"]] == [1]  # type: ignore[union-attr]
    assert accounts["missing"] == [{"sequence": 2, "message_id": None, "text": "it has neither a fate nor a record"}]
    lines = runner.invoke(cli.app, ["audit"]).stdout.splitlines()
    assert lines[0] == "destination demo: NOT balanced, 3 events accepted"
    assert f"source {SOURCE}: +1 events differ" in lines[2]
    assert lines[3] == "  event 2, it has neither a fate nor a record"


def test_the_message_id_comes_from_the_delivery_log_or_the_record(queue: lanes.Queue) -> None:
    append(queue, "m1", "m2")
    claim = claimed(queue)
    recorder = delivery_log.Recorder(queue, claim, "worker")
    item = Item(1, 0, "trackEvent", "event", "", b"{}", f"{SOURCE}:m1")  # sent, and lost before it was settled
    recorder.recording(lambda _: [Delivered()])(Request(BATCH_PATH, (item,)))
    recorder.write()
    queue.client.hdel(keys.EVENT.of(queue.name), "1")
    queue.client.srem(keys.CLAIM.of(queue.name, claim.id), "1", "2")

    code, accounts = audited()

    assert code == 1
    named = {(row["sequence"], row["message_id"]) for row in accounts["missing"]}  # type: ignore[union-attr]
    assert named == {(1, f"{SOURCE}:m1"), (2, f"{SOURCE}:m2")}


def test_the_ledger_says_what_became_of_a_lost_event(queue: lanes.Queue, tmp_path: Path) -> None:
    """The ledger has taken what the delivery log had. Redis lost the event before its claim was settled."""
    append(queue, "m1", "m2")
    claim = claimed(queue)
    recorder = delivery_log.Recorder(queue, claim, "worker")
    item = Item(1, 0, "trackEvent", "event", "", b"{}", f"{SOURCE}:m1")
    recorder.recording(lambda _: [Delivered()])(Request(BATCH_PATH, (item,)))
    recorder.write()
    writing.write_batch(files_in(tmp_path / "ledger", "demo"), queue, no_check, contents=True)
    queue.client.hdel(keys.EVENT.of(queue.name), "1")
    queue.client.srem(keys.CLAIM.of(queue.name, claim.id), "1")

    code, accounts = audited()

    missing = next(row for row in accounts["missing"] if row["sequence"] == 1)  # type: ignore[attr-defined]
    assert (code, missing["message_id"]) == (1, f"{SOURCE}:m1")
    assert re.fullmatch(
        r"it has neither a fate nor a record; the ledger has it at [0-9-]+ [0-9:]+Z as delivered", missing["text"]
    )


def test_since_limits_the_audit_to_what_was_accepted_later(queue: lanes.Queue) -> None:
    append(queue, "m1")
    queue.client.hdel(keys.EVENT.of(queue.name), "1")
    queue.client.zrem(keys.READY.of(queue.name), "1")

    assert audited("--since", "1h")[0] == 1
    for since in ("yesterday", "2099-01-01"):  # since a time to come every audit would be balanced
        assert runner.invoke(cli.app, ["audit", "--since", since]).exit_code == 2


def test_a_queue_without_a_destination_is_audited_too(queue: lanes.Queue) -> None:
    """Also one that has nothing any more: what it accepted must have a fate."""
    append(queue, "m1")
    old, empty = (lanes.open_queue(replace(queue, name=name)) for name in ("old", "empty"))
    append(old, "m2", "m3")
    append(empty, "m4")
    empty.client.hdel(keys.EVENT.of("empty"), "1")
    empty.client.zrem(keys.READY.of("empty"), "1")

    result = runner.invoke(cli.app, ["audit"])

    assert result.exit_code == 1
    assert [line for line in result.stdout.splitlines() if line.startswith("destination")] == [
        "destination demo: balanced, 1 event accepted",
        "destination empty (not configured): NOT balanced, 1 event accepted",
        "destination old (not configured): balanced, 2 events accepted",
    ]
    code, accounts = audited("--destination", "old")
    assert (code, accounts["destination"], accounts["configured"]) == (0, "old", False)
    code, accounts = audited("--destination", "demo")
    assert (code, accounts["configured"]) == (0, True)
    other = runner.invoke(cli.app, ["audit", "--destination", "oldd"])
    assert (other.exit_code, str(other.exception)) == (1, 'there is no destination "oldd"; there are demo')
