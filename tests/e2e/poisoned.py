"""The workers' Celery application, but whoever maps the event POISON dies on the spot; for `celery -A`."""

from __future__ import annotations

import os
import signal
from typing import Any

import mapping
from workers.app import app

POISON = "Poison"

__all__ = ["app"]

translate = mapping.translate


def deadly_translate(event: Any, destination: mapping.Destination, now_s: float) -> mapping.Translation:
    if event.get("event") == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return translate(event, destination, now_s)


mapping.translate = deadly_translate
