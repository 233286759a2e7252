"""Requests of Segment's webhook: what proves them, what their signature must cover, and how old they may be."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from ingest.access import signature
from ingest.access.signature import Signed
from ingest.access.sources import Source
from ingest.errors import Refusal
from ingest.times import instant

# In place of the secret of a source that has none. The responses and their times do not tell which sources have one.
_NO_SECRET: Final = secrets.token_hex()


def signed_part(source: Source | None, given: str, raw: bytes) -> Signed:
    """Return what the signature covers. `given` is the header `X-Signature`, `raw` the body.

    Raises Refusal (401) when it does not cover what `webhook_arrays` of the source wants; all reasons have one text.
    """
    secret = _NO_SECRET if source is None or source.webhook_secret is None else source.webhook_secret
    covered = signature.signed_part(raw, given, secret)
    if covered is None or (covered == "first" and source is not None and source.webhook_arrays != "first"):
        text = "must be the hexadecimal HMAC-SHA1 of the body with the webhook secret of this source"
        raise Refusal(401, f"X-Signature: {text}", "X-Signature")
    return covered


def check(source: Source, content: Any, received_at: datetime) -> None:
    """Raise Refusal for a signed body that the source does not take: an array (400), or an old one (401)."""
    if isinstance(content, list) and source.webhook_arrays == "refuse":
        raise Refusal(400, "the body must be one event; this source takes no arrays")
    if source.webhook_max_age_s is not None:
        signed_at = _signed_at(content[:1] if isinstance(content, list) else [content])
        if signed_at is None or (received_at - signed_at).total_seconds() > source.webhook_max_age_s:
            text = f"the first event must have been sent in the last {source.webhook_max_age_s:g} s"
            raise Refusal(401, f"sentAt: {text}", "sentAt")


def _signed_at(first: Sequence[Any]) -> datetime | None:
    """Return when the first event was sent. Segment's clock, in `receivedAt`, is better than that of a device."""
    event = first[0] if first and isinstance(first[0], dict) else {}
    return instant(event.get("receivedAt")) or instant(event.get("sentAt"))
