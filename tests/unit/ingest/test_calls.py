"""Calls: authentication, batches, and what an offer holds of valid and invalid events."""

from __future__ import annotations

import base64
import gc
import hmac
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

import mapping
from ingest.access.sources import Source
from ingest.calls import Calls, Entries, Offer
from ingest.counters import Counters
from ingest.errors import Refusal
from ingest.events import MAX_BATCH_EVENTS
from mapping.envelope import JsonObject
from settings import Settings
from tests.logged import logged
from tests.secrets import CREDENTIALS, WEBHOOK_SECRET
from tests.unit.ingest.json_entries import json_entries

DESTINATIONS = mapping.destinations({"destinations": {"d": CREDENTIALS}})
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
WEB = Source(name="web", write_key="w", webhook_secret=WEBHOOK_SECRET, destinations=["d"])
SERVER = Source(name="server", write_key="v", destinations=["d"])
TRACK = {"type": "track", "event": "Bought", "userId": "1"}
LATE = TRACK | {"timestamp": "2026-01-05T11:00:00Z"}


class Counts(Counters):
    """Counters that a test can read."""

    @property
    def counts(self) -> dict[str, int]:
        return dict(+self._counts)


def calls(source: Source = WEB, counters: Counters | None = None) -> Calls:
    """Calls whose entries hold the event as JSON."""
    return Calls(
        [source, SERVER],
        json_entries,
        counters or Counters(),
        Settings(),
        DESTINATIONS,
    )


def events_of(offer: Offer) -> list[dict[str, Any]]:
    return [orjson.loads(entry.body) for (entry,) in offer.entries]


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


def read(body: Any, path: str = "batch", authorization: str = basic("w")) -> Any:
    return calls().read_call(path, authorization, orjson.dumps(body), NOW)


@pytest.mark.parametrize(
    ("authorization", "body", "source"),
    [
        (basic("w"), {"batch": [TRACK]}, "web"),
        (basic("v").replace("Basic", "BASIC"), {"batch": [TRACK]}, "server"),
        ("", {"batch": [TRACK], "writeKey": "v"}, "server"),
        ("", {"batch": [TRACK | {"writeKey": "v"}]}, "server"),
        ("Bearer x", {"batch": [TRACK], "writeKey": "v"}, "server"),
        ("Bearer v", {"batch": [TRACK]}, "server"),
        ("bearer v ", {"batch": [TRACK], "writeKey": "w"}, "server"),
        ("Basic %%%", {"batch": [TRACK], "writeKey": "v"}, "server"),
        (basic("staging"), {"batch": [TRACK], "writeKey": "v"}, "server"),  # of a site with a password
        (basic("staging"), {"batch": [TRACK | {"writeKey": "v"}]}, "server"),
        (basic("w"), {"batch": [TRACK], "writeKey": "v"}, "web"),
    ],
)
def test_the_write_key_names_the_source(authorization: str, body: Any, source: str) -> None:
    assert read(body, authorization=authorization).source.name == source


@pytest.mark.parametrize(
    ("authorization", "body", "text"),
    [
        ("", {"batch": [TRACK]}, "writeKey: is missing; send it as the user name of basic authentication"),
        ("", {"batch": ["text"]}, "writeKey: is missing"),
        (basic("x"), {"batch": [TRACK]}, "writeKey: no source has this write key"),
        ("", {"batch": [TRACK], "writeKey": ["w"]}, "writeKey: no source has this write key"),
    ],
)
def test_a_call_without_a_valid_write_key_is_refused(authorization: str, body: Any, text: str) -> None:
    with pytest.raises(Refusal, match=text) as refused:
        read(body, authorization=authorization)

    assert (refused.value.status, refused.value.field) == (401, "writeKey")


def test_write_keys_of_events_count_where_nothing_else_authenticates() -> None:
    keyed = [TRACK | {"writeKey": "w"}, TRACK | {"writeKey": "v"}, TRACK]
    offer = read({"batch": keyed}, authorization="")

    ((index, refusal),) = offer.rejected
    assert (index, refusal.status, refusal.message) == (1, 401, "writeKey: must be the write key of the request")
    assert len(offer.entries) == 2
    for authorization, members in ((basic("w"), {}), ("", {"writeKey": "w"})):
        assert not read({"batch": keyed, **members}, authorization=authorization).rejected


