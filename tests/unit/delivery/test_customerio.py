"""Reading the Track API's responses, over httpx's own mock transport: only the socket is replaced."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import orjson
import pytest

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
        {"batch_index": 99, "reason": "invalid"},
        "nonsense",
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


@pytest.mark.parametrize("content", [b"", b"{}\n", b"not json", b"[]", b'{"errors": 3}'])
def test_any_other_2xx_body_means_delivered(content: bytes) -> None:
    assert send(responding(200, content=content), batch("a")) == [Delivered()]


@pytest.mark.parametrize(
    ("status", "count", "kind"),
    [
        (400, 1, Rejected),
        (400, 2, Split),
        (413, 1, Rejected),
        (413, 3, Split),
        (401, 2, Paused),
        (403, 1, Paused),
        (404, 2, Paused),
        (408, 1, RetryLater),
        (429, 2, RetryLater),
        (500, 1, RetryLater),
        (503, 1, RetryLater),
        (522, 1, RetryLater),
        (307, 2, Paused),
    ],
)
def test_each_status_has_its_outcome(status: int, count: int, kind: type) -> None:
    outcomes = send(responding(status), batch(*"abc"[:count]))

    assert [type(outcome) for outcome in outcomes] == [kind] * count


def test_another_region_and_a_wrong_address_pause_the_destination_with_the_reason() -> None:
    redirected = send(responding(307, headers={"Location": "https://eu.example/api/v2/batch"}), batch("a"))[0]
    wrong_address = send(responding(404), batch("a"))[0]
    unknown_delivery = send(responding(404), Request("/api/v1/metrics", batch("a").items))[0]

    assert isinstance(redirected, Paused)
    assert "https://eu.example/api/v2/batch" in redirected.reason
    assert isinstance(wrong_address, Paused)
    assert isinstance(unknown_delivery, Rejected), "an unknown delivery says nothing about the others"


def test_a_response_that_does_not_end_in_time_is_no_response() -> None:
    def trickle() -> Iterator[bytes]:
        while True:
            time.sleep(0.01)
            yield b" "

    api = TrackApi(
        "https://track.example", "site", "key", 0.05, httpx.MockTransport(responding(200, content=trickle()))
    )

    outcome = api.send(batch("a"))[0]

    assert isinstance(outcome, RetryLater)
    assert outcome.response.status is None


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.ReadError("reset")])
def test_a_request_without_a_response_may_be_sent_again(error: httpx.HTTPError) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    outcome = send(fail, batch("a"))[0]

    assert isinstance(outcome, RetryLater)
    assert outcome.response.status is None


def test_retry_after_may_be_seconds_or_a_date_and_is_capped() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    waits = []
    for value in ("7", date, "99999", "soon", "-3", "nan"):
        outcome = send(responding(429, headers={"Retry-After": value}), batch("a"))[0]
        assert isinstance(outcome, RetryLater)
        waits.append(outcome.after_s)

    assert waits[0] == 7
    assert waits[1] is not None
    assert 0 < waits[1] <= 60
    assert waits[2:] == [300, None, 0, None]
