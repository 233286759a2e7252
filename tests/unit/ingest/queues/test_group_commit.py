"""Group commit: concurrent requests share an append, and each gets its own results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
from redis.exceptions import ConnectionError, ReadOnlyError, RedisError

import lanes
import mapping
from ingest.errors import Refusal
from ingest.queues import group_commit
from ingest.queues.group_commit import GroupCommit, Result
from ingest.tap import IngestTap
from lanes import suppression
from lanes.server.memory import Memory
from mapping.envelope import pack
from tests.logged import logged
from tests.queues import DAY_S, queue_of
from tests.secrets import CREDENTIALS

DOCUMENT = {"destinations": {"d": CREDENTIALS}}


class RecordedWakeups:
    """Records wake-ups instead of sending them."""

    def __init__(self) -> None:
        self.destinations: list[str] = []
        self.deletions: list[tuple[str, int]] = []

    def wake(self, destination: str) -> None:
        self.destinations.append(destination)

    def discard_before(self, destination: str, sequence: int) -> None:
        self.deletions.append((destination, sequence))


class Failing:
    """An append that fails with each of the errors in turn, and then succeeds. Each try takes `try_s` of its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: Exception, try_s: float = 0.0) -> None:
        self.now = 0.0
        self.tries = 0
        self._append = lanes.append_async
        self._errors = list(errors)
        self._try_s = try_s
        monkeypatch.setattr(group_commit.lanes, "append_async", self.append)
        monkeypatch.setattr(group_commit, "_PAUSE_S", 0.0)

    def clock(self) -> float:
        return self.now

    async def append(self, queue: lanes.AsyncQueue, events: Any) -> lanes.Appended:
        self.tries += 1
        self.now += self._try_s
        if self._errors:
            raise self._errors.pop(0)
        return await self._append(queue, events)


def group_commit_of(
    client: Any,
    wakeups: RecordedWakeups | None = None,
    clock: Callable[[], float] = time.monotonic,
    memory: Memory | None = None,
    tap: IngestTap | None = None,
    **values: int,
) -> GroupCommit:
    destination = mapping.destinations(DOCUMENT)["d"]
    queue = lanes.AsyncQueue(client=client, name="d", **{"join_s": 30 * DAY_S, **values})
    memory, wakeups = memory or Memory(1.0), wakeups or RecordedWakeups()
    return GroupCommit(queue, destination, wakeups, memory, tap or IngestTap(), clock)  # type: ignore[arg-type]


def entry(commits: GroupCommit, content: dict[str, Any]) -> lanes.NewEvent:
    (made,) = commits.entries("web", [content], [pack("web", content)], [b""])
    return made


def event(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "x", "userId": "1", "messageId": name} | more


def test_concurrent_requests_share_an_append_and_each_gets_its_own_results(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    append_async = lanes.append_async

    async def counted(queue: lanes.AsyncQueue, events: Any) -> lanes.Appended:
        sizes.append(len(events))
        return await append_async(queue, events)

    monkeypatch.setattr(group_commit.lanes, "append_async", counted)

    async def run() -> list[list[Result]]:
        client = fakeredis.FakeAsyncRedis()
        commits = group_commit_of(client)
        requests = [[entry(commits, event(f"m{n}"))] for n in range(50)]
        requests.append([entry(commits, event("m1")), entry(commits, event("new"))])
        return await asyncio.gather(*(commits.append(entries) for entries in requests))

    results = asyncio.run(run())

    assert results == [["accepted"]] * 50 + [["duplicates", "accepted"]]
    assert len(sizes) == 1
    assert sum(sizes) == 52


def test_a_full_queue_refuses_with_the_time_to_retry() -> None:
    async def run() -> Refusal:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(), limit=1)
        await commits.append([entry(commits, event("a"))])
        with pytest.raises(Refusal) as refused:
            await commits.append([entry(commits, event("b"))])
        return refused.value

    refusal = asyncio.run(run())

    assert (refusal.status, refusal.retry_after_s, refusal.code) == (429, 2, "queue_full")
    assert refusal.message == "the queue is full; send the request again"


def test_the_time_to_retry_grows_while_the_queue_is_full_and_is_short_after_it() -> None:
    now = [0.0]

    async def refused(commits: GroupCommit, name: str) -> int | None:
        with pytest.raises(Refusal) as caught:
            await commits.append([entry(commits, event(name))])
        return caught.value.retry_after_s

    async def run() -> list[int | None]:
        client = fakeredis.FakeAsyncRedis()
        commits = group_commit_of(client, clock=lambda: now[0], limit=1)
        await commits.append([entry(commits, event("a"))])
        waits = []
        for now[0] in (0.0, 3.0, 10.0, 30.0):
            waits.append(await refused(commits, "b"))
        await client.flushall()
        await commits.append([entry(commits, event("b"))])
        return [*waits, await refused(commits, "c")]

    assert asyncio.run(run()) == [2, 5, 15, 60, 2]


