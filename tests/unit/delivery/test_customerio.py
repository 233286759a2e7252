"""Reading the Track API's responses, over httpx's own mock transport: only the socket is replaced."""

from __future__ import annotations

import gc
import gzip
import json
import threading
import time
import tracemalloc
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import httpx
import orjson
import pytest

import mapping
from delivery.batching import Request, encode
from delivery.customerio import TrackApi
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, RetryLater, Split
from mapping import Operation
from mapping.operation import BATCH_PATH


def operation(name: str) -> Operation:
    return Operation(0, "trackEvent", "event", "/api/v2/entity", {"type": "person", "action": "event", "name": name})


def batch(*names: str) -> Request:
    return Request(
        BATCH_PATH, tuple(encode(at, 0, operation(name), operation(name).body) for at, name in enumerate(names))
    )


def send(respond: Callable[[httpx.Request], httpx.Response], request: Request) -> list[Outcome]:
    api = TrackApi("https://track.example", "site", "key", 5.0, httpx.MockTransport(respond))
    return api.send(request)


def responding(status: int, **arguments: object) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, **arguments)  # type: ignore[arg-type]


def test_a_batch_is_sent_as_one_authenticated_request() -> None:
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    assert send(respond, batch("a", "b")) == [Delivered(), Delivered()]
    assert [str(request.url) for request in seen] == ["https://track.example/api/v2/batch"]
    assert seen[0].headers["authorization"] == httpx.BasicAuth("site", "key")._auth_header
    assert orjson.loads(seen[0].content) == {"batch": [operation("a").body, operation("b").body]}


def test_a_request_with_a_response_is_freed_without_a_garbage_collection() -> None:
    seen: list[weakref.ref[httpx.Request]] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(weakref.ref(request))
        return httpx.Response(200, json={})

    gc.disable()
    try:
        send(respond, batch("a", "b"))
        assert [request() for request in seen] == [None]
    finally:
        gc.enable()


def test_a_207_rejects_the_items_that_it_names_and_no_others() -> None:
    errors = [
        {"batch_index": 1, "reason": "invalid", "field": "attributes.plan", "message": "too long"},
        {"batch_index": 2, "reason": "required"},
    ]

    outcomes = send(responding(207, json={"errors": errors}), batch("a", "b", "c"))

    assert outcomes[0] == Delivered()
    assert [outcome.reason for outcome in outcomes[1:] if isinstance(outcome, Rejected)] == [
        "attributes.plan: too long (invalid)",
        "required",
    ]


def test_errors_in_a_200_count_as_well() -> None:
    outcomes = send(responding(200, json={"errors": [{"reason": "invalid"}]}), batch("a"))

    assert isinstance(outcomes[0], Rejected)


@pytest.mark.parametrize(
    "faults",
    [
        [{"reason": "invalid"}],
        [{"batch_index": None}],
        [{"batch_index": 99}],
        [{"batch_index": -1}],
        [{"batch_index": "1"}],
        [{"batch_index": 1.0}],
        [{"batch_index": True}],
        [{"batch_index": 0, "reason": "invalid"}, "nonsense"],
        [],
        None,
    ],
)
def test_after_a_207_with_a_fault_that_names_no_item_the_whole_request_is_sent_again(faults: object) -> None:
    outcomes = send(responding(207, json={"errors": faults}), batch("a", "b"))

    assert [type(outcome) for outcome in outcomes] == [RetryLater, RetryLater]


@pytest.mark.parametrize("content", [b"{}\n", b'{"errors":[]}', b'{"errors":null}'])
def test_a_200_with_the_body_of_the_track_api_is_an_acceptance(content: bytes) -> None:
    assert send(responding(200, content=content), batch("a", "b")) == [Delivered(), Delivered()]


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b""),
        (200, b"<html><body>Please log in</body></html>"),
        (200, b"[]"),
        (200, b"true"),
        (200, b'{"errors": 3}'),
        (200, b'{"success": true}'),
        (200, b'{"error": "not here"}'),
        (201, b"{}"),
        (202, b"{}"),
        (204, b""),
        (207, b"<html></html>"),
    ],
)
def test_any_other_2xx_settles_nothing_and_pauses_the_destination(status: int, content: bytes) -> None:
    outcomes = send(responding(status, content=content), batch("a", "b"))

    assert [type(outcome) for outcome in outcomes] == [Paused, Paused]
    assert f"HTTP {status}" in getattr(outcomes[0], "reason", "")


REFUSAL = b'{"errors":[{"reason":"invalid","field":"name","message":"is too long"}]}'


