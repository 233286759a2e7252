"""Why a person waits: the graph of events, its cause, and the sentence about it."""

from __future__ import annotations

import re
from typing import Any

import fakeredis
import pytest

import lanes
from console.person import drawing
from console.queues import lane_graph, why
from console.queues.lane_graph import Edge
from dead_letters import record
from mapping.envelope import pack
from tests.queues import queue_of

JO, ANN, MAX = (lanes.digest(f"id:{name}") for name in ("jo", "ann", "max"))


@pytest.fixture
def queue() -> lanes.Queue:
    return queue_of(fakeredis.FakeRedis(), "demo")


def append(queue: lanes.Queue, *keys: str, type_: str = "track") -> None:
    body = pack("web", {"type": type_, "event": "Order Placed" if type_ == "track" else None, "messageId": "m"})
    number = lanes.stats(queue).accepted_total
    lanes.append(queue, [lanes.NewEvent(body, tuple(f"id:{key}" for key in keys), f"m{number}")])


def claim(queue: lanes.Queue, most: int = 1) -> lanes.Claim:
    return lanes.claim(
        queue, lease_ms=9_000, max_events=most, max_bytes=10**6, max_depth=0, poll_ms=0, by="worker-1@host"
    )


def found(queue: lanes.Queue, stop: str | None = None) -> dict[str, Any]:
    lane = lanes.inspect(queue, JO)
    result = why.gather(queue, JO, lane.length if lane else 0, stop)
    assert result is not None
    return result


def test_the_graph_has_the_events_of_others_for_which_a_person_waits(queue: lanes.Queue) -> None:
    append(queue, "max")  # 1
    append(queue, "ann", "max")  # 2
    append(queue, "jo", "ann")  # 3
    append(queue, "jo")  # 4
    append(queue, "ann")  # 5: behind 3, so nothing of jo waits for it
    append(queue, "eve")  # 6

    graph = lane_graph.read(queue, JO)

    assert [(each.event.sequence, each.depth, each.is_own) for each in graph.events] == [
        (1, 0, False),
        (2, 1, False),
        (3, 2, True),
        (4, 3, True),
    ]
    assert set(graph.edges) == {Edge(3, 4, JO), Edge(2, 3, ANN), Edge(1, 2, MAX)}
    assert (graph.cause, graph.unread) == (1, 0)


def test_an_event_between_two_of_a_person_by_another_key_is_in_the_graph(queue: lanes.Queue) -> None:
    append(queue, "jo", "ann")
    append(queue, "ann", "max")
    append(queue, "jo", "ann")

    graph = lane_graph.read(queue, JO)

    assert set(graph.edges) == {Edge(1, 3, JO), Edge(1, 2, ANN), Edge(2, 3, ANN)}
    assert [each.depth for each in graph.events] == [0, 1, 2]


def test_a_lane_that_was_read_is_read_again_for_an_event_that_waits_further_behind_in_it(queue: lanes.Queue) -> None:
    append(queue, "ann", "x")  # 1
    append(queue, "ann")  # 2
    append(queue, "ann", "max")  # 3
    append(queue, "jo", "max", "x")  # 4 waits for 1 by x, and for 3 by max, which waits for 2
    graph = lane_graph.read(queue, JO)

    assert {(edge.before, edge.after) for edge in graph.edges} == {(1, 4), (3, 4), (1, 2), (2, 3)}
    assert graph.cause == 1


def test_long_lanes_are_cut_and_say_so(queue: lanes.Queue) -> None:
    for _ in range(30):
        append(queue, "ann")
    append(queue, "jo", "ann")
    for _ in range(29):
        append(queue, "jo")

    graph = lane_graph.read(queue, JO)

    assert [edge for edge in graph.edges if not edge.is_direct] == [Edge(20, 31, ANN, False)]
    assert len(graph.events) == 40
    assert (graph.cause, graph.unread) == (1, 10)


