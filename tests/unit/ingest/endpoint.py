"""A served application on loopback, and a client that sends bytes as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import uvicorn
from uvicorn.server import ServerState

from ingest.app import Ingest
from ingest.serving.connections import Connections
from ingest.serving.limits import Limits
from ingest.serving.protocol import Protocol
from settings import Settings

LIMITS = Limits(connections=1000, connections_per_address=1000, idle_s=60)


@dataclass(frozen=True)
class Reply:
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


class Connection:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes; return after the server's event loop had a turn to read them."""
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self) -> Reply:
        """Return the next response."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Reply(int(status.split()[1]), headers, body)

    async def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        """Send a request and return the response. An underscore in the name of a header stands for a hyphen."""
        lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return await self.reply()


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[Connection]:
    """Yield a connection to loopback, and close it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):  # the server may have reset it
            await writer.wait_closed()


@asynccontextmanager
async def served(app: Any, lifespan: str = "off", limits: Limits = LIMITS) -> AsyncIterator[int]:
    """Serve an ASGI application as `segue ingest` does; yield its port."""
    protocol: Any = partial(Protocol, Connections(limits))
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan=lifespan, log_config=None)  # type: ignore[arg-type]
    config.load()
    life = config.lifespan_class(config)
    await life.startup()
    assert not life.should_exit
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state=life.state), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for open_connection in list(state.connections):
            open_connection.shutdown()
        await life.shutdown()


@asynccontextmanager
async def ingest(redis_url: str, **settings: Any) -> AsyncIterator[Connection]:
    """Serve the endpoint on this Redis; yield a connection to it."""
    app = Ingest(Settings(REDIS_URL=redis_url, **settings))
    async with served(app, "on") as port, connection(port) as client:
        yield client
