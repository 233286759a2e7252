"""Stories whose events happen within moments, and arrive as requests that overtake each other.

The events of a story are STEP_MS apart, and each is a request of its own that takes up to TRAVEL_MS.
The order of the story is then that of the timestamps only. Ranks are those of ingest; the requests are appended one by
one in the order of their arrival, within much less time than the window that a test uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import redis

import lanes
from ingest.counters import Counters
from ingest.events import Reception, completed
from ingest.reorder.ranks import Ranks
from ingest.times import iso
from simulator.options import Faults, Options
from tests.stories import delivery
from tests.stories.generator import LEAP_S, PHASES, Event, Story

STEP_MS = 20
TRAVEL_MS = 300
_LATE_S = 60


def in_moments(stories: Sequence[Story], start: datetime) -> list[Story]:
    """Return the stories with the times at which their events happen: in their order, and none of them late."""
    return [
        replace(story, phases=[_in_moments(events, start, phase) for phase, events in enumerate(story.phases)])
        for story in stories
    ]


def people(
    client: redis.Redis,
    stories: Sequence[Story],
    options: Options,
    faults: Faults,
    settle_s: float,
    reorder_ms: int,
) -> list[dict[str, Any]]:
    """Return the people of the workspace after all stories arrived and were delivered, phase by phase."""
    pipeline = delivery.started(client, options, faults, "acknowledged", settle_s)
    dice, ranks = Random(len(stories)), Ranks(Counters(), _LATE_S)
    for phase in range(PHASES):
        for event, received_at in _arrivals([story.phases[phase] for story in stories], dice):
            accepted, happened_at, _ = completed(event, Reception(received_at))
            (rank,) = ranks.of("stories", [accepted], [happened_at], received_at, reorder_ms)
            lanes.append(pipeline.queue, [pipeline.entry(accepted, rank)])
        pipeline.end_phase()
    return pipeline.people()


def _in_moments(events: Sequence[Event], start: datetime, phase: int) -> list[Event]:
    began_at = start + timedelta(seconds=phase * LEAP_S)
    times = (began_at + timedelta(milliseconds=STEP_MS * index) for index in range(len(events)))
    return [event | {"timestamp": iso(time)} for event, time in zip(events, times, strict=True)]


def _arrivals(phases: Sequence[Sequence[Event]], dice: Random) -> Iterator[tuple[Event, datetime]]:
    """Yield the events in the order in which they arrive, with the time."""
    arrivals = [
        (datetime.fromisoformat(event["timestamp"]) + timedelta(milliseconds=_travel_ms(event, dice)), event)
        for events in phases
        for event in events
    ]
    for received_at, event in sorted(arrivals, key=lambda arrival: arrival[0]):
        yield event, received_at


def _travel_ms(event: Event, dice: Random) -> float:
    """Return how long a request takes. Nothing overtakes an alias: an event of the secondary gets the keys of the
    primary when it is accepted, so one that overtook the alias would lack them (docs/guarantees.md).
    """
    return 0 if event["type"] == "alias" else dice.uniform(0, TRAVEL_MS)