def test_requests_are_refused_while_redis_is_unavailable_and_accepted_after_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "BLIP_S", 0.0)

    async def run() -> list[Any]:
        server = fakeredis.FakeServer()
        commits = group_commit_of(fakeredis.FakeAsyncRedis(server=server))
        server.connected = False
        for _ in range(2):
            with pytest.raises(Refusal) as refused:
                await commits.append([entry(commits, event("a"))])
        server.connected = True
        return [refused.value.status, *await commits.append([entry(commits, event("a"))])]

    assert asyncio.run(run()) == [429, "accepted"]
    unavailable, available = logged(caplog)
    assert unavailable["reason"] == "Redis is unavailable"
    assert unavailable["error"].startswith("ConnectionError: ")
    assert available == {"event": "queue_usable", "destination": "d"}


def test_a_process_with_other_values_than_the_queue_is_refused_without_the_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = fakeredis.FakeServer()

    async def run() -> Refusal:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(server=server), cooldown_ms=1000)
        for _ in range(2):
            with pytest.raises(Refusal) as refused:
                await commits.append([entry(commits, event("a"))])
        return refused.value

    queue_of(fakeredis.FakeStrictRedis(server=server), "d", cooldown_ms=5000)

    refusal = asyncio.run(run())

    assert (refusal.status, refusal.retry_after_s) == (503, 2)
    assert refusal.message == "this endpoint cannot use the queue; send the request again"
    (line,) = logged(caplog)
    assert "cooldown_ms is 5000 in Redis and 1000 here" in line["reason"]


def test_each_change_of_the_fault_of_a_queue_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    server = fakeredis.FakeServer()
    operator = fakeredis.FakeStrictRedis(server=server)

    async def run() -> None:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(server=server), cooldown_ms=1000)
        for stored_ms in (2000, 2000, 3000):
            operator.flushall()
            queue_of(operator, "d", cooldown_ms=stored_ms)
            with pytest.raises(Refusal):
                await commits.append([entry(commits, event("a"))])
        operator.flushall()
        await commits.append([entry(commits, event("a"))])

    asyncio.run(run())

    other, another, usable = logged(caplog, "queue_unusable", "queue_usable")
    assert "2000 in Redis" in other["reason"]
    assert "3000 in Redis" in another["reason"]
    assert usable == {"event": "queue_usable", "destination": "d"}


def test_ready_events_request_a_deliverer() -> None:
    wakeups = RecordedWakeups()

    async def run() -> None:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(), wakeups)
        await commits.append([entry(commits, event("a"))])

    asyncio.run(run())

    assert wakeups.destinations == ["d"]


def test_a_removal_has_a_cooldown_and_a_merge_joins_two_lanes() -> None:
    commits = group_commit_of(fakeredis.FakeAsyncRedis(), cooldown_ms=5000)

    plain = entry(commits, event("a"))
    removal = entry(commits, event("b", event="User Deleted"))
    merge = entry(commits, event("c", type="alias", previousId="old"))

    assert (plain.cooldown_ms, plain.join) == (0, None)
    assert (removal.cooldown_ms, removal.join) == (5000, None)
    assert (merge.cooldown_ms, merge.join) == (5000, ("id:old", "id:1"))


def test_requests_of_a_group_are_appended_one_by_one_when_the_queue_has_no_room_for_all() -> None:
    async def run() -> list[list[Result] | BaseException]:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(), limit=2)
        requests = [[entry(commits, event(f"{n}{m}")) for m in range(n)] for n in (2, 3, 1)]
        return await asyncio.gather(*(commits.append(entries) for entries in requests), return_exceptions=True)

    first, *others = asyncio.run(run())

    assert first == ["accepted", "accepted"]
    assert [getattr(other, "status", None) for other in others] == [429, 429]


def test_every_request_ends_when_an_append_raises_an_unhandled_exception(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any, **__: Any) -> lanes.Appended:
        raise RuntimeError("a bug")

    monkeypatch.setattr(group_commit.lanes, "append_async", broken)

    async def run() -> None:
        commits = group_commit_of(fakeredis.FakeAsyncRedis())
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(commits.append([entry(commits, event("a"))]), timeout=10)

    asyncio.run(run())

    (line,) = logged(caplog)
    assert (line["event"], line["where"], line["error"]) == ("unhandled_exception", "an append", "RuntimeError")
    assert "test_group_commit.py" in line["at"]
    assert "a bug" not in str(line), "the text of an exception may have data of an event"