def test_the_graph_has_fifty_events_at_most(queue: lanes.Queue) -> None:
    for number in range(9):
        for _ in range(9):
            append(queue, f"other-{number}")
    append(queue, "jo", *(f"other-{number}" for number in range(9)))

    graph = lane_graph.read(queue, JO)

    assert len(graph.events) == lane_graph.MOST
    numbers = {each.event.sequence for each in graph.events}
    assert all({edge.before, edge.after} <= numbers for edge in graph.edges)


def test_nothing_waits(queue: lanes.Queue) -> None:
    assert why.gather(queue, JO, 0, None) is None


def test_the_list_has_the_events_and_edges_of_the_drawing(queue: lanes.Queue) -> None:
    append(queue, "max")
    append(queue, "ann", "max")
    append(queue, "jo", "ann", "max")
    append(queue, "jo")
    reason = found(queue)

    drawn = drawing.drawing(reason)
    listed: list[drawing.Item] = []
    todo = drawing.nested(reason)
    while todo:
        listed.append(todo.pop())
        todo += listed[-1].inside

    assert sorted(item.event["sequence"] for item in listed) == sorted(box.event["sequence"] for box in drawn.boxes)
    pairs = {(before, item.event["sequence"]) for item in listed for before in item.before}
    assert pairs == {(line.before, line.after) for line in drawn.lines}
    assert all(box.x + box.width <= drawn.width and box.y + box.height <= drawn.height for box in drawn.boxes)


def timeless(text: str) -> str:
    return re.sub(r"1[78](\.\d)? s", "N s", text)


def released(queue: lanes.Queue, reason: str) -> None:
    claimed = claim(queue)
    attempt = record.attempt(0.0, reason, "worker") if reason else b""
    lanes.settle(queue, claimed.id, released=[lanes.Release(claimed.events[0].sequence, 18_400, attempt)])


def test_the_sentence_names_the_last_response_and_the_next_try(queue: lanes.Queue) -> None:
    append(queue, "jo", type_="identify")
    released(queue, "HTTP 429")
    append(queue, "jo")
    append(queue, "jo")

    text = timeless(why.sentence(found(queue)))

    assert text == "2 events wait for #1, an identify that Customer.io answered with HTTP 429; its next try is in N s."


@pytest.mark.parametrize(
    ("reason", "stop", "end"),
    [
        ("no response: timeout", None, " whose last attempt failed (no response: timeout); its next try is in N s."),
        (
            "HTTP 503",
            "paused",
            " that Customer.io answered with HTTP 503; its next try is in N s, and nothing is sent: paused.",
        ),
        ("", None, ": it is due in N s, after a cooldown or for earlier events."),
    ],
)
def test_the_sentence_says_what_one_event_waits_for(
    queue: lanes.Queue, reason: str, stop: str | None, end: str
) -> None:
    append(queue, "jo")
    released(queue, reason)

    assert timeless(why.sentence(found(queue, stop=stop))) == f"1 event waits: #1, a track Order Placed{end}"


def test_the_sentence_tells_the_other_states(queue: lanes.Queue) -> None:
    append(queue, "ann")
    append(queue, "jo", "ann")
    begin = "1 event waits for #1, a track Order Placed"
    assert why.sentence(found(queue)) == f"{begin}: it is ready, and no worker has claimed it yet."
    assert why.sentence(found(queue, stop="no worker is running")) == f"{begin}: nothing is sent: no worker is running."

    claimed = claim(queue)
    assert why.sentence(found(queue)) == f"{begin}: worker-1@host is delivering it."

    lanes.settle(queue, claimed.id, buried=[lanes.Burial(1, b"{}", blocks=True)])
    assert why.sentence(found(queue)) == f"{begin}: a dead letter that blocks its lane until it is replayed or skipped."


def test_an_erased_event_is_named_as_such(queue: lanes.Queue) -> None:
    append(queue, "jo")
    claim(queue)
    lanes.erase(queue, [JO])

    reason = found(queue)

    assert reason["events"][0]["type"] == "(erased)"
