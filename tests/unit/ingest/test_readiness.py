"""The decision of `GET /ready`: a process that stops, and queues of which some or all are full."""

from __future__ import annotations

import asyncio

import pytest

from ingest import readiness
from ingest.errors import Refusal


class Queue:
    def __init__(self, has_room: bool) -> None:
        self._has_room = has_room

    async def check(self) -> bool:
        return self._has_room


def code(*queues: bool, is_stopping: bool = False) -> str | None:
    """Return the code of the refusal, None when the endpoint is ready."""
    try:
        asyncio.run(readiness.check(map(Queue, queues), is_stopping=is_stopping))  # type: ignore[arg-type]
    except Refusal as refusal:
        assert refusal.status == 503
        return refusal.code
    return None


@pytest.mark.parametrize(
    ("queues", "expected"), [((), None), ((True,), None), ((True, False), None), ((False, False), "queue_full")]
)
def test_an_endpoint_is_ready_unless_every_queue_is_full(queues: tuple[bool, ...], expected: str | None) -> None:
    assert code(*queues) == expected


def test_a_process_that_stops_is_not_ready() -> None:
    assert code(True, is_stopping=True) == "stopping"