def test_events_of_a_suppressed_person_are_dropped_until_the_person_is_unsuppressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = fakeredis.FakeServer()
    operator = fakeredis.FakeStrictRedis(server=server)
    monkeypatch.setattr(suppression, "FRESH_S", 0.0)

    async def run() -> list[list[Result]]:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(server=server))
        before = await commits.append([entry(commits, event("a"))])
        suppression.suppress(queue_of(operator, "d"), [lanes.digest("id:1")])
        during = await commits.append([entry(commits, event("b")), entry(commits, event("c", userId="2"))])
        suppression.unsuppress(queue_of(operator, "d"), [lanes.digest("id:1")])
        return [before, during, await commits.append([entry(commits, event("b"))])]

    assert asyncio.run(run()) == [["accepted"], ["suppressed", "accepted"], ["accepted"]]
    assert lanes.stats(queue_of(operator, "d")).accepted_total == 3


def test_a_new_deletion_requests_that_earlier_events_are_dropped() -> None:
    wakeups = RecordedWakeups()

    async def run() -> None:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(), wakeups, cooldown_ms=5000)
        deletion = entry(commits, event("b", type="delete"))
        assert (deletion.keys, deletion.cooldown_ms, deletion.run) == (("id:1",), 5000, mapping.DELETION)
        await commits.append([entry(commits, event("a")), deletion, entry(commits, event("c"))])
        await commits.append([deletion])

    asyncio.run(run())

    assert wakeups.deletions == [("d", 2)], "once, and not for the repetition"


def test_a_deletion_that_was_refused_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "BLIP_S", 0.0)
    wakeups = RecordedWakeups()

    async def run() -> None:
        server = fakeredis.FakeServer()
        commits = group_commit_of(fakeredis.FakeAsyncRedis(server=server), wakeups)
        server.connected = False
        with pytest.raises(Refusal):
            await commits.append([entry(commits, event("b", type="delete"))])
        server.connected = True
        await commits.append([entry(commits, event("b"))])

    asyncio.run(run())

    assert wakeups.deletions == []


def test_a_blip_of_redis_is_waited_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing(monkeypatch, *(ConnectionError("gone") for _ in range(9)), try_s=0.1)

    async def run() -> list[list[Result]]:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(), clock=failing.clock)
        return await asyncio.gather(*(commits.append([entry(commits, event(name))]) for name in "ab"))

    assert asyncio.run(run()) == [["accepted"], ["accepted"]]
    assert logged(caplog) == []


def test_a_longer_outage_refuses_all_that_wait_and_each_request_after_them_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP_EVENTS", 1)
    failing = Failing(monkeypatch, *(ConnectionError("gone") for _ in range(6)), try_s=0.25)

    async def run() -> list[Any]:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(), clock=failing.clock)
        requests = (commits.append([entry(commits, event(name))]) for name in "abc")
        first = await asyncio.gather(*requests, return_exceptions=True)
        tries = failing.tries
        with pytest.raises(Refusal) as refused:
            await commits.append([entry(commits, event("d"))])
        return [*first, refused.value, tries, failing.tries]

    *refusals, before, after = asyncio.run(run())

    assert [(refusal.status, refusal.retry_after_s) for refusal in refusals] == [(429, 2)] * 4
    assert {refusal.message for refusal in refusals} == {"Redis is unavailable; send the request again"}
    assert (before, after) == (4, 6), "the group is tried for 1 s; a request in the outage is tried twice"


def test_an_append_that_took_long_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Failing(monkeypatch, ConnectionError("timeout"), try_s=5.0)

    async def run() -> None:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(), clock=failing.clock)
        with pytest.raises(Refusal):
            await commits.append([entry(commits, event("a"))])

    asyncio.run(run())

    assert failing.tries == 1


def test_an_event_whose_append_was_stored_before_the_connection_was_lost_is_stored_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = fakeredis.FakeServer()
    append_async = lanes.append_async
    replies: list[Exception | None] = [ConnectionError("lost"), None]

    async def losing(queue: lanes.AsyncQueue, events: Any) -> lanes.Appended:
        appended = await append_async(queue, events)
        if (error := replies.pop(0)) is not None:
            raise error
        return appended

    monkeypatch.setattr(group_commit.lanes, "append_async", losing)

    async def run() -> list[Result]:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(server=server))
        return await commits.append([entry(commits, event("a"))])

    assert asyncio.run(run()) == ["duplicates"]
    assert lanes.stats(queue_of(fakeredis.FakeStrictRedis(server=server), "d")).waiting == 1


