"""Whether a response has the form that docs/ingest.md documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from tests.fuzz.requests import Request

# No queue is full and Redis is available, so there is neither 429 nor 503.
_CODES = {
    400: "invalid_request",
    401: "invalid_credentials",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_encoding",
}
_REFUSAL = {"message", "field", "index"}


@dataclass(frozen=True)
class Response:
    """A response as the application sent it."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


def fault(request: Request, response: Response) -> str | None:
    """Return what is wrong with a response; None when nothing is."""
    if response.headers.get(b"content-length") != b"%d" % len(response.body):
        return "the content length is not that of the body"
    if request.method == "OPTIONS":
        return (
            None if (response.status, response.body) == (204, b"") else "a preflight request is not answered with 204"
        )
    kind = response.headers[b"content-type"]
    if kind == b"image/gif" or kind.startswith(b"text/javascript"):
        is_usual = response.status == 200 and request.method in ("GET", "HEAD")
        return None if is_usual else "an image or a script answers another request"
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        return f"the response is not JSON: {error}"
    if response.status == 200:
        return None if _is_success(request, document) else "the response 200 has another form than the documented one"
    if response.status not in _CODES:
        return f"status {response.status}"
    return None if _is_refusal(document, response.status) else "the refusal has another form than the documented one"


def _is_success(request: Request, document: Any) -> bool:
    if request.method in ("GET", "HEAD"):
        return document.keys() == {"status"} or "integrations" in document
    if document == {"success": True}:
        return True
    return document.keys() == {"success", "rejected"} and document["success"] and _are_rejected(document["rejected"])


def _is_refusal(document: Any, status: int) -> bool:
    members = document.keys() - {"rejected"}
    return (
        members == {"success", "code", "message", "error"}
        and (document["success"], document["code"]) == (False, _CODES[status])
        and bool(document["message"])
        and document["error"]["message"] == document["message"]
        and document["error"].keys() <= _REFUSAL
        and _are_rejected(document.get("rejected", [document["error"] | {"index": 0}]))
    )


def _are_rejected(rejected: Any) -> bool:
    indexes = [each["index"] for each in rejected]
    return (
        bool(rejected)
        and indexes == sorted(set(indexes))
        and all("message" in each and each.keys() <= _REFUSAL for each in rejected)
    )