@pytest.mark.parametrize(
    ("status", "count", "kind", "content"),
    [
        (400, 1, Rejected, REFUSAL),
        (400, 1, Rejected, b'{"meta":{"error":"no primary"}}'),
        (400, 2, Split, REFUSAL),
        (400, 1, Paused, b"<html>Bad Request</html>"),
        (400, 2, Paused, b""),
        (400, 2, Paused, b'{"message":"Bad Request"}'),
        (422, 1, Rejected, REFUSAL),
        (422, 2, Split, REFUSAL),
        (413, 1, Rejected, b"<html>Too Large</html>"),
        (413, 3, Split, b""),
        (401, 2, Paused, b""),
        (403, 1, Paused, b""),
        (404, 2, Paused, REFUSAL),
        *((status, 1, Paused, REFUSAL) for status in (402, 405, 406, 407, 409, 410, 415, 417, 418, 421, 431, 451)),
        (408, 1, RetryLater, b""),
        (425, 1, RetryLater, b""),
        (429, 2, RetryLater, b""),
        (500, 1, RetryLater, REFUSAL),
        (503, 1, RetryLater, b""),
        (522, 1, RetryLater, b""),
        (999, 1, RetryLater, b""),
        (307, 2, Paused, b""),
    ],
)
def test_each_status_has_its_outcome(status: int, count: int, kind: type, content: bytes) -> None:
    outcomes = send(responding(status, content=content), batch(*"abc"[:count]))

    assert [type(outcome) for outcome in outcomes] == [kind] * count


@pytest.mark.parametrize("status", [200, 400, 503])
def test_a_body_without_end_is_read_up_to_a_bound(status: int) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    outcome = send(responding(status, content=endless()), batch("a"))[0]

    assert isinstance(outcome, RetryLater if status == 503 else Paused)
    assert sent < 1_200_000


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_compressed_body_is_decompressed_up_to_a_bound(compress: Callable[[bytes], bytes]) -> None:
    def respond(body: bytes) -> Outcome:
        headers = {"Content-Encoding": "gzip" if compress is gzip.compress else "deflate"}
        return send(responding(200, stream=httpx.ByteStream(body), headers=headers), batch("a"))[0]

    assert respond(compress(b"{}")) == Delivered()
    bomb = compress(b"{}" + b" " * 50_000_000)
    tracemalloc.start()
    try:
        assert isinstance(respond(bomb), Paused)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_truncated_compressed_body_is_no_acceptance() -> None:
    compressed = gzip.compress(b"{}" + b" " * 1000)[:-8]
    headers = {"Content-Encoding": "gzip"}

    outcome = send(responding(200, stream=httpx.ByteStream(compressed), headers=headers), batch("a"))[0]

    assert isinstance(outcome, Paused)


@pytest.mark.parametrize("url", ["http://xn--a.example", "http://a..b"])
def test_a_host_that_cannot_be_looked_up_is_no_response(url: str) -> None:
    outcome = TrackApi(url, "site", "key", 1.0).send(batch("a"))[0]

    assert isinstance(outcome, RetryLater)
    assert outcome.reason.startswith("no response: ")


def test_a_fault_with_members_that_are_no_texts_is_read() -> None:
    deep: object = "x"
    for _ in range(900):
        deep = [deep]
    faults = [{"batch_index": 0, "message": deep, "field": 7, "reason": "invalid"}]

    outcome = send(responding(207, content=json.dumps({"errors": faults}).encode()), batch("a", "b"))

    assert isinstance(outcome[0], Rejected)
    assert outcome[0].reason == "invalid"
    assert outcome[1] == Delivered()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", Rejected),
        (REFUSAL, Rejected),
        (b'{"meta":{"error":"no such delivery"}}', Rejected),
        (b'{"detail":"Not Found"}', Paused),
        (b'{"message":"no Route matched with those values"}', Paused),
        (b"<html></html>", Paused),
    ],
)
def test_a_404_of_another_service_buries_no_delivery_report(content: bytes, kind: type) -> None:
    """Gateways and frameworks respond with JSON of their own where there is no such path."""
    [outcome] = send(responding(404, content=content), Request("/api/v1/metrics", batch("a").items))

    assert type(outcome) is kind


def test_another_region_and_a_wrong_address_pause_the_destination_with_the_reason() -> None:
    redirected = send(responding(307, headers={"Location": "https://eu.example/api/v2/batch"}), batch("a"))[0]
    wrong_address = send(responding(404), batch("a"))[0]

    assert isinstance(redirected, Paused)
    assert "https://eu.example/api/v2/batch" in redirected.reason
    assert isinstance(wrong_address, Paused)


