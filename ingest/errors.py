"""The error of every request, or event of a request, that is not accepted: an HTTP status and a JSON object."""

from __future__ import annotations

from reprlib import Repr
from typing import Any, Final

from logs import events as log

# HTTP status → the word for it in the response. Clients that read `code` know a refusal from a broken network.
_CODES: Final = {
    400: "invalid_request",
    401: "invalid_credentials",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_encoding",
}

# What the log and the counts may name: members of Segment's calls, and headers. Other names are those of the sender.
_FIELDS: Final = frozenset({
    "type", "event", "name", "category", "userId", "anonymousId", "previousId", "groupId", "traits", "properties",
    "context", "integrations", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt", "batch",
    "writeKey", "data", "X-Signature",
})  # fmt: skip

_shown: Final = Repr()  # `repr` fails on a value that is nested too deeply
_shown.maxstring = _shown.maxother = 100


class Refusal(Exception):
    """A request or one of its events is refused.

    `status` is the HTTP status, `message` the text for the client, `field` the member or header at fault, if there is
    one. `retry_after_s` is set when the same request may succeed later: seconds, sent as `Retry-After`. `code` is a
    word in snake_case for programs; without one it follows from the status. `is_counted`: see `ingest.counters`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        field: str | None = None,
        retry_after_s: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        self.code = code or _CODES.get(status, "refused")
        self.is_counted = False

    def copy(self) -> Refusal:
        """Return the same refusal for another request."""
        return Refusal(self.status, self.message, self.field, self.retry_after_s, self.code)

    @property
    def known_field(self) -> str | None:
        """The field, when its name is not one that the sender chose."""
        return self.field if self.field in _FIELDS else None

    def write(self, source: str | None = None) -> None:
        """Write to the log that a request was refused; with a source, that one of its events was rejected."""
        field = self.known_field
        if source is not None:
            log.EVENTS_REJECTED.write(source=source, status=self.status, code=self.code, field=field)
        elif self.status != 401:  # `ingest.access.unauthorized` writes of those
            log.REQUESTS_REFUSED.write(status=self.status, code=self.code, field=field)

    def json(self, index: int | None = None) -> dict[str, Any]:
        """Return `{"message", "field"?, "index"?}`; `index` is the index of the event in its request, from 0."""
        members = {"message": self.message, "field": self.field, "index": index}
        return {name: value for name, value in members.items() if value is not None}


class Disconnected(Refusal):
    """The client closed the connection before its body was complete. It gets no response, so this is not counted."""

    def __init__(self) -> None:
        super().__init__(400, "the body is incomplete: the connection was closed")


def invalid(name: str, wanted: str, value: Any) -> Refusal:
    """Return the refusal (400) of a member that is missing, or that is not what is `wanted`."""
    if value is None:
        return Refusal(400, f"{name}: is missing; must be {wanted}", name)
    text = _shown.repr(value)
    return Refusal(400, f"{name}: must be {wanted}, not {text if len(text) <= 40 else f'{text[:37]}...'}", name)
