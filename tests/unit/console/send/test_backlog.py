"""Whether history gives way to the events that wait in its queues."""

from __future__ import annotations

import io

import fakeredis
import pytest

import lanes
from console.send.backlog import Backlog
from console.send.progress import Progress, duration
from tests.queues import queue_of, unavailable


def append(queue: lanes.Queue, count: int) -> None:
    names = [f"{count}-{number}" for number in range(count)]
    lanes.append(queue, [lanes.NewEvent(b"{}", (f"id:{name}",), name) for name in names])


def test_a_queue_is_busy_while_more_events_are_ready_than_history_brings_in_half_a_second() -> None:
    now = [0.0]
    with fakeredis.FakeRedis() as client:
        queue = queue_of(client, "demo")
        backlog = Backlog([queue], 300, lambda: now[0])
        append(queue, 150)
        assert not backlog.is_busy()
        append(queue, 1)
        assert not backlog.is_busy(), "it asks once a second"
        now[0] = 1.0
        assert backlog.is_busy()


def test_a_redis_that_is_unavailable_stops_no_transfer() -> None:
    assert not Backlog([lanes.Queue(client=unavailable(), name="demo")], 300).is_busy()


def test_progress_has_a_line_every_ten_seconds_with_the_time_that_is_left() -> None:
    now, stream = [0.0], io.StringIO()
    with Progress(stream, lambda: now[0]) as progress:
        for second in range(25):
            now[0] = float(second)
            progress.sent(100 * second, 10_000, 500)

    assert stream.getvalue().splitlines() == [
        "sent 1,000 of 10,000 events (10 %), 500/s, 2 min left",
        "sent 2,000 of 10,000 events (20 %), 500/s, 1 min left",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(59, "59 s"), (61, "1 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text