def test_a_response_that_does_not_end_in_time_is_no_response() -> None:
    def trickle() -> Iterator[bytes]:
        for _ in range(200):
            time.sleep(0.01)
            yield b" "

    api = TrackApi(
        "https://track.example", "site", "key", 0.05, httpx.MockTransport(responding(200, content=trickle()))
    )

    outcome = api.send(batch("a"))[0]

    assert isinstance(outcome, RetryLater)
    assert outcome.response.status is None


class Dripping(BaseHTTPRequestHandler):
    """Responds with a head that comes byte by byte."""

    def do_POST(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        with suppress(OSError):  # the client has gone
            for _ in range(200):
                self.wfile.write(b"x")
                time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def test_a_head_that_does_not_end_in_time_is_no_response() -> None:
    """The lease of the claim ends soon after, and another worker sends the same events."""
    with HTTPServer(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        [outcome] = TrackApi(f"http://127.0.0.1:{server.server_port}", "site", "key", 0.3).send(batch("a"))

        assert isinstance(outcome, RetryLater)
        assert outcome.reason.startswith("no response: ReadTimeout")
        server.shutdown()


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.ReadError("reset")])
def test_a_request_without_a_response_may_be_sent_again(error: httpx.HTTPError) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    outcome = send(fail, batch("a"))[0]

    assert isinstance(outcome, RetryLater)
    assert outcome.response.status is None


def test_retry_after_may_be_seconds_or_a_date_and_is_capped() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    far = "Fri, 31 Dec 9999 23:59:59 -0000"
    waits = []
    for value in ("7", date, "99999", "soon", "-3", "nan", "inf", far, ""):
        outcome = send(responding(429, headers={"Retry-After": value}), batch("a"))[0]
        assert isinstance(outcome, RetryLater)
        waits.append(outcome.after_s)

    assert waits[0] == 7
    assert waits[1] is not None
    assert 0 < waits[1] <= 60
    assert waits[2:] == [300, None, 0, None, 300, 300, None]


def test_the_first_usable_retry_after_of_several_counts() -> None:
    """A proxy may add one of its own."""
    headers = [("Retry-After", "soon"), ("Retry-After", "7"), ("Retry-After", "9")]

    [outcome] = send(responding(429, headers=headers), batch("a"))

    assert isinstance(outcome, RetryLater)
    assert outcome.after_s == 7


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ("4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("jo.smith@example.com-0001", None),
        ("no-number-in-this-text", None),
        ("x" * 100 + "1", None),
    ],
)
def test_the_id_of_a_request_is_kept_for_the_log_if_it_looks_like_one(header: str, known: str | None) -> None:
    (outcome,) = send(responding(503, headers={"x-request-id": header}), batch("a"))

    assert isinstance(outcome, RetryLater)
    assert outcome.response.request_id == known


class Proxy(BaseHTTPRequestHandler):
    """Responds to each request as the Track API does, and keeps the first lines."""

    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.seen.append(self.requestline)
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy that the environment names; yields the first lines of its requests."""
    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{server.server_port}")
        monkeypatch.setenv("no_proxy", "direct.invalid")
        Proxy.seen.clear()
        yield Proxy.seen
        server.shutdown()
        thread.join()


def test_requests_go_through_the_proxy_of_the_environment(proxy: list[str]) -> None:
    assert TrackApi("http://track.invalid", "site", "key", 5.0).send(batch("a")) == [Delivered()]
    assert proxy == ["POST http://track.invalid/api/v2/batch HTTP/1.1"]


def test_requests_to_a_host_of_no_proxy_go_to_the_host(proxy: list[str]) -> None:
    [outcome] = TrackApi("http://direct.invalid", "site", "key", 5.0).send(batch("a"))

    assert isinstance(outcome, RetryLater)  # it has no address
    assert proxy == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_requests_to_this_machine_go_through_no_proxy(host: str, proxy: list[str]) -> None:
    [outcome] = TrackApi(f"http://{host}:1", "site", "key", 5.0).send(batch("a"))

    assert isinstance(outcome, RetryLater)  # nothing listens there
    assert proxy == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "user:secret@host:bar"),
        ("HTTPS_PROXY", "ftp://user:secret@host"),
        ("ALL_PROXY", "socks5://user:secret@host"),
        ("SSL_CERT_FILE", "/nonexistent/secret.pem"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_without_its_value(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(mapping.ConfigurationError, match=f"^{variable}: ") as refused:
        TrackApi("https://track.invalid", "site", "key", 5.0)

    assert "secret" not in str(refused.value)
