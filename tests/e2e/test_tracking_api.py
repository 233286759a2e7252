"""The calls of Segment's Tracking API, as servers and browsers make them, read back from the queue."""

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
    response = ingest.http.post(f"{ingest.ingest_url}{path}", **request)
    assert response.status_code == 200, response.text
    assert response.json() == {"success": True}
    return response


def appended(ingest: Pipeline) -> list[dict[str, Any]]:
    """Return the events that were appended since the last call, in their order, and empty the queue."""
    records = ingest.redis.hgetall(f"{base(QUEUE)}:event")
    ingest.redis.flushdb()
    return [unpack(read_record(records[sequence])[2])[1] for sequence in sorted(records, key=int)]


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("short", [False, True])
def test_the_path_states_the_type_in_full_or_in_short(ingest: Pipeline, kind: str, short: bool) -> None:
    post(ingest, f"/v1/{kind[0] if short else kind}", json=CALLS[kind], auth=KEY)

    (event,) = appended(ingest)
    assert event.items() >= {"type": kind, **CALLS[kind]}.items()
    assert event["messageId"]
    assert event["receivedAt"]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import", "/v1/b"])
def test_the_events_of_a_batch_are_appended_in_their_order(ingest: Pipeline, path: str) -> None:
    batch = [{"type": kind, **call} for kind, call in CALLS.items()]

    post(ingest, path, json={"batch": batch, "context": {"ip": "8.8.8.8"}}, auth=KEY)

    events = appended(ingest)
    assert [event["type"] for event in events] == list(CALLS)
    assert {event["context"]["ip"] for event in events} == {"8.8.8.8"}


def test_a_beacon_of_a_browser_is_plain_text_with_the_write_key_in_the_body(ingest: Pipeline) -> None:
    body = orjson.dumps({**TRACK, "writeKey": "demo"})

    response = post(
        ingest, "/v1/t", content=body, headers={"Content-Type": "text/plain", "Origin": "https://shop.example"}
    )

    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    (event,) = appended(ingest)
    assert "writeKey" not in event


@pytest.mark.parametrize(
    "batch",
    [
        {"writeKey": "demo", "batch": [{"type": "track", **TRACK}]},
        {"batch": [{"type": "track", "writeKey": "demo", **TRACK}]},
    ],
)
def test_the_write_key_may_be_in_the_batch_or_in_its_first_event(ingest: Pipeline, batch: dict[str, Any]) -> None:
    post(ingest, "/v1/batch", json=batch)

    assert len(appended(ingest)) == 1


def test_a_body_may_be_compressed_with_gzip(ingest: Pipeline) -> None:
    body = gzip.compress(orjson.dumps({"batch": [{"type": "track", **TRACK}]}))

    post(ingest, "/v1/batch", content=body, auth=KEY, headers={"Content-Encoding": "gzip"})

    assert len(appended(ingest)) == 1


def test_a_page_of_another_origin_may_send_events(ingest: Pipeline) -> None:
    headers = {"Origin": "https://shop.example", "Access-Control-Request-Headers": "authorization, content-type"}

    response = ingest.http.options(f"{ingest.ingest_url}/v1/t", headers=headers)

    assert (response.status_code, response.headers["access-control-allow-origin"]) == (204, "https://shop.example")
    assert "POST" in response.headers["access-control-allow-methods"]
    assert {"authorization", "content-type"} <= set(response.headers["access-control-allow-headers"].split(", "))


def test_the_settings_document_directs_analytics_js_to_this_endpoint(ingest: Pipeline) -> None:
    response = ingest.http.get(f"{ingest.ingest_url}/v1/projects/demo/settings")
    segment = response.json()["integrations"]["Segment.io"]

    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "*")
    assert f"{segment['protocol']}://{segment['apiHost']}" == f"{ingest.ingest_url}/v1"
    assert segment["apiKey"] == "demo"
    assert ingest.http.get(f"{ingest.ingest_url}/v1/projects/other/settings").status_code == 404


def test_the_metrics_of_analytics_js_are_accepted_and_discarded(ingest: Pipeline) -> None:
    post(ingest, "/v1/m", json={"series": [{"type": "Counter", "metric": "analytics_js.invoke"}]})

    assert appended(ingest) == []


def test_a_repeated_message_id_is_accepted_and_dropped(ingest: Pipeline) -> None:
    for _ in range(2):
        post(ingest, "/v1/track", json={**TRACK, "messageId": "m1"}, auth=KEY)

    assert [event["messageId"] for event in appended(ingest)] == ["m1"]


def test_an_array_of_the_webhook_is_authenticated_by_its_first_element(ingest: Pipeline) -> None:
    first = b'{"type": "track", "event": "one",  "userId": "1"}'
    signature = hmac.new(b"demo-secret", first, "sha1").hexdigest()
    body = b"[ " + first + b', {"type": "track", "event": "two", "userId": "1"}]'

    post(ingest, "/v1/webhook/demo", content=body, headers={"X-Signature": signature})

    assert [event["event"] for event in appended(ingest)] == ["one", "two"]


def test_basic_authentication_needs_no_password(ingest: Pipeline) -> None:
    encoded = base64.b64encode(b"demo").decode()

    post(ingest, "/v1/track", json=TRACK, headers={"Authorization": f"Basic {encoded}"})

    assert len(appended(ingest)) == 1
