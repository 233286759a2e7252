"""The Celery application. It carries wake-ups, never events.

A lost wake-up costs one sweep interval and nothing else, so messages are acknowledged early, expire soon, and no result
is kept. `segue worker` starts one process; run one per core, with a few threads each.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from celery import Celery, signals
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError, ResponseError

from logs import events as log
from logs import output
from logs.causes import cause
from settings import Settings

QUEUE = "segue"
ROLE = "beat" if "beat" in sys.argv[1:] else "worker"
# A message older than this has been overtaken by a sweep.
_EXPIRES_S = 5
_RECONNECT_S = 5.0


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Celery's consumer of messages, which waits before it connects again to a Redis that refused a command.

    A Redis that is full, or became a replica, refuses commands. Events are delivered meanwhile, as far as it allows.
    """

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Wait after a command was refused while the consumer connected."""
        super().on_connection_error_before_connected(exc)
        _wait_after(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Wait after a command was refused while the consumer ran."""
        super().on_connection_error_after_connected(exc)
        _wait_after(exc)


def _wait_after(error: Exception) -> None:
    if isinstance(error, ResponseError):
        time.sleep(_RECONNECT_S)


settings = Settings.load()
# Without fixups, Celery puts no directory of a Django project on the module search path.
app = Celery("segue", include=["workers.tasks"], fixups=())
broker = settings.broker()
app.conf.update(
    broker,
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    worker_soft_shutdown_timeout=10,
    worker_consumer=Consumer,
    broker_channel_error_retry=True,  # a refused command does not stop the worker
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "health_check_interval": 15,
        "socket_keepalive": True,
        "socket_timeout": 30,
        "retry_on_timeout": True,
    }
    | broker.get("broker_transport_options", {}),
    beat_schedule={
        "sweep": {"task": "sweep", "schedule": settings.sweep_s, "options": {"expires": max(settings.sweep_s, 1.0)}}
    },
)


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def set_up_log(**_: Any) -> None:
    """Configure the log of a worker or of beat, in place of Celery."""
    output.configure(settings.process_name or ROLE, settings.log_format, settings.log_level)


def wake(destination: str) -> bool:
    """Request a deliverer of the destination; return whether the request was sent."""
    return request("deliver", destination)


def request(task: str, destination: str, *arguments: str) -> bool:
    """Send a task of `workers.tasks`, by its name; return whether it was sent. A message that cannot be sent is logged;
    the next sweep replaces it."""
    try:
        app.send_task(task, args=(destination, *arguments), expires=_EXPIRES_S)
    except (OperationalError, RedisError) as error:
        log.WAKEUP_LOST.write(destination=destination, error=cause(error))
        return False
    return True
