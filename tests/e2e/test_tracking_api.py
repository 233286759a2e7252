"""Every way in: the calls of Segment's Tracking API as servers and browsers make them, read back from the queue."""

from __future__ import annotations

import base64
import gzip
import hmac
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from lanes.keys import base
from lanes.records import read_record
from mapping.envelope import unpack
from tests.conftest import RedisServer
from tests.pipeline import QUEUE, Pipeline

KEY = ("demo", "")
CALLS = {
    "identify": {"userId": "ada", "traits": {"plan": "pro"}},
    "track": {"userId": "ada", "event": "Bought"},
    "page": {"anonymousId": "a1", "name": "Home"},
    "screen": {"anonymousId": "a1", "name": "Start"},
    "group": {"userId": "ada", "groupId": "acme"},
    "alias": {"userId": "ada", "previousId": "a1"},
}
TRACK = CALLS["track"]


@pytest.fixture(scope="module")
def ingest(redis_server: RedisServer) -> Iterator[Pipeline]:
    with Pipeline(redis_server.url, workers=0) as running:
        yield running


def post(ingest: Pipeline, path: str, **request: Any) -> httpx.Response:
    answer = ingest.http.post(f"{ingest.ingest_url}{path}", **request)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"success": True}
    return answer


def taken(ingest: Pipeline) -> list[dict[str, Any]]:
    """The events that came onto the queue since it was asked last, in their order."""
    records = ingest.redis.hgetall(f"{base(QUEUE)}:event")
    ingest.redis.flushdb()
    return [unpack(read_record(records[sequence])[2])[1] for sequence in sorted(records, key=int)]


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("short", [False, True])
def test_the_path_says_the_type_in_full_or_as_analytics_js_writes_it(ingest: Pipeline, kind: str, short: bool) -> None:
    post(ingest, f"/v1/{kind[0] if short else kind}", json=CALLS[kind], auth=KEY)

    (event,) = taken(ingest)
    assert event.items() >= {"type": kind, **CALLS[kind]}.items()
    assert event["messageId"]
    assert event["receivedAt"]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import", "/v1/b"])
def test_a_batch_brings_its_events_in_their_order(ingest: Pipeline, path: str) -> None:
    batch = [{"type": kind, **call} for kind, call in CALLS.items()]

    post(ingest, path, json={"batch": batch, "context": {"ip": "8.8.8.8"}}, auth=KEY)

    events = taken(ingest)
    assert [event["type"] for event in events] == list(CALLS)
    assert {event["context"]["ip"] for event in events} == {"8.8.8.8"}


def test_a_browser_s_beacon_is_plain_text_with_the_write_key_in_it(ingest: Pipeline) -> None:
    body = orjson.dumps({**TRACK, "writeKey": "demo"})

    answer = post(
        ingest, "/v1/t", content=body, headers={"Content-Type": "text/plain", "Origin": "https://shop.example"}
    )

    assert answer.headers["access-control-allow-origin"] == "*"
    (event,) = taken(ingest)
    assert "writeKey" not in event


@pytest.mark.parametrize(
    "batch",
    [
        {"writeKey": "demo", "batch": [{"type": "track", **TRACK}]},
        {"batch": [{"type": "track", "writeKey": "demo", **TRACK}]},
    ],
)
def test_a_batch_may_carry_the_write_key_or_its_first_event_may(ingest: Pipeline, batch: dict[str, Any]) -> None:
    post(ingest, "/v1/batch", json=batch)

    assert len(taken(ingest)) == 1


def test_a_body_may_be_zipped(ingest: Pipeline) -> None:
    body = gzip.compress(orjson.dumps({"batch": [{"type": "track", **TRACK}]}))

    post(ingest, "/v1/batch", content=body, auth=KEY, headers={"Content-Encoding": "gzip"})

    assert len(taken(ingest)) == 1


def test_a_page_of_another_origin_may_send(ingest: Pipeline) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Headers": "authorization, content-type"}

    answer = ingest.http.options(f"{ingest.ingest_url}/v1/t", headers=asked)

    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert {"authorization", "content-type"} <= set(answer.headers["access-control-allow-headers"].split(", "))


def test_analytics_js_is_told_to_send_here(ingest: Pipeline) -> None:
    answer = ingest.http.get(f"{ingest.ingest_url}/v1/projects/demo/settings")
    segment = answer.json()["integrations"]["Segment.io"]

    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
    assert f"{segment['protocol']}://{segment['apiHost']}" == f"{ingest.ingest_url}/v1"
    assert segment["apiKey"] == "demo"
    assert ingest.http.get(f"{ingest.ingest_url}/v1/projects/other/settings").status_code == 404


def test_the_metrics_of_analytics_js_are_accepted_and_dropped(ingest: Pipeline) -> None:
    post(ingest, "/v1/m", json={"series": [{"type": "Counter", "metric": "analytics_js.invoke"}]})

    assert taken(ingest) == []


def test_a_message_id_that_comes_again_is_accepted_and_dropped(ingest: Pipeline) -> None:
    for _ in range(2):
        post(ingest, "/v1/track", json={**TRACK, "messageId": "m1"}, auth=KEY)

    assert [event["messageId"] for event in taken(ingest)] == ["m1"]


def test_an_array_of_the_webhook_is_signed_by_its_first_element(ingest: Pipeline) -> None:
    first = b'{"type": "track", "event": "one",  "userId": "1"}'
    signature = hmac.new(b"demo-secret", first, "sha1").hexdigest()
    body = b"[ " + first + b', {"type": "track", "event": "two", "userId": "1"}]'

    post(ingest, "/v1/webhook/demo", content=body, headers={"X-Signature": signature})

    assert [event["event"] for event in taken(ingest)] == ["one", "two"]


def test_a_user_name_in_basic_authentication_needs_no_password(ingest: Pipeline) -> None:
    encoded = base64.b64encode(b"demo").decode()

    post(ingest, "/v1/track", json=TRACK, headers={"Authorization": f"Basic {encoded}"})

    assert len(taken(ingest)) == 1
