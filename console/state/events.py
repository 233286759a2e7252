"""What is printed of a waiting event: its source, type, name and message id."""

from __future__ import annotations

from typing import Any

from mapping.envelope import name_of, readable, type_of


def names(body: bytes) -> dict[str, Any]:
    """Return `{"source", "type", "name", "message_id"}`.

    An event that was erased, or that cannot be read, has no source. The name is `(erased)` or `(unreadable)` then.
    """
    source, event = readable(body)
    return {
        "source": source,
        "type": type_of(event),
        "name": name_of(event) if event else "(unreadable)" if body else "(erased)",
        "message_id": event.get("messageId"),
    }
