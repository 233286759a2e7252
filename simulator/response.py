"""Responses of the simulated service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

_HEADERS: Final = (
    (b"content-type", b"application/json; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store, max-age=0, must-revalidate"),
    (b"via", b"1.1 google"),
)


@dataclass(frozen=True, slots=True)
class Response:
    """A response: status, body, and the headers in addition to those of every response."""

    status: int = 200
    body: bytes = b"{}\n"
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the response, `content-length` included."""
        return [*_HEADERS, (b"content-length", b"%d" % len(self.body)), *self.headers]


OK: Final = Response()
NOT_FOUND: Final = Response(404)
UNAUTHORIZED: Final = Response(401, b'{"meta":{"error":"Unauthorized request"}}\n')


def json_response(value: Any, status: int = 200) -> Response:
    """Return a response with the value as JSON."""
    return Response(status, orjson.dumps(value) + b"\n")


def refused(status: int, field: str, message: str, reason: str = "invalid") -> Response:
    """Return the refusal of a whole v2 request: `{"errors": [{"reason", "field", "message"}]}`."""
    return json_response({"errors": [{"reason": reason, "field": field, "message": message}]}, status)
