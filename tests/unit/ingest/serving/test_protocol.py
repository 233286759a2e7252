"""Connections: an offer to upgrade the protocol changes nothing, whatever it offers and however it arrives."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner

from console import cli
from ingest.serving.protocol import Protocol
from tests.unit.ingest.endpoint import Connection, Reply, connection, served

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
WEBSOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Return the path, whether an offer is left, and the body."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    offers = [name for name, _ in scope["headers"] if name == b"upgrade"]
    content = b"%b %d %b" % (scope["path"].encode(), len(offers), body)
    headers = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def post(path: str, body: bytes, offer: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (path.encode(), offer, len(body), body)


def exchanged(*pieces: bytes, replies: int) -> list[Reply]:
    """Send the pieces one after the other over one connection; return the responses."""

    async def run() -> list[Reply]:
        async with asyncio.timeout(20), served(echo) as port, connection(port) as client:
            return await sent(client, pieces, replies)

    return asyncio.run(run())


async def sent(client: Connection, pieces: tuple[bytes, ...], replies: int) -> list[Reply]:
    for piece in pieces:
        await client.send(piece)
        await asyncio.sleep(0)
    return [await client.reply() for _ in range(replies)]


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET, H2C.replace(b"Upgrade, ", b"upgrade,close,")])
def test_the_body_of_a_request_that_offers_an_upgrade_is_read(offer: bytes) -> None:
    (reply,) = exchanged(post("/a", b"body", offer), replies=1)

    assert (reply.status, reply.body) == (200, b"/a 0 body")


def test_the_connection_stays_usable_after_an_offer() -> None:
    first, second, third = exchanged(
        post("/a", b"one", H2C), post("/b", b"two", b""), post("/c", b"three", H2C), replies=3
    )

    assert [first.body, second.body, third.body] == [b"/a 0 one", b"/b 0 two", b"/c 0 three"]


def test_the_head_and_the_body_of_an_offer_may_come_in_any_pieces() -> None:
    raw = post("/a", b"body", H2C)

    (reply,) = exchanged(*(raw[index : index + 1] for index in range(len(raw))), replies=1)

    assert reply.body == b"/a 0 body"


def test_a_chunked_body_behind_an_offer_is_read() -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\n" + H2C + b"Transfer-Encoding: chunked\r\n\r\n"

    (reply,) = exchanged(head, b"3\r\nbod\r\n", b"1\r\ny\r\n0\r\n\r\n", replies=1)

    assert reply.body == b"/a 0 body"


@pytest.mark.parametrize("offer", [b"", H2C])
def test_fields_behind_a_chunked_body_are_no_headers(offer: bytes) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\n" + offer + b"Transfer-Encoding: chunked\r\n\r\n"

    first, second = exchanged(
        head + b"4\r\nbody\r\n0\r\nUpgrade: h2c\r\n", b"upgrade: x\r\n\r\n", post("/b", b"next", b""), replies=2
    )

    assert [first.body, second.body] == [b"/a 0 body", b"/b 0 next"]


def test_many_offers_in_one_segment_are_served_in_their_order() -> None:
    paths = [f"/{number}" for number in range(2000)]

    replies = exchanged(b"".join(post(path, b"x", H2C) for path in paths), replies=len(paths))

    assert [reply.body for reply in replies] == [f"{path} 0 x".encode() for path in paths]


def test_a_client_that_expects_100_continue_beside_its_offer_is_told_to_go_on() -> None:
    continued, reply = exchanged(post("/a", b"body", H2C + b"Expect: 100-continue\r\n"), replies=2)

    assert (continued.status, reply.body) == (100, b"/a 0 body")


@pytest.mark.parametrize("raw", [b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", b"no HTTP\r\n\r\n"])
def test_what_cannot_be_served_is_answered_with_400(raw: bytes) -> None:
    (reply,) = exchanged(raw, replies=1)

    assert reply.status == 400


def test_segue_ingest_serves_with_this_protocol_and_ends_when_it_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(uvicorn, "run", lambda _, **given: options.update(given))

    assert CliRunner().invoke(cli.app, ["ingest"]).exit_code == 0
    assert (options["http"].func, options["ws"], options["lifespan"]) == (Protocol, "none", "on")
