"""Hashes of user ids: the proof that the server of a page vouches for the id in an event.

The server gives the page HMAC-SHA256(userId, secret) for the person who is logged in, in hexadecimal digits. Intercom
and others use the same scheme. `context.userHash` proves `userId`, and `context.previousHash` proves `previousId`.
"""

from __future__ import annotations

import hmac
from typing import Any, Final

from ingest.errors import Refusal
from ingest.identities import id_text
from mapping.envelope import JsonObject

_HASHES: Final = {"userId": "userHash", "previousId": "previousHash"}  # id → member of `context`


def take(event: JsonObject) -> dict[str, Any]:
    """Remove the hashes from the context of an event; return them by the name of the id."""
    context = event.get("context")
    if type(context) is not dict:
        return {}
    found = {name: context[member] for name, member in _HASHES.items() if member in context}
    if found:
        event["context"] = {name: value for name, value in context.items() if name not in _HASHES.values()}
    return found


def check(event: JsonObject, hashes: dict[str, Any], secret: str) -> None:
    """Raise Refusal (403) when the event has an id without its hash. `hashes` is what `take` returned."""
    for name, member in _HASHES.items():
        value = event.get(name)
        if value is not None and value != "" and not _proves(hashes.get(name), id_text(value), secret):
            text = f"must be the hexadecimal HMAC-SHA256 of {name} with the identify_secret of the source"
            raise Refusal(403, f"context.{member}: {text}", f"context.{member}")


def _proves(given: Any, user_id: str, secret: str) -> bool:
    expected = hmac.digest(secret.encode(), user_id.encode("utf-8", "surrogatepass"), "sha256").hex()
    text = given.lower() if type(given) is str else ""
    return hmac.compare_digest(expected.encode(), text.encode("utf-8", "surrogatepass"))
