"""Bad input gets a clear answer and stores nothing; good events beside it are delivered."""

from __future__ import annotations

import gzip
import hmac
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import lanes
from tests.conftest import RedisServer
from tests.pipeline import Pipeline, wait_until

TRACK = {"event": "Bought", "userId": "1"}
BATCH = {"batch": [{"type": "track", "event": f"e{n}", "userId": f"u{n}"} for n in range(100)]}
KEY = ("demo", "")
EVENT = b'{"type": "track", "event": "x", "userId": "1"}'


@pytest.fixture(scope="module")
def pipeline(redis_server: RedisServer) -> Iterator[Pipeline]:
    with Pipeline(redis_server.url, workers=1) as running:
        yield running


def signature(text: bytes) -> dict[str, str]:
    return {"X-Signature": hmac.new(b"demo-secret", text, "sha1").hexdigest()}


def accepted(pipeline: Pipeline) -> int:
    return lanes.stats(lanes.Queue(client=pipeline.redis, name="demo")).accepted_total


@pytest.mark.parametrize(
    ("path", "request_parts", "status", "field", "text"),
    [
        ("/v1/track", {"content": b'{"event": ', "auth": KEY}, 400, None, "the body is not JSON"),
        ("/v1/track", {"content": b"\xff\xfe", "auth": KEY}, 400, None, "the body is not JSON"),
        ("/v1/track", {"content": b"[" * 100_000, "auth": KEY}, 400, None, "the body is not JSON"),
        ("/v1/track", {"json": [TRACK], "auth": KEY}, 400, None, "must be a JSON object"),
        ("/v1/track", {"json": {"userId": "1"}, "auth": KEY}, 400, "event", "needs the name of the event"),
        ("/v1/track", {"json": {"event": "x"}, "auth": KEY}, 400, "userId", "needs a userId or an anonymousId"),
        ("/v1/track", {"json": TRACK | {"userId": ["1"]}, "auth": KEY}, 400, "userId", "must be a text"),
        ("/v1/alias", {"json": {"userId": "1"}, "auth": KEY}, 400, "previousId", "an alias needs both"),
        (
            "/v1/track",
            {"json": TRACK | {"properties": {"a": "x" * 33_000}}, "auth": KEY},
            400,
            None,
            "more than 32,768",
        ),
        ("/v1/batch", {"content": b" " * 600_000, "auth": KEY}, 413, None, "more than 512,000 bytes"),
        ("/v1/batch", {"json": {"batch": {}}, "auth": KEY}, 400, "batch", "must be an array with at least one"),
        ("/v1/batch", {"json": {"batch": [{"type": "x"}]}, "auth": KEY}, 400, "type", "must be one of identify"),
        ("/v1/track", {"content": b"no", "auth": KEY, "headers": {"Content-Encoding": "gzip"}}, 400, None, "not gzip"),
        (
            "/v1/track",
            {"content": gzip.compress(b" " * 9_000_000), "auth": KEY, "headers": {"Content-Encoding": "gzip"}},
            413,
            None,
            "more than 512,000 bytes",
        ),
        ("/v1/track", {"json": TRACK, "headers": {"Content-Encoding": "br"}, "auth": KEY}, 415, None, "not understood"),
        ("/v1/track", {"json": TRACK, "auth": ("wrong", "")}, 401, "writeKey", "no source has this write key"),
        ("/v1/track", {"json": TRACK}, 401, "writeKey", "is missing"),
        ("/v1/webhook/demo", {"content": EVENT}, 401, "X-Signature", "must be the hexadecimal HMAC-SHA1"),
        (
            "/v1/webhook/demo",
            {"content": EVENT, "headers": signature(b"x")},
            401,
            "X-Signature",
            "must be the hexadecimal",
        ),
        ("/v1/webhook/nobody", {"content": EVENT, "headers": signature(EVENT)}, 401, None, "no source with this name"),
        ("/v1/dance", {"json": TRACK, "auth": KEY}, 404, None, "the path /v1/dance does not exist"),
        ("/", {"json": TRACK, "auth": KEY}, 404, None, "the path / does not exist"),
    ],
)
def test_bad_input_is_answered_clearly_and_stores_nothing(
    pipeline: Pipeline, path: str, request_parts: dict[str, Any], status: int, field: str | None, text: str
) -> None:
    before = accepted(pipeline)

    answer = httpx.post(f"{pipeline.ingest_url}{path}", **request_parts)

    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert text in error["message"]
    assert error.get("field") == field
    assert "Traceback" not in answer.text
    assert accepted(pipeline) == before


def test_another_method_is_refused(pipeline: Pipeline) -> None:
    answer = httpx.get(f"{pipeline.ingest_url}/v1/track")

    assert (answer.status_code, answer.json()["error"]["message"]) == (405, "GET is not allowed at this path; use POST")


def test_one_bad_event_in_a_batch_of_a_hundred_leaves_the_others(pipeline: Pipeline) -> None:
    pipeline.redis.flushall()
    batch = [dict(event) for event in BATCH["batch"]]
    del batch[42]["userId"]

    answer = httpx.post(f"{pipeline.ingest_url}/v1/batch", json={"batch": batch}, auth=KEY)

    assert answer.status_code == 200
    (rejected,) = answer.json()["rejected"]
    assert (rejected["index"], rejected["field"]) == (42, "userId")
    wait_until(lambda: pipeline.stats().delivered_total == 99, "the others are delivered")
    assert {person["id"] for person in pipeline.people()} >= {f"u{n}" for n in range(100)} - {"u42"}


def test_a_full_queue_answers_503_with_retry_after_and_takes_nothing(redis_server: RedisServer) -> None:
    with Pipeline(redis_server.url, workers=0, SEGUE_QUEUE_LIMIT="50") as pipeline:
        answer = httpx.post(f"{pipeline.ingest_url}/v1/batch", json=BATCH, auth=KEY)

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert accepted(pipeline) == 0


def test_without_redis_ingest_is_alive_but_not_ready_and_refuses_with_503(redis_server: RedisServer) -> None:
    with Pipeline(redis_server.url, workers=0) as pipeline:
        pipeline.redis.config_set("maxclients", 1)
        pipeline.redis.client_kill_filter(_type="normal", skipme=True)
        try:
            alive, ready = (httpx.get(f"{pipeline.ingest_url}/{what}") for what in ("health", "ready"))
            answer = httpx.post(f"{pipeline.ingest_url}/v1/batch", json=BATCH, auth=KEY)
        finally:
            pipeline.redis.config_set("maxclients", 10_000)

        assert (alive.status_code, ready.status_code, answer.status_code) == (200, 503, 503)
        assert answer.headers["retry-after"]
        assert accepted(pipeline) == 0
        again = httpx.post(f"{pipeline.ingest_url}/v1/batch", json=BATCH, auth=KEY)
        assert (again.status_code, accepted(pipeline)) == (200, 100)
