"""The Celery application: it carries wake-ups, never events.

A lost wake-up costs one sweep interval and nothing else, so messages are acknowledged early, expire soon, and no result
is kept. Start it with `segue worker`; one process per core, a few threads each.
"""

from __future__ import annotations

from celery import Celery

from settings import Settings

QUEUE = "segue"
# A wake-up older than this has been overtaken by a sweep.
WAKE_EXPIRES_S = 5

settings = Settings.load()
app = Celery("segue", broker=settings.redis_url, include=["workers.tasks"])
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_soft_shutdown_timeout=10,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "health_check_interval": 15,
        "socket_keepalive": True,
        "socket_timeout": 30,
        "retry_on_timeout": True,
    },
    beat_schedule={
        "sweep": {"task": "sweep", "schedule": settings.sweep_s, "options": {"expires": max(settings.sweep_s, 1.0)}}
    },
)
