"""Wake-ups: asks the workers for a deliverer, or to drop what stands before a deletion. A hint that is lost costs one
sweep interval, or that this is sent before the deletion; so nobody waits for it.
"""

from __future__ import annotations

import logging
import queue
import threading

from celery import Celery

log = logging.getLogger(__name__)

# The names are those of `workers`, which ingest does not import.
_DELIVER, _FORGET, _QUEUE, _EXPIRES_S = "deliver", "forget", "segue", 5
_TIMEOUTS = {"socket_timeout": 5, "socket_connect_timeout": 2}


class Wakeups:
    """Sends wake-ups from a thread of its own, so that a slow Redis holds up no request."""

    def __init__(self, redis_url: str) -> None:
        self._celery = Celery("segue-ingest", broker=redis_url)
        self._celery.conf.broker_transport_options = _TIMEOUTS
        self._wanted: queue.SimpleQueue[tuple[str, list[str | int]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name="wakeups", daemon=True)
        self._thread.start()

    def wake(self, destination: str) -> None:
        """Ask for a deliverer of the destination."""
        self._wanted.put((_DELIVER, [destination]))

    def forget(self, destination: str, sequence: int) -> None:
        """Ask for what stands before the deletion of this sequence to be dropped."""
        self._wanted.put((_FORGET, [destination, sequence]))

    def close(self) -> None:
        self._wanted.put(None)
        self._thread.join(timeout=2)

    def _send_all(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            task, arguments = wanted
            try:
                self._celery.send_task(task, args=arguments, queue=_QUEUE, expires=_EXPIRES_S, retry=False)
            except Exception as error:
                log.warning("%s: a wake-up could not be sent, the next sweep makes up for it: %s", arguments[0], error)
