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
STOP_FOLLOWS: Final = signal.SIGUSR1  # from the supervisor to its processes: all of them stop


def delay_stop(fail_readiness: Callable[[], None]) -> None:
    """Have the first SIGTERM call `fail_readiness`, and stop the server NOTICE_S later.

    Call it when the server handles SIGTERM already.
    """
    stop = signal.getsignal(signal.SIGTERM)

    def handle(number: int, _: Any) -> None:
        signal.signal(signal.SIGTERM, stop)
        fail_readiness()
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, NOTICE_S, signal.raise_signal, number)

    signal.signal(signal.SIGTERM, handle)


class Supervisor(Multiprocess):
    """uvicorn's supervisor. The readiness of its processes fails before all of them stop, not when one is replaced: the
    port stays open then."""

    def handle_term(self) -> None:
        """Stop every process, after NOTICE_S."""
        for process in self.processes:
            if process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, STOP_FOLLOWS)
        time.sleep(NOTICE_S)
        super().handle_term()