@pytest.mark.parametrize("write_key", ["keyOfTheSegmentSource", "v", 5, None, ["w"]])
def test_the_write_key_of_another_pipeline_is_dropped(write_key: Any) -> None:
    event = TRACK | {"writeKey": write_key}
    signed = hmac.new(WEBHOOK_SECRET.encode(), orjson.dumps(event), "sha1").hexdigest()
    offers = [
        read(event, "track"),
        *(read({"batch": [event]}, path) for path in ("batch", "import")),
        calls().read_webhook("web", signed, orjson.dumps(event), NOW),
    ]

    for offer in offers:
        (stored,) = events_of(offer)
        assert offer.source.name == "web"
        assert "writeKey" not in stored


def test_an_event_that_is_not_json_is_rejected_with_its_index() -> None:
    raw = b'{"batch": [%b, {"v": NaN}, %b]}' % (orjson.dumps(TRACK), orjson.dumps(TRACK))

    offer = calls().read_call("batch", basic("w"), raw, NOW)

    ((index, refusal),) = offer.rejected
    assert (index, refusal.status, len(offer.entries)) == (1, 400, 2)
    assert refusal.message.startswith("the event is not JSON: ")


@pytest.mark.parametrize(
    ("authorization", "members"), [("", b""), (basic("x"), b', "writeKey": "y"'), ("Bearer x", b', "writeKey": 5')]
)
def test_a_body_that_is_not_json_is_read_by_parts_only_for_a_write_key(
    monkeypatch: pytest.MonkeyPatch, authorization: str, members: bytes
) -> None:
    """Reading it by parts takes its time. A sender without a key must not cause that."""
    monkeypatch.setattr("ingest.partial_json.read", lambda _: pytest.fail("it was read by parts"))

    with pytest.raises(Refusal, match="the body is not JSON") as refused:
        calls().read_call("batch", authorization, b'{"batch": [NaN, {}]%b}' % members, NOW)

    assert refused.value.status == 400


@pytest.mark.parametrize("key", [b'"writeKey":"w"', b'"writeKey" : "w"'])
def test_the_write_key_of_a_body_that_is_not_json_authenticates(key: bytes) -> None:
    raw = b'{%b, "batch": [NaN, %b]}' % (key, orjson.dumps(TRACK))

    offer = calls().read_call("batch", "", raw, NOW)

    assert (offer.source.name, len(offer.entries), len(offer.rejected)) == ("web", 1, 1)


