"""Gathering: many requests, one append, and each hears of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import fakeredis
import pytest

import lanes
import mapping
from ingest import gather
from ingest.gather import Gatherer
from ingest.refusals import Refusal
from settings import Settings

DOCUMENT = {"destinations": {"d": {"site_id": "s", "api_key": "k"}}}


class Woken:
    """Remembers wake-ups instead of sending them."""

    def __init__(self) -> None:
        self.destinations: list[str] = []

    def wake(self, destination: str) -> None:
        self.destinations.append(destination)


def gatherer(client: Any, woken: Woken | None = None, **settings: Any) -> Gatherer:
    destination = mapping.destinations(DOCUMENT)["d"]
    return Gatherer(client, destination, Settings(**settings), woken or Woken())  # type: ignore[arg-type]


def event(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "x", "userId": "1", "messageId": name} | more


def test_requests_in_flight_share_appends_and_each_hears_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    append_async = lanes.append_async

    async def counted(client: Any, queue: str, events: Any, **options: Any) -> lanes.Appended:
        sizes.append(len(events))
        return await append_async(client, queue, events, **options)

    monkeypatch.setattr(gather.lanes, "append_async", counted)

    async def run() -> list[tuple[bool, ...]]:
        client = fakeredis.FakeAsyncRedis()
        door = gatherer(client)
        requests = [[door.entry("web", event(f"m{n}"))] for n in range(50)]
        requests.append([door.entry("web", event("m1")), door.entry("web", event("new"))])
        return await asyncio.gather(*(door.append(entries) for entries in requests))

    answers = asyncio.run(run())

    assert answers == [(True,)] * 50 + [(False, True)]
    assert len(sizes) == 1
    assert sum(sizes) == 52


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def run() -> Refusal:
        door = gatherer(fakeredis.FakeAsyncRedis(), queue_limit=1)
        await door.append([door.entry("web", event("a"))])
        with pytest.raises(Refusal) as refused:
            await door.append([door.entry("web", event("b"))])
        return refused.value

    refusal = asyncio.run(run())

    assert (refusal.status, refusal.retry_after_s) == (503, gather.RETRY_AFTER_S)


def test_redis_away_refuses_and_the_next_request_is_tried_again() -> None:
    async def run() -> list[int]:
        server = fakeredis.FakeServer()
        door = gatherer(fakeredis.FakeAsyncRedis(server=server))
        server.connected = False
        with pytest.raises(Refusal) as refused:
            await door.append([door.entry("web", event("a"))])
        server.connected = True
        return [refused.value.status, *map(int, await door.append([door.entry("web", event("a"))]))]

    assert asyncio.run(run()) == [503, 1]


def test_new_work_asks_for_a_deliverer() -> None:
    woken = Woken()

    async def run() -> None:
        door = gatherer(fakeredis.FakeAsyncRedis(), woken)
        await door.append([door.entry("web", event("a"))])

    asyncio.run(run())

    assert woken.destinations == ["d"]


def test_what_takes_something_away_keeps_its_distance_and_a_merge_joins_two_lanes() -> None:
    door = gatherer(fakeredis.FakeAsyncRedis(), settle_s=5)

    plain = door.entry("web", event("a"))
    deletion = door.entry("web", event("b", event="User Deleted"))
    merge = door.entry("web", event("c", type="alias", previousId="old"))

    assert (plain.hold_ms, plain.join) == (0, None)
    assert (deletion.hold_ms, deletion.join) == (5000, None)
    assert (merge.hold_ms, merge.join) == (5000, ("id:old", "id:1"))
