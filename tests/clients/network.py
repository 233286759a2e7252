"""An HTTP proxy on loopback that is like a network: each request takes its own time, and some are broken or refused."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.listener import Listener

_ABORT: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset
_REFUSED: Final = b"HTTP/1.1 503 Service Unavailable\r\naccess-control-allow-origin: *\r\ncontent-length: 0\r\n\r\n"


@dataclass(frozen=True)
class Faults:
    """What happens to requests. `resets` and `refusals` are shares of all requests but GET.

    Half of the resets come after ingest has answered. For `outage_s` from the first POST, all POSTs are refused.
    """

    delay_ms: tuple[float, float] = (5, 80)
    resets: float = 0.0
    refusals: float = 0.0
    outage_s: float = 0.0


class Network(Listener):
    """Forwards requests to the HTTP server at `target_url`; `with` runs it in a thread of its own."""

    def __init__(self, target_url: str, seed: int, faults: Faults) -> None:
        super().__init__("network")
        self.bodies: list[bytes] = []  # of the POSTs that ingest answered
        self.seen: Counter[str] = Counter()  # requests by method, and "reset" and "refused"
        self._target_port = int(target_url.rpartition(":")[2])
        self._random = random.Random(seed)
        self._faults = faults
        self._outage_until: float | None = None

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while response := await self._respond(*await _read_message(reader)):
                writer.write(response)
                await writer.drain()
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        writer.transport.abort()

    async def _respond(self, head: bytes, body: bytes) -> bytes | None:
        """Return the response of ingest or a refusal; None: the connection is to be reset."""
        method = head.partition(b" ")[0].decode()
        fate = self._random.random() if method != "GET" else 1.0
        is_out = method == "POST" and self._is_out()
        resets, refusals = self._faults.resets, self._faults.refusals
        self.seen[method] += 1
        await asyncio.sleep(self._random.uniform(*self._faults.delay_ms) / 1000)
        if is_out or resets <= fate < resets + refusals:
            self.seen["refused"] += 1
            return _REFUSED
        if fate < resets:
            self.seen["reset"] += 1
        response = await self._forward(head, body) if fate >= resets / 2 else None
        if response is not None and method == "POST":
            self.bodies.append(body)
        return response if fate >= resets else None

    def _is_out(self) -> bool:
        if self._outage_until is None:
            self._outage_until = self._loop.time() + self._faults.outage_s
        return self._loop.time() < self._outage_until

    async def _forward(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            writer.write(_without_connection(head)[:-2] + b"Connection: close\r\n\r\n" + body)
            response_head, response_body = await _read_message(reader)
            return _without_connection(response_head) + response_body
        finally:
            writer.close()


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    fields = (line.split(b":", 1) for line in head.split(b"\r\n") if b":" in line)
    lengths = [int(value) for name, value in fields if name.lower() == b"content-length"]
    return head, await reader.readexactly(lengths[0] if lengths else 0)


def _without_connection(head: bytes) -> bytes:
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:"))