def test_a_batch_that_is_not_json_inside_a_single_event_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the events of a batch are read one by one.

    The levels of the event are not counted: `Unreadable` refers to its class, and so to most of the process.
    """
    monkeypatch.setattr("ingest.calls.may_be_deep", lambda *_: pytest.fail("an event that is no JSON"))
    raw = b'{"type":"track","event":"a","userId":"u","batch":[{"a":1},nothing]}'
    signed = hmac.new(WEBHOOK_SECRET.encode(), raw, "sha1").hexdigest()

    for read_raw in (
        lambda: calls().read_call("track", basic("w"), raw, NOW),
        lambda: calls().read_webhook("web", signed, raw, NOW),
    ):
        with pytest.raises(Refusal, match="batch: the event is not JSON") as refused:
            read_raw()
        assert refused.value.status == 400


@pytest.mark.parametrize("others", [0, 1, 20])
@pytest.mark.parametrize("levels", [65, 150, 300, 1000])
def test_an_event_of_too_many_levels_is_rejected_before_anything_is_encoded(levels: int, others: int) -> None:
    """Above some 150 levels, encoding the event could end the process."""
    deep = b'["before",' * (levels - 1) + b"1" + b",1e300,null]" * (levels - 1)
    odd = b'{"type":"track","event":"e","userId":"1","properties":%b}' % deep
    good = orjson.dumps(TRACK)

    offer = calls().read_call("batch", basic("w"), b'{"batch":[%b]}' % b",".join([good] * others + [odd]), NOW)

    ((index, refusal),) = offer.rejected
    assert (index, refusal.status, refusal.field, len(offer.entries)) == (others, 400, "properties", others)
    with pytest.raises(Refusal, match="properties: is nested too deeply: an event has at most 64 levels"):
        calls().read_call("track", basic("w"), odd, NOW)
    signed = hmac.new(WEBHOOK_SECRET.encode(), odd, "sha1").hexdigest()
    assert calls().read_webhook("web", signed, odd, NOW).rejected[0][1].field == "properties"


def test_an_offer_holds_the_valid_events_in_their_order_and_the_others_with_their_index() -> None:
    offer = read({"batch": [TRACK | {"event": "a"}, "text", TRACK | {"event": "b"}, {"type": "track", "userId": "1"}]})

    assert [orjson.loads(entry.body)["event"] for (entry,) in offer.entries] == ["a", "b"]
    assert [(index, refusal.field) for index, refusal in offer.rejected] == [(1, None), (3, "event")]


@pytest.mark.parametrize(
    ("batch", "status", "text"),
    [
        ({}, 400, "batch: must be an array with at least one event"),
        ([], 400, "batch: must be an array with at least one event"),
        ([1] * (MAX_BATCH_EVENTS + 1), 413, "batch: must have at most 2,500 events, not 2,501"),
    ],
)
def test_a_batch_is_an_array_of_limited_length(batch: Any, status: int, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        read({"batch": batch})

    assert (refused.value.status, refused.value.message, refused.value.field) == (status, text, "batch")


@pytest.mark.parametrize("path", ["batch", "import"])
def test_the_clock_of_the_sender_is_corrected(path: str) -> None:
    (event,) = events_of(read({"batch": [LATE], "sentAt": "2026-01-05T13:00:00Z"}, path))

    assert (event["timestamp"], event["sentAt"]) == ("2026-01-05T10:00:00.000Z", "2026-01-05T13:00:00Z")


def test_a_batch_that_is_sent_again_late_keeps_its_times() -> None:
    """The first request shows that the clock of the client is right; clients of other sources show nothing of it."""
    reader = calls()
    right = TRACK | {"sentAt": "2026-01-05T12:00:00Z", "timestamp": "2026-01-05T11:59:59Z"}
    late = orjson.dumps({"batch": [LATE | {"timestamp": "2026-01-05T08:59:59Z"}], "sentAt": "2026-01-05T09:00:00Z"})

    reader.read_call("track", basic("w"), orjson.dumps(right), NOW)

    for write_key, expected in (("w", "2026-01-05T08:59:59.000Z"), ("v", "2026-01-05T11:59:59.000Z")):
        (event,) = events_of(reader.read_call("batch", basic(write_key), late, NOW))
        assert event["timestamp"] == expected


def test_a_time_that_cannot_be_read_rejects_the_event_of_an_import() -> None:
    batch = {"batch": [TRACK | {"timestamp": 1700000000}, TRACK | {"timestamp": "soon"}, TRACK]}
    offer = read(batch, "import")

    assert events_of(offer)[0]["timestamp"] == "2023-11-14T22:13:20.000Z"
    assert [(index, refusal.field) for index, refusal in offer.rejected] == [(1, "timestamp")]
    assert len(read(batch).entries) == 3


@pytest.mark.parametrize(
    ("settings", "path", "members", "expected"),
    [
        ({}, "batch", {}, "8.8.8.8"),
        ({"collect_ip": False}, "batch", {}, None),
        ({}, "import", {}, None),
        ({}, "import", {"sentAt": "2026-01-05T12:00:00Z"}, "8.8.8.8"),
    ],
)
def test_the_address_of_the_client_is_stored_in_live_events(
    settings: dict[str, Any], path: str, members: dict[str, Any], expected: str | None
) -> None:
    body = {"batch": [TRACK | {"context": {"library": {"name": "analytics.js"}}}], **members}
    source = WEB.model_copy(update=settings)

    offer = calls(source).read_call(path, basic("w"), orjson.dumps(body), NOW, "8.8.8.8")

    (event,) = events_of(offer)
    assert event["context"].get("ip") == expected


def test_an_alias_of_a_person_with_the_same_person_is_dropped_and_counted() -> None:
    counters = Counts()
    alias = {"type": "alias", "userId": "u", "previousId": "u"}

    for path, body in (("alias", alias), ("batch", {"batch": [alias, TRACK]})):
        offer = calls(counters=counters).read_call(path, basic("w"), orjson.dumps(body), NOW)
        assert offer.rejected == []
        assert [event["type"] for event in events_of(offer)] == ([] if path == "alias" else ["track"])
    assert counters.counts == {"web:dropped": 2}


def test_an_unlikely_id_is_counted_and_the_log_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counts()
    body = orjson.dumps({"batch": [TRACK | {"userId": "undefined"}, TRACK | {"anonymousId": "null"}]})

    offer = calls(counters=counters).read_call("batch", basic("w"), body, NOW)

    assert len(offer.entries) == 2
    assert counters.counts == {"web:unlikely_ids": 2}
    assert logged(caplog) == [{"event": "unlikely_id", "source": "web", "field": "userId"}]


def test_a_source_can_refuse_unlikely_ids() -> None:
    counters = Counts()
    source = WEB.model_copy(update={"unlikely_ids": "refuse"})
    body = orjson.dumps({"batch": [TRACK | {"userId": "undefined"}, TRACK]})

    offer = calls(source, counters).read_call("batch", basic("w"), body, NOW)

    ((index, refusal),) = offer.rejected
    assert (index, refusal.status, refusal.field) == (0, 400, "userId")
    assert refusal.message == "userId: must identify one person or group, which 'undefined' does not"
    assert counters.counts == {"web:unlikely_ids": 1, "web:rejected": 1}
    with pytest.raises(Refusal, match="userId: must identify"):
        calls(source).read_call("track", basic("w"), orjson.dumps(TRACK | {"userId": "NaN"}), NOW)


def test_times_are_counted() -> None:
    counters = Counts()
    body = orjson.dumps({"batch": [TRACK | {"timestamp": "soon"}, TRACK | {"timestamp": "2099-01-01T00:00:00Z"}]})

    calls(counters=counters).read_call("batch", basic("w"), body, NOW)

    assert counters.counts == {"web:unreadable_times": 1, "web:future_times": 1}


def test_a_webhook_needs_a_source_with_a_secret_and_a_valid_signature() -> None:
    raw = orjson.dumps([TRACK, TRACK])
    signed = hmac.new(WEBHOOK_SECRET.encode(), orjson.dumps(TRACK), "sha1").hexdigest()

    assert len(calls().read_webhook("web", signed, raw, NOW).entries) == 2
    assert (
        len(calls().read_webhook("web", hmac.new(WEBHOOK_SECRET.encode(), raw, "sha1").hexdigest(), raw, NOW).entries)
        == 2
    )
    for name in ("server", "web", "none"):  # the response does not tell which sources have a secret
        with pytest.raises(Refusal) as refused:
            calls().read_webhook(name, "", raw, NOW)
        assert (refused.value.status, refused.value.field) == (401, "X-Signature")
        assert refused.value.message == (
            "X-Signature: must be the hexadecimal HMAC-SHA1 of the body with the webhook secret of this source"
        )


def test_an_identify_of_react_native_goes_before_the_events_of_the_same_time() -> None:
    time = "2026-01-05T11:59:59.000Z"
    acts = [
        TRACK | {"timestamp": time},
        {"type": "identify", "userId": "1", "timestamp": time},
        LATE | {"event": "Left"},
    ]
    context = {"library": {"name": "@segment/analytics-react-native"}}

    for library, order in ((context, ["identify", "track", "track"]), ({}, ["track", "identify", "track"])):
        offer = read({"batch": acts, "context": library})
        assert [event["type"] for event in events_of(offer)] == order


@pytest.mark.parametrize(
    ("path", "source", "settings", "wait_ms"),
    [
        ("batch", WEB, {}, 1_000),
        ("webhook", WEB, {}, 2_000),
        ("import", WEB, {}, None),
        ("webhook", WEB, {"reorder_ms": 500}, 500),
        ("import", WEB, {"reorder_ms": 500}, None),
        ("webhook", WEB.model_copy(update={"reorder_ms": 300}), {"reorder_ms": 500}, 300),
        ("import", WEB.model_copy(update={"reorder_ms": 300}), {}, 300),
    ],
)
def test_events_wait_as_their_way_and_their_source_say(
    path: str, source: Source, settings: dict[str, Any], wait_ms: int | None
) -> None:
    ranks: list[bytes] = []

    def entries(_source: Source, _events: Any, _packed: Any, offered: Sequence[bytes]) -> list[Entries]:
        ranks.extend(offered)
        return [()]

    reader, raw = Calls([source], entries, Counters(), Settings(**settings), DESTINATIONS), orjson.dumps(TRACK)
    if path == "webhook":
        reader.read_webhook("web", hmac.new(WEBHOOK_SECRET.encode(), raw, "sha1").hexdigest(), raw, NOW)
    else:
        reader.read_call(path, basic("w"), orjson.dumps({"batch": [TRACK]}), NOW)

    assert [int(rank[-5:]) if rank else None for rank in ranks] == [wait_ms]


def test_what_is_remembered_of_clients_does_not_grow_with_their_ids() -> None:
    """Each of many thousand clients is remembered; the ids of a client may have the length of an event."""
    limited = WEB.model_copy(update={"client_events_per_s": 1000.0})
    reader, requests = calls(limited), 100

    def event(number: int) -> JsonObject:
        ids = {name: f"{number}{name}".ljust(9_000, "x") for name in ("userId", "anonymousId", "messageId")}
        return TRACK | ids | {"context": {"userAgent": f"{number}", "library": {"name": "analytics.js"}}}

    def request(number: int) -> None:
        at = f"2026-01-05T11:59:{number % 60:02}.{number:03}Z"
        body = {"sentAt": at, "batch": [event(number) | {"timestamp": at}]}
        reader.read_call("batch", basic("w"), orjson.dumps(body), NOW)

    request(requests)
    tracemalloc.start()
    try:
        for number in range(requests):
            request(number)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < requests * 3_000
