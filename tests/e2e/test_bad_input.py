"""Invalid input gets a clear error and stores nothing; valid events of the same request are delivered."""

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
        ("/v1/track", {"json": {"userId": "1"}, "auth": KEY}, 400, "event", "must be a string, the name of the event"),
        ("/v1/track", {"json": {"event": "x"}, "auth": KEY}, 400, "userId", "needs a userId or an anonymousId"),
        (
            "/v1/track",
            {"json": TRACK | {"userId": ["1"]}, "auth": KEY},
            400,
            "userId",
            "must be a string or a number, not ['1']",
        ),
        ("/v1/alias", {"json": {"userId": "1"}, "auth": KEY}, 400, "previousId", "an alias needs both"),
        (
            "/v1/track",
            {"json": TRACK | {"properties": {"a": "x" * 33_000}}, "auth": KEY},
            400,
            None,
            "must have at most 32,768 bytes, not ",
        ),
        ("/v1/batch", {"content": b" " * 600_000, "auth": KEY}, 413, None, "at most 512,000 bytes"),
        ("/v1/batch", {"json": {"batch": {}}, "auth": KEY}, 400, "batch", "must be an array with at least one"),
        ("/v1/batch", {"json": {"batch": [{"type": "x"}]}, "auth": KEY}, 400, "type", "must be one of identify, track"),
        ("/v1/track", {"content": b"no", "auth": KEY, "headers": {"Content-Encoding": "gzip"}}, 400, None, "not gzip"),
        (
            "/v1/track",
            {"content": gzip.compress(b" " * 9_000_000), "auth": KEY, "headers": {"Content-Encoding": "gzip"}},
            413,
            None,
            "at most 512,000 bytes",
        ),
        (
            "/v1/track",
            {"json": TRACK, "headers": {"Content-Encoding": "br"}, "auth": KEY},
            415,
            None,
            "must be gzip, deflate or absent, not br",
        ),
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
        (
            "/v1/webhook/unknown",
            {"content": EVENT, "headers": signature(EVENT)},
            401,
            "X-Signature",
            "must be the hexadecimal",
        ),
        ("/v1/unknown", {"json": TRACK, "auth": KEY}, 404, None, "the path /v1/unknown does not exist"),
        ("/", {"json": TRACK, "auth": KEY}, 404, None, "the path / does not exist"),
    ],
)
def test_invalid_input_gets_a_clear_error_and_stores_nothing(
    pipeline: Pipeline, path: str, request_parts: dict[str, Any], status: int, field: str | None, text: str
) -> None:
    before = accepted(pipeline)

    response = httpx.post(f"{pipeline.ingest_url}{path}", **request_parts)

    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert text in error["message"]
    assert error.get("field") == field
    assert "Traceback" not in response.text
    assert accepted(pipeline) == before


def test_a_method_other_than_post_is_refused(pipeline: Pipeline) -> None:
    response = httpx.get(f"{pipeline.ingest_url}/v1/track")

    assert (response.status_code, response.json()["error"]["message"]) == (
        405,
        "GET is not allowed at this path; use POST",
    )


def test_one_invalid_event_of_a_batch_does_not_affect_the_others(pipeline: Pipeline) -> None:
    pipeline.redis.flushall()
    batch = [dict(event) for event in BATCH["batch"]]
    del batch[42]["userId"]

    response = httpx.post(f"{pipeline.ingest_url}/v1/batch", json={"batch": batch}, auth=KEY)

    assert response.status_code == 200
    (rejected,) = response.json()["rejected"]
    assert (rejected["index"], rejected["field"]) == (42, "userId")
    wait_until(lambda: pipeline.stats().delivered_total == 99, "the other events are delivered")
    assert {person["id"] for person in pipeline.people()} >= {f"u{n}" for n in range(100)} - {"u42"}


def test_a_full_queue_answers_429_with_retry_after_and_stores_nothing(redis_server: RedisServer) -> None:
    with Pipeline(redis_server.url, workers=0, SEGUE_QUEUE_LIMIT="50") as pipeline:
        response = httpx.post(f"{pipeline.ingest_url}/v1/batch", json=BATCH, auth=KEY)

        assert (response.status_code, response.headers["retry-after"]) == (429, "2")
        assert accepted(pipeline) == 0


def test_without_redis_ingest_is_healthy_but_not_ready_and_answers_429(redis_server: RedisServer) -> None:
    with Pipeline(redis_server.url, workers=0) as pipeline:
        pipeline.redis.config_set("maxclients", 1)
        pipeline.redis.client_kill_filter(_type="normal", skipme=True)
        try:
            health, ready = (httpx.get(f"{pipeline.ingest_url}/{path}") for path in ("health", "ready"))
            response = httpx.post(f"{pipeline.ingest_url}/v1/batch", json=BATCH, auth=KEY)
        finally:
            pipeline.redis.config_set("maxclients", 10_000)

        assert (health.status_code, ready.status_code, response.status_code) == (200, 503, 429)
        assert response.headers["retry-after"]
        assert accepted(pipeline) == 0
        again = httpx.post(f"{pipeline.ingest_url}/v1/batch", json=BATCH, auth=KEY)
        assert (again.status_code, accepted(pipeline)) == (200, 100)
