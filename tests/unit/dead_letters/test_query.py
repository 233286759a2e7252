"""All dead letters of a queue, page by page, and their events."""

from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest

import lanes
from dead_letters import query
from mapping.envelope import pack
from tests.queues import queue_of


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[lanes.Queue]:
    """A queue with five dead letters: the body of the second is damaged, and the failure of the fourth."""
    monkeypatch.setattr(query, "PAGE", 2)
    with fakeredis.FakeRedis() as client:
        queue = queue_of(client, "demo")
        bodies = [pack("demo", {"event": str(number)}) for number in range(1, 6)]
        failures = [b"{}"] * 5
        bodies[1], failures[3] = b"{", b"{"
        imported = [
            lanes.ImportedDeadLetter(None, 1000, (), body, failure)
            for body, failure in zip(bodies, failures, strict=True)
        ]
        lanes.import_dead_letters(queue, imported)
        yield queue


def test_all_dead_letters_are_read_in_order(queue: lanes.Queue) -> None:
    assert [dead_letter.sequence for dead_letter in query.stored(queue)] == [1, 2, 3, 4, 5]


def test_an_event_is_read_without_its_failure(queue: lanes.Queue) -> None:
    assert [event.get("event") for event in query.events(queue)] == ["1", None, "3", "4", "5"]
