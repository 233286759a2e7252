"""The Celery application of the workers, in which the process that maps the event POISON is killed; for `celery -A`."""

from __future__ import annotations

import os
import signal
from typing import Any

import mapping
from workers.app import app

POISON = "Poison"

__all__ = ["app"]

translate = mapping.translate


def translate_or_die(event: Any, destination: mapping.Destination, now_s: float) -> mapping.Translation:
    if event.get("event") == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return translate(event, destination, now_s)


mapping.translate = translate_or_die
