"""Wake-ups: messages that ask the workers for a deliverer, or to drop the events before a deletion.

A wake-up is a hint. When one is lost, delivery starts one sweep interval later, or the events before a deletion are
sent before it. No request therefore waits for a wake-up.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from typing import Any

from celery import Celery

from logs import events as log
from logs.causes import cause

# The names of tasks and queue in `workers`, which ingest does not import.
_DELIVER, _DISCARD, _QUEUE = "deliver", "discard", "segue"
_EXPIRES_S = 5
_TIMEOUTS = {"socket_timeout": 5, "socket_connect_timeout": 2}


class Wakeups:
    """Sends wake-ups from a thread, so that a slow Redis does not block a request."""

    def __init__(self, broker: Mapping[str, Any]) -> None:
        """Connect with `broker`, the settings of Celery for it."""
        self._celery = Celery("segue-ingest", fixups=())
        options = _TIMEOUTS | dict(broker.get("broker_transport_options", {}))
        self._celery.conf.update({**broker, "broker_transport_options": options})
        self._pending: queue.SimpleQueue[tuple[str, list[str | int]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name="wakeups", daemon=True)
        self._thread.start()

    def wake(self, destination: str) -> None:
        """Request a deliverer of the destination."""
        self._pending.put((_DELIVER, [destination]))

    def discard_before(self, destination: str, sequence: int) -> None:
        """Request that the workers drop the events that wait before the deletion with this sequence number."""
        self._pending.put((_DISCARD, [destination, sequence]))

    def close(self) -> None:
        """Send what is pending, for 2 s at most, and stop the thread."""
        self._pending.put(None)
        self._thread.join(timeout=2)

    def _send_all(self) -> None:
        while (pending := self._pending.get()) is not None:
            task, arguments = pending
            try:
                self._celery.send_task(task, args=arguments, queue=_QUEUE, expires=_EXPIRES_S, retry=False)
            except Exception as error:
                log.WAKEUP_LOST.write(destination=arguments[0], error=cause(error))
