"""A TCP proxy on loopback that can be disconnected: its connections break, and it refuses new ones until restored."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.listener import Listener


class Proxy(Listener):
    """Forwards `port`, which it chooses, to `target_port`; `with` runs it in a thread of its own."""

    def __init__(self, target_port: int) -> None:
        super().__init__("proxy")
        self.target_port = target_port
        self._is_disconnected = False
        self._writers: set[asyncio.StreamWriter] = set()

    def disconnect(self) -> None:
        """Abort every connection and refuse new ones."""
        self._is_disconnected = True
        self._loop.call_soon_threadsafe(self._abort)

    def restore(self) -> None:
        """Accept connections again."""
        self._is_disconnected = False

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_disconnected:
            writer.transport.abort()
            return
        with suppress(asyncio.CancelledError):  # at the end of the loop; asyncio would print a traceback
            await self._forward(reader, writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._writers -= both

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
