"""Times as clients write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def milliseconds(value: Any) -> int | None:
    """Return an ISO 8601 time as Unix ms; None for anything else."""
    if type(value) is not str:
        return None
    try:
        time = datetime.fromisoformat(value)
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
