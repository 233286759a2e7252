"""Taps: nothing without a watcher, bounded with one, and gone by themselves."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from lanes import keys
from lanes.taps import streams
from lanes.taps.tap import EVENTS_PER_S, MOST_BYTES, REFUSALS_PER_S, Tap


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def tap(now: list[float]) -> Tap:
    return Tap(lambda: now[0])


def commands(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the commands that the client sends from now on."""
    sent: list[str] = []
    execute = client.execute_command

    def recorded(*command: Any, **options: Any) -> Any:
        sent.append(str(command[0]))
        return execute(*command, **options)

    monkeypatch.setattr(client, "execute_command", recorded)
    return sent


def facts(client: redis.Redis) -> list[Any]:
    return [stored.copy.facts for stored in streams.read(client, keys.TAP_WORKERS)]


def test_without_a_watcher_a_process_sends_one_get_a_second_and_nothing_else(
    client: redis.Redis, tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = commands(client, monkeypatch)

    for _ in range(3):
        streams.follow(tap, client)

    assert sent == ["GET"] * 3
    assert not tap.is_watched
    assert not client.keys()


def test_a_watcher_begins_the_copies_and_their_absence_ends_them(client: redis.Redis, tap: Tap) -> None:
    streams.watch(client, 4)
    assert 0 < client.ttl(keys.TAP_WATCHED.name) <= streams.WATCHED_S
    streams.follow(tap, client)
    assert tap.is_watched
    tap.add({"n": 1}, b"event", b"[]")
    streams.follow(tap, client)
    assert facts(client) == [{"n": 1}]
    ((_, copied),) = streams.read(client, keys.TAP_WORKERS)
    assert (copied.event, copied.requests) == (b"event", b"[]")

    tap.add({"n": 2})
    client.delete(keys.TAP_WATCHED.name)
    streams.follow(tap, client)

    assert not tap.is_watched
    assert tap.taken() == []
    assert facts(client) == [{"n": 1}]


def test_a_stream_is_bounded_and_ends_by_itself(client: redis.Redis, tap: Tap) -> None:
    streams.watch(client, 1)
    for start in (0, 400):
        streams.follow(tap, client)
        for number in range(start, start + 400):
            tap.add({"n": number})
    streams.follow(tap, client)

    assert [fact["n"] for fact in facts(client)] == [*range(800 - streams.MOST, 800)]
    assert 0 < client.ttl(keys.TAP_WORKERS.name) <= streams.KEPT_S


def test_entries_are_read_from_where_a_reader_was(client: redis.Redis, tap: Tap) -> None:
    streams.watch(client, 1)
    streams.follow(tap, client)
    tap.add({"n": 1})
    streams.follow(tap, client)
    (first,) = streams.read(client, keys.TAP_WORKERS)
    tap.add({"n": 2})
    streams.follow(tap, client)

    assert [stored.copy.facts for stored in streams.read(client, keys.TAP_WORKERS, first.id)] == [{"n": 2}]


def test_entries_older_than_a_minute_are_removed_also_while_someone_watches(client: redis.Redis, tap: Tap) -> None:
    fields: Any = {"facts": b'{"n":0}', "event": b"", "requests": b""}
    client.xadd(keys.TAP_WORKERS.name, fields, id="1000-0")
    streams.watch(client, 1)
    streams.follow(tap, client)
    tap.add({"n": 1})

    streams.follow(tap, client)

    assert facts(client) == [{"n": 1}]


def test_ingest_and_workers_choose_the_same_events_at_most_so_many_a_second(now: list[float]) -> None:
    chosen = []
    for _ in range(2):
        tap = Tap(lambda: now[0])
        tap.watch(4)
        chosen.append(tap.chosen(range(1000, 1040), range(1000, 1040)))
    assert chosen[0] == chosen[1] == [*range(1000, 1040, 4)]

    tap.watch(1)
    assert len(tap.chosen(range(1000), range(1000))) == EVENTS_PER_S - 10
    assert tap.chosen(range(1000), range(1000)) == []
    now[0] += 1
    assert tap.chosen(range(1000), range(1000)) == [*range(EVENTS_PER_S)]


def test_refusals_have_a_budget_of_their_own(tap: Tap) -> None:
    tap.watch(1)
    tap.chosen(range(100), range(100))

    assert [tap.can_copy_refusal() for _ in range(10)] == [True] * REFUSALS_PER_S + [False] * (10 - REFUSALS_PER_S)


def test_a_long_event_is_copied_without_its_content(tap: Tap) -> None:
    tap.add({"n": 1}, b"x" * (MOST_BYTES + 1), b"y" * MOST_BYTES)

    ((_, event, requests),) = tap.taken()

    assert (event, len(requests)) == (b"", MOST_BYTES)


def test_an_erasure_removes_all_copies(client: redis.Redis, tap: Tap) -> None:
    streams.watch(client, 1)
    streams.follow(tap, client)
    tap.add({"n": 1})
    streams.follow(tap, client)

    streams.clear(client)

    assert facts(client) == []
