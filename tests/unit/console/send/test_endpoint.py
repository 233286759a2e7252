"""Requests to ingest: what is repeated, what is divided, what ends the command. And the rate at which they are sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Event as Flag

import pytest

from console.errors import CommandError
from console.send import endpoint
from console.send.endpoint import Endpoint, Refused, Stopped
from console.send.pace import LEAST, Pace
from console.send.sending import BATCH_BYTES, batches
from console.send.sorting import Event, Position
from tests.unit.console.send.receiver import TAKEN, Receiver, Reply


class Waits(Flag):
    """A flag whose waits are recorded and take no time."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Record the wait."""
        self.waits.append(timeout or 0)
        return self.is_set()


@pytest.fixture
def stopping() -> Waits:
    return Waits()


def body(name: str) -> bytes:
    return json.dumps({"event": name}).encode()


@pytest.fixture
def sender(receiver: Receiver, stopping: Waits) -> Iterator[Endpoint]:
    with Endpoint(receiver.url, "k", stopping, lambda: stopping.waits.append(-1)) as running:
        yield running


def test_a_busy_endpoint_is_asked_again_after_the_time_that_it_names(
    receiver: Receiver, sender: Endpoint, stopping: Waits
) -> None:
    answers = iter([Reply(429, {}, {"Retry-After": "7"}), Reply(503, {}), Reply(500, {}), TAKEN])
    receiver.answer = lambda _: next(answers)

    assert sender.send([body("a")]) == []

    assert stopping.waits == [-1, 7, -1, 2, 5], "-1: the rate is halved"
    assert len(receiver.requests) == 4
    assert receiver.taken == [{"event": "a"}]


def test_a_signal_ends_the_wait_for_a_busy_endpoint(receiver: Receiver, sender: Endpoint, stopping: Waits) -> None:
    receiver.answer = lambda _: stopping.set() or Reply(429, {})  # type: ignore[func-returns-value]

    with pytest.raises(Stopped):
        sender.send([body("a")])


def test_a_request_without_a_valid_event_lists_all_as_refused(receiver: Receiver, sender: Endpoint) -> None:
    rows = [{"index": 0, "message": "no"}, {"index": 1, "field": "type", "message": "type: no"}]
    receiver.answer = lambda _: Reply(400, {"success": False, "rejected": rows})

    assert sender.send([body("a"), body("b")]) == [Refused(0, None, "no"), Refused(1, "type", "type: no")]


@pytest.mark.parametrize("status", [400, 403, 413])
def test_a_request_that_is_refused_as_a_whole_is_divided_until_the_event_is_found(
    receiver: Receiver, sender: Endpoint, status: int
) -> None:
    bad = {"event": "3"}
    receiver.answer = lambda events: Reply(status, {"message": "no"}) if bad in events else TAKEN

    assert sender.send([body(str(number)) for number in range(6)]) == [Refused(3, None, f"{status}: no")]
    assert [event["event"] for event in receiver.taken] == ["0", "1", "2", "4", "5"], "in order"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Reply(401, {"message": "no source"}), "no source has this write key; set --write-key-file or --source"),
        (Reply(404, {"message": "no such path"}), "answers 404: no such path"),
    ],
)
def test_an_endpoint_that_cannot_be_used_ends_the_command(
    receiver: Receiver, sender: Endpoint, answer: Reply, text: str
) -> None:
    receiver.answer = lambda _: answer

    with pytest.raises(CommandError, match=text):
        sender.send([body("a")])


@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, {}),
        Reply(200, {"message": "welcome"}),
        Reply(400, {}),
        Reply(403, {}),
        Reply(200, {"rejected": [{"index": 7, "message": "no"}]}),
        Reply(200, {"rejected": ["no"]}),
    ],
    ids=["empty", "page", "bad", "forbidden", "index", "row"],
)
def test_a_response_that_is_not_of_ingest_counts_no_event_as_sent_or_refused(
    receiver: Receiver, sender: Endpoint, answer: Reply
) -> None:
    receiver.answer = lambda _: answer

    with pytest.raises(CommandError, match=r"--url|answers 200: welcome"):
        sender.send([body("a"), body("b")])

    assert len(receiver.requests) == 1


def test_an_endpoint_that_fails_for_ten_minutes_ends_the_command(receiver: Receiver, stopping: Waits) -> None:
    receiver.answer = lambda _: Reply(500, {})
    with (
        Endpoint(receiver.url, "k", stopping, lambda: None, lambda: sum(stopping.waits)) as sender,
        pytest.raises(CommandError, match="status 500"),
    ):
        sender.send([body("a")])

    assert sum(stopping.waits) > endpoint._GIVE_UP_S


def test_a_request_has_at_most_so_many_events_and_bytes() -> None:
    events = [Event(Position(number, 0, number), b"x" * size) for number, size in enumerate([10] * 7 + [300_000] * 3)]

    found = list(batches(events, 3))

    assert [len(batch) for batch in found] == [3, 3, 2, 1, 1]
    assert [event for batch in found for event in batch] == events
    assert all(sum(len(event.body) for event in batch) <= BATCH_BYTES for batch in found)


def test_the_rate_is_kept_halved_and_recovered() -> None:
    now = [0.0]
    pace = Pace(100, lambda: now[0])

    assert [pace.take(50), pace.take(50), pace.take(50)] == [0.0, 0.5, 1.0]
    now[0] = 10.0
    assert pace.take(50) == 0.0, "time that was not used is lost: no burst"
    for _ in range(9):
        pace.slow_down()
    assert pace.rate == 100 * LEAST
    now[0] = 40.0
    pace.take(1)
    assert pace.rate == 100
