"""What is printed of a waiting event: its source, type, name and message id."""

from __future__ import annotations

from typing import Any

from mapping.envelope import readable


def names(body: bytes) -> dict[str, Any]:
    """Return `{"source", "type", "name", "message_id"}`.

    An event that was erased, or that cannot be read, has no source. The name is `(erased)` or `(unreadable)` then.
    """
    source, event = readable(body)
    title = event.get("event") or event.get("name") or ""
    return {
        "source": source,
        "type": event.get("type"),
        "name": title if event else "(unreadable)" if body else "(erased)",
        "message_id": event.get("messageId"),
    }