def test_requests_beyond_a_bound_of_memory_are_refused_while_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()
    append_async = lanes.append_async

    async def slow(queue: lanes.AsyncQueue, events: Any) -> lanes.Appended:
        await release.wait()
        return await append_async(queue, events)

    monkeypatch.setattr(group_commit.lanes, "append_async", slow)
    monkeypatch.setattr(group_commit, "MAX_PENDING_BYTES", 5000)

    async def run() -> list[Any]:
        commits = group_commit_of(fakeredis.FakeAsyncRedis())
        waiting = [asyncio.create_task(commits.append([entry(commits, event(name))])) for name in "abc"]
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refused:
            await commits.append([entry(commits, event(name)) for name in "def"])
        release.set()
        results = await asyncio.gather(*waiting)
        later = await commits.append([entry(commits, event(name)) for name in "def"])
        return [refused.value, results, later]

    refusal, results, later = asyncio.run(run())

    assert (refusal.status, refusal.retry_after_s, refusal.code) == (429, 2, "overloaded")
    assert refusal.message == "too many events wait for Redis; send the request again"
    assert (results, later) == ([["accepted"]] * 3, ["accepted"] * 3)


def test_a_fault_of_redis_that_does_not_pass_refuses_only_its_own_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP_EVENTS", 1)
    failing = Failing(monkeypatch, RedisError("broken"))

    async def run() -> list[Any]:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(), clock=failing.clock)
        requests = (commits.append([entry(commits, event(name))]) for name in "ab")
        return await asyncio.gather(*requests, return_exceptions=True)

    first, second = asyncio.run(run())

    assert (first.status, second) == (429, ["accepted"])


def test_the_check_needs_a_redis_that_takes_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    client = fakeredis.FakeAsyncRedis()
    writes: list[str] = []

    async def refused(*_: Any) -> int:
        writes.append("tried")
        raise ReadOnlyError("You can't write against a read only replica.")

    async def run() -> Refusal:
        commits = group_commit_of(client)
        await commits.check()
        assert await client.get("segue:{d}:layout") == b"%d" % lanes.LAYOUT, "the check changes nothing"
        monkeypatch.setattr(client, "setrange", refused)
        monkeypatch.setattr(group_commit, "BLIP_S", 0.0)
        with pytest.raises(Refusal) as caught:
            await commits.check()
        return caught.value

    refusal = asyncio.run(run())

    assert (refusal.status, refusal.message, writes) == (503, "Redis is a read-only replica", ["tried"])


@pytest.mark.parametrize("key", ["event", "lane", "ready", "seq", "total"])
def test_the_check_needs_keys_of_the_right_type(key: str) -> None:
    async def run() -> Refusal:
        client = fakeredis.FakeAsyncRedis()
        commits = group_commit_of(client)
        assert await commits.check(), "the queue has room"
        await client.delete(f"segue:{{d}}:{key}")
        await client.lpush(f"segue:{{d}}:{key}", "x")
        with pytest.raises(Refusal) as caught:
            await commits.check()
        return caught.value

    refusal = asyncio.run(run())

    assert (refusal.status, refusal.code) == (503, "queue_damaged")


def test_the_check_says_whether_the_queue_has_room() -> None:
    async def run() -> list[bool]:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(), limit=1)
        found = [await commits.check()]
        await commits.append([entry(commits, event("m1"))])
        return [*found, await commits.check()]

    assert asyncio.run(run()) == [True, False]


def test_the_check_needs_a_queue_that_this_process_can_use() -> None:
    server = fakeredis.FakeServer()
    queue_of(fakeredis.FakeStrictRedis(server=server), "d", cooldown_ms=5000)

    async def run() -> Refusal:
        with pytest.raises(Refusal) as caught:
            await group_commit_of(fakeredis.FakeAsyncRedis(server=server), cooldown_ms=1000).check()
        return caught.value

    refusal = asyncio.run(run())

    assert (refusal.status, refusal.code) == (503, "queue_unusable")


def test_events_that_the_memory_of_redis_has_no_room_for_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(1.0)

    async def run() -> tuple[Refusal, Refusal, list[Result]]:
        commits = group_commit_of(fakeredis.FakeAsyncRedis(), memory=memory)
        memory.is_full = True
        with pytest.raises(Refusal) as refused:
            await commits.append([entry(commits, event("a"))])
        with pytest.raises(Refusal) as not_ready:
            await commits.check()
        memory.is_full = False
        return refused.value, not_ready.value, await commits.append([entry(commits, event("a"))])

    refused, not_ready, results = asyncio.run(run())

    assert (refused.status, refused.retry_after_s, refused.code) == (429, 2, "redis_out_of_memory")
    assert (not_ready.status, not_ready.retry_after_s, not_ready.code) == (503, 2, "redis_out_of_memory")
    assert results == ["accepted"]
    assert [line["event"] for line in logged(caplog)] == ["queue_unusable", "queue_usable"]
