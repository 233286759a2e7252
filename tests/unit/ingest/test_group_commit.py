"""Gathering: many requests, one append, and each hears of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import fakeredis
import pytest

import lanes
import mapping
from ingest import group_commit
from ingest.errors import Refusal
from ingest.group_commit import Fate, GroupCommit
from lanes import suppression
from mapping.envelope import pack
from tests.queues import DAY_S, queue_of

DOCUMENT = {"destinations": {"d": {"site_id": "s", "api_key": "k"}}}


class Woken:
    """Remembers wake-ups instead of sending them."""

    def __init__(self) -> None:
        self.destinations: list[str] = []
        self.deletions: list[tuple[str, int]] = []

    def wake(self, destination: str) -> None:
        self.destinations.append(destination)

    def forget(self, destination: str, sequence: int) -> None:
        self.deletions.append((destination, sequence))


def group_commit_of(client: Any, woken: Woken | None = None, **values: int) -> GroupCommit:
    destination = mapping.destinations(DOCUMENT)["d"]
    queue = lanes.AsyncQueue(client=client, name="d", **{"join_s": 30 * DAY_S, **values})
    return GroupCommit(queue, destination, woken or Woken())  # type: ignore[arg-type]


def entry(door: GroupCommit, content: dict[str, Any]) -> lanes.NewEvent:
    return door.entry("web", content, pack("web", content))


def event(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "x", "userId": "1", "messageId": name} | more


def test_requests_in_flight_share_appends_and_each_hears_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    append_async = lanes.append_async

    async def counted(queue: lanes.AsyncQueue, events: Any) -> lanes.Appended:
        sizes.append(len(events))
        return await append_async(queue, events)

    monkeypatch.setattr(group_commit.lanes, "append_async", counted)

    async def run() -> list[list[Fate]]:
        client = fakeredis.FakeAsyncRedis()
        door = group_commit_of(client)
        requests = [[entry(door, event(f"m{n}"))] for n in range(50)]
        requests.append([entry(door, event("m1")), entry(door, event("new"))])
        return await asyncio.gather(*(door.append(entries) for entries in requests))

    answers = asyncio.run(run())

    assert answers == [["accepted"]] * 50 + [["duplicates", "accepted"]]
    assert len(sizes) == 1
    assert sum(sizes) == 52


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def run() -> Refusal:
        door = group_commit_of(fakeredis.FakeAsyncRedis(), limit=1)
        await door.append([entry(door, event("a"))])
        with pytest.raises(Refusal) as refused:
            await door.append([entry(door, event("b"))])
        return refused.value

    refusal = asyncio.run(run())

    assert (refusal.status, refusal.retry_after_s) == (503, group_commit.RETRY_AFTER_S)


def test_redis_away_refuses_and_the_next_request_is_tried_again() -> None:
    async def run() -> list[Any]:
        server = fakeredis.FakeServer()
        door = group_commit_of(fakeredis.FakeAsyncRedis(server=server))
        server.connected = False
        with pytest.raises(Refusal) as refused:
            await door.append([entry(door, event("a"))])
        server.connected = True
        return [refused.value.status, *await door.append([entry(door, event("a"))])]

    assert asyncio.run(run()) == [503, "accepted"]


def test_new_work_asks_for_a_deliverer() -> None:
    woken = Woken()

    async def run() -> None:
        door = group_commit_of(fakeredis.FakeAsyncRedis(), woken)
        await door.append([entry(door, event("a"))])

    asyncio.run(run())

    assert woken.destinations == ["d"]


def test_what_takes_something_away_keeps_its_distance_and_a_merge_joins_two_lanes() -> None:
    door = group_commit_of(fakeredis.FakeAsyncRedis(), cooldown_ms=5000)

    plain = entry(door, event("a"))
    deletion = entry(door, event("b", event="User Deleted"))
    merge = entry(door, event("c", type="alias", previousId="old"))

    assert (plain.cooldown_ms, plain.join) == (0, None)
    assert (deletion.cooldown_ms, deletion.join) == (5000, None)
    assert (merge.cooldown_ms, merge.join) == (5000, ("id:old", "id:1"))


def test_of_a_group_that_does_not_fit_those_are_let_in_for_whom_there_is_room() -> None:
    async def run() -> list[list[Fate] | BaseException]:
        door = group_commit_of(fakeredis.FakeAsyncRedis(), limit=2)
        requests = [[entry(door, event(f"{n}{m}")) for m in range(n)] for n in (2, 3, 1)]
        return await asyncio.gather(*(door.append(entries) for entries in requests), return_exceptions=True)

    first, *others = asyncio.run(run())

    assert first == ["accepted", "accepted"]
    assert [getattr(other, "status", None) for other in others] == [503, 503]


def test_nobody_is_left_waiting_when_an_append_fails_as_nobody_thought(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> lanes.Appended:
        raise RuntimeError("a bug")

    monkeypatch.setattr(group_commit.lanes, "append_async", broken)

    async def run() -> None:
        door = group_commit_of(fakeredis.FakeAsyncRedis())
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(door.append([entry(door, event("a"))]), timeout=10)

    asyncio.run(run())


def test_whoever_is_barred_is_dropped_and_counted_until_admitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = fakeredis.FakeServer()
    operator = fakeredis.FakeStrictRedis(server=server)
    monkeypatch.setattr(suppression, "FRESH_S", 0.0)

    async def run() -> list[list[Fate]]:
        door = group_commit_of(fakeredis.FakeAsyncRedis(server=server))
        before = await door.append([entry(door, event("a"))])
        suppression.suppress(queue_of(operator, "d"), [lanes.digest("id:1")])
        barring = await door.append([entry(door, event("b")), entry(door, event("c", userId="2"))])
        suppression.unsuppress(queue_of(operator, "d"), [lanes.digest("id:1")])
        return [before, barring, await door.append([entry(door, event("b"))])]

    assert asyncio.run(run()) == [["accepted"], ["suppressed", "accepted"], ["accepted"]]
    assert lanes.stats(queue_of(operator, "d")).accepted_total == 3


def test_a_deletion_asks_for_what_stands_before_it_to_be_dropped() -> None:
    woken = Woken()

    async def run() -> None:
        door = group_commit_of(fakeredis.FakeAsyncRedis(), woken, cooldown_ms=5000)
        deletion = entry(door, event("b", type="delete"))
        assert (deletion.keys, deletion.cooldown_ms) == (("id:1",), 5000)
        await door.append([entry(door, event("a")), deletion, entry(door, event("c"))])
        await door.append([deletion])

    asyncio.run(run())

    assert woken.deletions == [("d", 2)]
