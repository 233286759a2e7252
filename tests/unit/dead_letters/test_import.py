"""Imports: what they leave behind in Redis. `tests/unit/console/test_dead.py` has the lines that are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import fakeredis
import orjson
import pytest
import redis

import mapping
from dead_letters import import_export, query, record
from dead_letters.query import Filter
from tests.queues import queue_of
from tests.secrets import CREDENTIALS

DESTINATION = mapping.destinations({"destinations": {"journeys": CREDENTIALS}})["journeys"]
NOW_MS = 1_700_000_000_000
FAILURE = {"class": "invalid", "message": "no url", "faults": [], "buried_at_ms": NOW_MS - 1}


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def imported(client: redis.Redis, *lines: dict[str, object]) -> tuple[int, int]:
    def texts() -> Iterator[bytes]:
        yield from map(json_of, lines)

    return import_export.import_to([(queue_of(client, "journeys"), DESTINATION)], texts, NOW_MS)


def test_an_imported_dead_letter_has_what_its_line_has(client: redis.Redis) -> None:
    requeued = {"accepted_at_ms": 7, "original": {"userId": "al"}}
    line = {"source": "web", "event": {"userId": "jo"}, "requeued": requeued, "failure": FAILURE}

    imported(client, line)

    (dead_letter,) = query.matching(queue_of(client, "journeys"), Filter(person="id:jo"))
    assert (dead_letter.source, dead_letter.event, dead_letter.stored_since_ms) == ("web", {"userId": "jo"}, NOW_MS)
    assert dead_letter.requeued.json() == requeued
    assert dead_letter.failure.json().items() >= {"class": "invalid", "imported_at_ms": NOW_MS}.items()


def test_any_event_that_json_can_say_is_imported(client: redis.Redis) -> None:
    """Lines are validated without limits on the depth of an event or on the size of its numbers."""
    nested: list[object] = []
    for _ in range(230):
        nested = [nested]
    event = {"userId": "jo", "properties": {"nested": nested, "big": 2**64 - 1}}

    assert imported(client, {"source": "web", "event": event, "failure": FAILURE}) == (1, 0)

    (dead_letter,) = query.matching(queue_of(client, "journeys"), Filter())
    assert dead_letter.event == event


def nested(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_an_event_of_any_depth_that_can_be_stored_leaves_again_as_a_line(client: redis.Redis) -> None:
    event = {"userId": "jo", "deep": nested(252)}
    failure = FAILURE | {"original": event}
    line = {"source": "web", "event": event, "requeued": {"original": event}, "failure": failure}

    assert imported(client, line) == (1, 0)

    found = query.matching(queue_of(client, "journeys"), Filter(text="JO"))
    ((dead_letter, exported),) = record.lines("journeys", found)
    assert orjson.loads(exported)["requeued"]["original"] == dead_letter.event == event
    assert query.edit(queue_of(client, "journeys"), dead_letter, event | {"plan": "pro"})


@pytest.mark.parametrize(("levels", "text"), [(260, "cannot be stored"), (290, "cannot"), (900, "is nested in more")])
def test_a_line_of_more_levels_than_an_event_can_have_is_refused_with_its_number(
    client: redis.Redis, levels: int, text: str
) -> None:
    deep = b'{"a":' * levels + b"1" + b"}" * levels
    line = b'{"source":"web","event":{"userId":"jo","deep":' + deep + b'},"failure":' + json_of(FAILURE) + b"}"
    good = json_of({"source": "web", "event": {"userId": "al"}, "failure": FAILURE})

    with pytest.raises(import_export.ImportRefused, match=rf"line 2 {text}.*; nothing was imported"):
        import_export.import_to([(queue_of(client, "journeys"), DESTINATION)], lambda: iter([good, line]), NOW_MS)

    assert list(query.matching(queue_of(client, "journeys"), Filter())) == []


def test_dead_letters_that_exist_need_no_room(client: redis.Redis) -> None:
    """An import that was interrupted, or whose file is imported again, adds what is missing."""
    table = {**CREDENTIALS, "delivery": {"dead_letters": 10}}
    destination = mapping.destinations({"destinations": {"journeys": table}})["journeys"]
    target = (queue_of(client, "journeys"), destination)
    stored = {"source": "web", "failure": FAILURE, "destination": "journeys", "accepted_at_ms": NOW_MS}
    lines = [json_of(stored | {"sequence": number, "event": {"userId": str(number)}}) for number in range(1, 7)]
    import_export.import_to([target], lambda: iter(lines), NOW_MS)
    more = [json_of({"source": "web", "event": {"userId": "jo"}, "failure": FAILURE})] * 5

    assert import_export.plan([target], lambda: iter(lines), NOW_MS).refused == []
    assert import_export.import_to([target], lambda: iter([*lines, *more[:4]]), NOW_MS) == (4, 6)
    assert import_export.import_to([target], lambda: iter(lines), NOW_MS) == (0, 6)
    with pytest.raises(import_export.ImportRefused, match="has 10 dead letters and keeps 10; 5 more are too many"):
        import_export.import_to([target], lambda: iter([*lines, *more]), NOW_MS)


def json_of(value: object) -> bytes:
    return json.dumps(value).encode()
