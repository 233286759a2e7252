"""What is answered to a request that cannot be taken: a status, and a JSON error that names the field."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """Why a request, or one event of it, is refused. `field` is the member at fault, if it is one."""

    def __init__(self, status: int, message: str, field: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s

    def json(self, index: int | None = None) -> dict[str, Any]:
        """Return `{"message", "field"?, "index"?}`; `index` is the event's place in its batch."""
        members = {"message": self.message, "field": self.field, "index": index}
        return {name: value for name, value in members.items() if value is not None}
