"""The stop of the endpoint by SIGTERM: its readiness fails for a moment before the port is closed.

A load balancer that asks `/ready` sends new requests elsewhere meanwhile; those that still arrive are served. SIGINT,
and a second SIGTERM, close the port at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from uvicorn.supervisors import Multiprocess

NOTICE_S: Final = 3.0
ANNOUNCED: Final = signal.SIGUSR1  # from the supervisor to its processes: all of them stop


def announce_first(announce: Callable[[], None]) -> None:
    """Have the first SIGTERM call `announce`, and stop the server NOTICE_S later.

    Call it in the event loop of the server, which handles SIGTERM already.
    """
    loop, stop = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

    def handle(number: int, _: Any) -> None:
        signal.signal(signal.SIGTERM, stop)
        announce()
        loop.call_soon_threadsafe(loop.call_later, NOTICE_S, signal.raise_signal, number)

    signal.signal(signal.SIGTERM, handle)


class Supervisor(Multiprocess):
    """uvicorn's supervisor, whose processes announce a stop of all of them. One that is replaced announces nothing: the
    port stays open."""

    def handle_term(self) -> None:
        """Stop every process, after NOTICE_S."""
        for process in self.processes:
            if process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, ANNOUNCED)
        time.sleep(NOTICE_S)
        super().handle_term()
