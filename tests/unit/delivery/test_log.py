"""The delivery log: every request with its response, found by ordering key, bounded, and removed by person."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import fakeredis
import orjson
import pytest
import redis

import lanes
from delivery import log as delivery_log
from delivery.batching import Item, Request
from delivery.outcomes import Delivered, Outcome, Rejected, Response
from lanes.keys import base
from mapping.operation import BATCH_PATH
from tests.queues import queue_of

QUEUE = "q"
LOG = f"{base(QUEUE)}:log"
JO, AL = lanes.digest("id:jo"), lanes.digest("id:al")


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def item(sequence: int, name: str) -> Item:
    return Item(sequence, 0, "trackEvent", "event", "/api/v2/entity", orjson.dumps({"name": name}), f"web:{name}")


def sender(client: redis.Redis, *outcomes: Outcome) -> Callable[..., list[Outcome]]:
    """A `send` that is recorded and written, whose claim has event 1 of Jo, 2 of Al, and 3 of both."""
    keys = {1: (JO,), 2: (AL,), 3: (JO, AL)}
    events = tuple(lanes.ClaimedEvent(number, 0, 0, 0, 1_000 + number, keys[number], b"") for number in keys)
    claim = lanes.Claim("c", events, None, False)
    recorder = delivery_log.Recorder(queue_of(client, QUEUE), claim, "worker")
    recorded = recorder.recording(lambda _request: list(outcomes))

    def send(request: Request) -> list[Outcome]:
        results = recorded(request)
        recorder.write()
        return results

    return send


def test_the_items_of_an_ordering_key_are_read_newest_first_with_the_exact_body(client: redis.Redis) -> None:
    before_ms = time.time_ns() // 1_000_000
    sender(client, Delivered(), Rejected("no such thing", Response(207, "")))(
        Request(BATCH_PATH, (item(1, "a"), item(2, "b")))
    )
    sender(client, Delivered())(Request(BATCH_PATH, (item(3, "c"),)))

    newest, oldest = delivery_log.sent_for(queue_of(client, QUEUE), JO, 10)
    (_, refused) = delivery_log.sent_for(queue_of(client, QUEUE), AL, 10)

    assert (newest.sequence, newest.item, newest.refusal) == (3, {"name": "c"}, None)
    assert (oldest.sequence, oldest.accepted_ms, oldest.message_id, oldest.path) == (1, 1_001, "web:a", BATCH_PATH)
    assert before_ms <= oldest.claimed_ms <= oldest.sent_ms <= oldest.responded_ms
    assert (refused.sequence, refused.refusal) == (2, "no such thing")
    assert delivery_log.sent_for(queue_of(client, QUEUE), JO, 1) == [newest]
    assert delivery_log.sent_for(queue_of(client, QUEUE), lanes.digest("id:bo"), 10) == []


def test_a_log_that_no_worker_trims_any_more_ends(redis_client: redis.Redis) -> None:
    """Its destination was removed from the configuration."""
    send, queue = sender(redis_client, Delivered()), queue_of(redis_client, QUEUE)
    send(Request(BATCH_PATH, (item(1, "a"),)))

    delivery_log.trim(queue, 3, 1)

    assert delivery_log.KEPT_S - 60 < redis_client.ttl(LOG) <= delivery_log.KEPT_S + 3600


def test_the_log_is_bounded_by_number_and_age(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    send, queue = sender(redis_client, Delivered()), queue_of(redis_client, QUEUE)
    for _ in range(5):
        send(Request(BATCH_PATH, (item(1, "a"),)))

    delivery_log.trim(queue, 3, 1)
    assert redis_client.llen(LOG) == 3
    monkeypatch.setattr(delivery_log, "KEPT_S", -1)
    delivery_log.trim(queue, 3, 1)
    assert redis_client.llen(LOG) == 0
    send(Request(BATCH_PATH, (item(1, "a"),)))
    delivery_log.trim(queue, 0, 1)
    assert redis_client.llen(LOG) == 0


def test_the_log_is_bounded_by_memory(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    send, queue = sender(redis_client, Delivered()), queue_of(redis_client, QUEUE)
    for _ in range(50):
        send(Request(BATCH_PATH, (item(1, os.urandom(10_000).hex()),)))
    whole, newest = redis_client.memory_usage(LOG, samples=0), redis_client.lindex(LOG, 0)
    limit = 2**30
    redis_client.config_set("maxmemory", limit)
    try:
        monkeypatch.setattr(delivery_log, "MEMORY_SHARE", whole / limit)
        delivery_log.trim(queue, 1000, 1)
        assert redis_client.llen(LOG) == 50
        delivery_log.trim(queue, 1000, 5)
        assert redis_client.llen(LOG) == 10
        assert redis_client.lindex(LOG, 0) == newest
    finally:
        redis_client.config_set("maxmemory", 0)


def test_the_items_of_a_person_are_removed_and_the_others_keep_their_order(client: redis.Redis) -> None:
    both = Request(BATCH_PATH, (item(1, "a"), item(2, "b")))
    for number in range(250):
        sender(client, Delivered(), Delivered())(both)
        sender(client, Delivered())(Request(BATCH_PATH, (item(2, f"only {number}"),)))
    sender(client, Delivered())(Request(BATCH_PATH, (item(1, "alone"),)))
    sender(client, Delivered())(Request(BATCH_PATH, (item(3, "later"),)))

    def is_removed(sequence: int, digests: Sequence[bytes]) -> bool:
        return JO in digests and sequence < 3

    removed = delivery_log.remove(queue_of(client, QUEUE), is_removed)
    assert delivery_log.remove(queue_of(client, QUEUE), is_removed) == []

    assert len(removed) == 251
    assert {message_id for _, _, message_id, _ in removed} == {"web:a", "web:alone"}
    assert {(sequence, *digests) for sequence, digests, _, _ in removed} == {(1, JO)}
    assert [sent.sequence for sent in delivery_log.sent_for(queue_of(client, QUEUE), JO, 10)] == [3]
    names = [sent.item["name"] for sent in delivery_log.sent_for(queue_of(client, QUEUE), AL, 1000)]
    assert names == ["later", *(name for n in reversed(range(250)) for name in (f"only {n}", "b"))]


@pytest.mark.parametrize("levels", [245, 250, 252])
def test_an_item_of_any_depth_is_removed_or_kept(client: redis.Redis, levels: int) -> None:
    nested = orjson.loads(b'{"a":' * levels + b"1" + b"}" * levels)
    deep = item(2, "deep")._replace(data=orjson.dumps(nested))
    sender(client, Delivered(), Delivered())(Request(BATCH_PATH, (item(1, "a"), deep)))

    removed = delivery_log.remove(queue_of(client, QUEUE), lambda sequence, _: sequence == 1)

    assert [(found.sequence, found.body) for found in removed] == [(1, {"name": "a"})]
    assert [sent.item for sent in delivery_log.sent_for(queue_of(client, QUEUE), AL, 9)] == [nested]


@pytest.mark.parametrize("damaged", [b"", b"1700000000000", b"1700000000000(\xb5/\xfd", b"x"])
def test_a_damaged_entry_is_left_out_and_removed_with_the_first_erasure(client: redis.Redis, damaged: bytes) -> None:
    sender(client, Delivered())(Request(BATCH_PATH, (item(1, "a"),)))
    client.lpush(LOG, damaged)
    sender(client, Delivered())(Request(BATCH_PATH, (item(2, "b"),)))

    assert [sent.sequence for sent in delivery_log.sent_for(queue_of(client, QUEUE), AL, 9)] == [2]
    assert len(delivery_log.remove(queue_of(client, QUEUE), lambda sequence, _: sequence == 1)) == 1
    assert client.llen(LOG) == 1
