"""`segue lanes list`, `find` and `skip`: the waiting events of a queue, one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from typer.testing import CliRunner, Result

import lanes
from console import cli
from dead_letters import query
from dead_letters.query import Filter
from delivery.batching import Item, Request
from delivery.log import Recorder
from delivery.outcomes import Delivered
from lanes import fates
from mapping.envelope import pack
from mapping.operation import BATCH_PATH
from tests.queues import queue_of

pytestmark = pytest.mark.usefixtures("store")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["lanes", *arguments])


def track(name: str, user: str | None = None, source: str = "demo") -> lanes.NewEvent:
    event = {"type": "track", "event": name, "messageId": f"m-{name}"} | ({"userId": user} if user else {})
    keys = (f"id:{user}",) if user else ()
    accepted = fates.name("accepted", source)
    return lanes.NewEvent(pack(source, event), keys, f"{source}:m-{name}", counted_as=accepted)


def append(client: redis.Redis, *events: lanes.NewEvent) -> None:
    lanes.append(queue_of(client, "demo"), events)


def claim(client: redis.Redis, events: int = 100) -> lanes.Claim:
    queue = queue_of(client, "demo")
    return lanes.claim(
        queue, lease_ms=60_000, max_events=events, max_bytes=10**6, max_depth=0, poll_ms=0, by="worker-1"
    )


def rows(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]


def everything_holds(client: redis.Redis) -> bool:
    queue = queue_of(client, "demo")
    return not lanes.verify(queue).violations and lanes.audit(queue).balances


def test_list_has_the_first_events_with_their_states_and_whose_they_are(store: redis.Redis) -> None:
    append(store, track("a", "1"), track("b", "1"), track("c", "2"), track("d"), track("e", "3"))
    claimed = claim(store, 2)
    lanes.settle(queue_of(store, "demo"), claimed.id, released=[lanes.Release(3, 60_000)])

    found = rows("list", "--most", "4")

    assert [(row["name"], row["state"], row["keys"]) for row in found] == [
        ("a", "claimed", ["id:1"]),
        ("b", "blocked", ["id:1"]),
        ("c", "delayed", ["id:2"]),
        ("d", "ready", []),
    ]
    assert found[0]["worker"] == "worker-1"
    assert 50_000 < found[2]["due_in_ms"] <= 60_000
    assert " s old  claimed by worker-1  track a from demo for demo" in run("list").stdout
    assert run("list").stdout.splitlines()[-1].strip() == "5 events"


def test_list_filters_by_person_source_and_event(store: redis.Redis) -> None:
    append(store, track("a", "1"), track("b", "2"), track("c", "1"), track("d", "1", source="web"))

    assert [row["name"] for row in rows("list", "--person", "id:1")] == ["a", "c", "d"]
    digest = f"digest:{lanes.digest('id:1').hex()}"
    assert [row["name"] for row in rows("list", "--person", digest)] == ["a", "c", "d"]
    assert [row["name"] for row in rows("list", "--person", "id:1", "--source", "web")] == ["d"]
    assert [row["name"] for row in rows("list", "--event", "b")] == ["b"]
    assert rows("list", "--event", "none") == []
    assert "must be an ordering key" in str(run("list", "--person", "1").exception)


def test_find_says_where_an_event_is(store: redis.Redis) -> None:
    append(store, track("a", "1"), track("b", "2"), track("c", "3"))
    (waiting,) = rows("find", "m-a")
    assert (waiting["where"], waiting["sequence"], waiting["state"]) == ("waiting", 1, "ready")
    assert rows("find", "demo:m-a")[0]["sequence"] == 1
    assert run("find", "m-a").stdout.endswith(" s old  ready  track a from demo for demo; id:1\n")

    claimed, queue = claim(store), queue_of(store, "demo")
    failure = json.dumps({"class": "invalid", "message": "no url", "faults": [], "buried_at_ms": 1}).encode()
    recorder = Recorder(queue, claimed, "worker-1")
    item = Item(1, 0, "trackEvent", "event", "/api/v2/entity", b'{"name":"a"}', "demo:m-a")
    recorder.recording(lambda _request: [Delivered()])(Request(BATCH_PATH, (item,)))
    recorder.write()
    lanes.settle(queue, claimed.id, delivered=[1, 3], buried=[lanes.Burial(2, failure)])

    assert [row["where"] for row in rows("find", "m-a")] == ["sent"]
    assert "accepted by Customer.io" in run("find", "m-a").stdout
    (dead,) = rows("find", "m-b")
    assert (dead["where"], dead["sequence"], dead["reason"]) == ("dead letter", 2, "invalid")
    assert [row["where"] for row in rows("find", "m-c")] == ["finished"]

    unknown = run("find", "m-none")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "no event with this message id is known" in unknown.stderr


@pytest.mark.parametrize("name", ['q"x', "b\\s", "tab\tx", "é😀"], ids=["quote", "backslash", "tab", "not ASCII"])
def test_a_dead_letter_is_found_by_an_id_that_json_writes_otherwise(store: redis.Redis, name: str) -> None:
    append(store, track(name, "1"))
    failure = json.dumps({"class": "invalid", "message": "no url", "faults": [], "buried_at_ms": 1}).encode()
    lanes.settle(queue_of(store, "demo"), claim(store).id, buried=[lanes.Burial(1, failure)])

    assert [row["where"] for row in rows("find", f"m-{name}")] == ["dead letter"]
    assert [each.sequence for each in query.matching(queue_of(store, "demo"), Filter(text=f"M-{name}".upper()))] == [1]


def test_skip_discards_one_event_and_the_events_behind_it_go_on(store: redis.Redis) -> None:
    append(store, track("a", "1"), track("b", "1"), track("c", "1"), track("alone"))

    assert "without a terminal, --yes is required" in str(run("skip", "2").exception)
    for sequence in ("2", "4", "1"):
        assert run("skip", sequence, "--yes").stdout == f"event {sequence} of demo is discarded\n"

    assert [(row["name"], row["state"]) for row in rows("list")] == [("c", "ready")]
    assert everything_holds(store)
    totals = {
        (count.fate, count.source, count.reason): count.events for count in lanes.fate_totals(queue_of(store, "demo"))
    }
    assert totals["dropped", "demo", "discarded"] == 3
    assert "demo has no waiting event 2" in str(run("skip", "2", "--yes").exception)


def test_a_claimed_event_is_not_sent_again_and_keeps_its_position_until_the_claim_ends(store: redis.Redis) -> None:
    append(store, track("a", "1"), track("b", "1"))
    claimed = claim(store)

    assert "it may have been sent; it is not sent again" in run("skip", "1", "--yes").stdout
    lanes.settle(queue_of(store, "demo"), claimed.id, released=[lanes.Release(1, 0)])

    (again,) = claim(store, 1).events
    assert (again.sequence, again.body) == (1, b"")


def test_a_dead_letter_that_blocks_is_not_skipped_as_an_event(store: redis.Redis) -> None:
    append(store, track("a", "1"), track("b", "1"))
    claimed = claim(store)
    lanes.settle(queue_of(store, "demo"), claimed.id, buried=[lanes.Burial(1, b"{}", blocks=True)])

    assert "`segue dead skip 1` discards it" in str(run("skip", "1", "--yes").exception)
    assert [row["state"] for row in rows("list")] == ["blocking", "blocked"]


def test_the_last_event_of_a_long_lane_is_skipped(store: redis.Redis) -> None:
    events = [track(str(number), "1") for number in range(2_000)]
    for first in range(0, len(events), 500):
        append(store, *events[first : first + 500])

    assert run("skip", "1999", "--yes").stdout == "event 1999 of demo is discarded\n"

    assert lanes.stats(queue_of(store, "demo")).waiting == 1_999


def test_an_id_makes_no_row_of_its_own(store: redis.Redis) -> None:
    append(store, track("odd", "w\n\n99  1 s old  ready  identify from server for demo"))

    shown = run("list").stdout

    assert "id:w\\n\\n99  1 s old" in shown
    assert not any(line.startswith("99") for line in map(str.strip, shown.splitlines()))
