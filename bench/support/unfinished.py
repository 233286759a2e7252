"""Clients that leave their requests unfinished, for bench/connections.py.

    python -m bench.support.unfinished KIND PORT COUNT

KIND is what each of the COUNT connections does until the server closes it:

    idle     nothing
    heads    sends a head, one byte a second
    bodies   sends 490 KB of a body at once, then one byte a second
    endless  sends a head without end, as fast as the server reads it

A connection that was closed is opened anew after a pause. Runs until it is terminated.
"""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress

import uvloop

_HEAD = b"POST /v1/t HTTP/1.1\r\nhost: localhost\r\n"
# A body is half a megabyte, so many of them in a second would measure the transfer of bytes.
_PAUSE_S = {"idle": 5.0, "heads": 5.0, "bodies": 30.0, "endless": 0.1}


async def attack(kind: str, port: int) -> None:
    """Open one connection after the other."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            closed = asyncio.create_task(reader.read())
            sending = asyncio.create_task(send(kind, writer))
            await asyncio.wait([closed, sending], return_when=asyncio.FIRST_COMPLETED)
            for task in (closed, sending):
                task.cancel()
            await asyncio.gather(closed, sending, return_exceptions=True)
            writer.close()
        await asyncio.sleep(random.uniform(0.5, 1.5) * _PAUSE_S[kind])


async def send(kind: str, writer: asyncio.StreamWriter) -> None:
    """Send what the kind of client sends, without end."""
    if kind == "idle":
        await asyncio.get_running_loop().create_future()
    writer.write(_HEAD)
    if kind == "bodies":
        writer.write(b"content-length: 500001\r\n\r\n" + b"a" * 490_000)
    elif kind == "heads":
        writer.write(b"x-filler: ")
    while True:
        if kind == "endless":
            writer.write(b"x-filler: " + b"a" * 1000 + b"\r\n")
        else:
            await asyncio.sleep(1)
            writer.write(b"a")
        await writer.drain()


async def main(kind: str, port: int, count: int) -> None:
    """Run all connections."""
    await asyncio.gather(*(attack(kind, port) for _ in range(count)))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
