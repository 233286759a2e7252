"""Calls of the Tracking API and of the webhook: from a body to an offer, which holds the events to append.

A request belongs to one source. A call names it by its write key, as in Segment's HTTP API (segmentio/segment-docs,
src/connections/sources/catalog/libraries/server/http-api/index.md, "Authentication"); the webhook names it in the path
and proves it by its signature. Functions here do not wait: they read and check what the application received.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

import mapping
from ingest import bodies, signature
from ingest.counters import Counters
from ingest.errors import Refusal
from ingest.events import MAX_BATCH_EVENTS, completed, packed, shared
from ingest.group_commit import Entry
from ingest.partial_json import Unreadable
from ingest.sources import Source
from mapping.envelope import JsonObject

# The last part of a path → the type of its event. The one-letter parts are those of analytics.js.
EVENT_PATHS: Final = {
    **{kind: kind for kind in ("identify", "track", "page", "screen", "group", "alias")},
    **{kind[0]: kind for kind in ("identify", "track", "page", "screen", "group", "alias")},
    mapping.DELETION: mapping.DELETION,
}
# The last parts of paths that take a batch. `import` is for history: the clock of the sender is not corrected.
BATCH_PATHS: Final = frozenset({"batch", "import", "b"})

Entries = tuple[Entry, ...]  # one event: an entry for each queue of its source


class Offer(NamedTuple):
    """The result of reading one request."""

    source: Source
    entries: list[Entries]  # of the valid events, in their order
    rejected: list[tuple[int, Refusal]]  # the other events: index in the request, and the fault


class Calls:
    """Reads the calls to the sources of one configuration.

    `entries` returns the entries of an event for the queues of a source; its last argument is the packed event.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        entries: Callable[[Source, JsonObject, bytes], Entries],
        counters: Counters,
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._by_write_key = {source.write_key: source for source in self._sources.values()}
        self._entries = entries
        self._counters = counters

    def source_of(self, write_key: str) -> Source | None:
        """Return the source with this write key; None when there is none."""
        return self._by_write_key.get(write_key)

    def read_call(self, path: str, authorization: str, raw: bytes, received_at: datetime) -> Offer:
        """Return the offer of a call to `/v1/PATH`, a key of EVENT_PATHS or a member of BATCH_PATHS.

        `authorization` is the header of that name, empty without one; `raw` is the uncompressed body. Raises Refusal:
        the whole request is refused.
        """
        body = bodies.parsed(raw)
        if not isinstance(body, dict):
            raise Refusal(400, "the body must be a JSON object")
        source = self._authenticated(authorization, body)
        if path not in BATCH_PATHS:
            return self._read_one(source, body | {"type": EVENT_PATHS[path]}, received_at)
        events = body.get("batch")
        if not isinstance(events, list) or not events:
            raise Refusal(400, "batch: must be an array with at least one event", "batch")
        if len(events) > MAX_BATCH_EVENTS:
            raise Refusal(413, f"batch: must have at most {MAX_BATCH_EVENTS:,} events, not {len(events):,}", "batch")
        return self._read_events(source, events, shared(body), received_at, correct_clock=path != "import")

    def read_webhook(self, name: str, signed: str, raw: bytes, received_at: datetime) -> Offer:
        """Return the offer of a request of Segment's webhook to the source `name`: one event, or an array.

        `signed` is the header `X-Signature`. Raises Refusal: the whole request is refused.
        """
        source = self._sources.get(name)
        if source is None or source.webhook_secret is None:
            raise Refusal(401, "no source with this name has a webhook secret")
        if not signature.is_signed(raw, signed, source.webhook_secret):
            text = "X-Signature: must be the hexadecimal HMAC-SHA1 of the body with the webhook secret of the source"
            raise Refusal(401, text, "X-Signature")
        content = bodies.parsed(raw)
        events = content if isinstance(content, list) else [content]
        if len(events) > MAX_BATCH_EVENTS:
            raise Refusal(413, f"the array must have at most {MAX_BATCH_EVENTS:,} events, not {len(events):,}")
        return self._read_events(source, events, {}, received_at, correct_clock=False)

    def _authenticated(self, authorization: str, body: JsonObject) -> Source:
        """Return the source of the write key: the user name, or a member of the body or of the first event in it."""
        write_key = self._key_of(authorization) or body.get("writeKey")
        if not write_key and isinstance(body.get("batch"), list) and body["batch"]:
            first = body["batch"][0]
            write_key = first.get("writeKey") if isinstance(first, dict) else None
        if not write_key:
            text = "writeKey: is missing; send it as the user name of basic authentication, or in the body"
            raise Refusal(401, text, "writeKey")
        source = self._by_write_key.get(write_key) if isinstance(write_key, str) else None
        if source is None:
            raise Refusal(401, "writeKey: no source has this write key", "writeKey")
        return source

    def _key_of(self, authorization: str) -> str | None:
        """Return the user name of basic authentication, or the bearer token where it is a write key.

        Another bearer token is of OAuth (Segment's HTTP API): the write key is in the body then.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return token.strip() if token.strip() in self._by_write_key else None
        return _user_name(authorization)

    def _read_one(self, source: Source, event: JsonObject, received_at: datetime) -> Offer:
        try:
            return Offer(source, [self._checked(source, event, {}, received_at, correct_clock=True)], [])
        except Refusal:
            self._counters.add(source.name, "rejected")
            raise

    def _read_events(
        self, source: Source, events: list[Any], common: JsonObject, received_at: datetime, *, correct_clock: bool
    ) -> Offer:
        entries: list[Entries] = []
        rejected: list[tuple[int, Refusal]] = []
        for index, event in enumerate(events):
            try:
                entries.append(self._checked(source, event, common, received_at, correct_clock=correct_clock))
            except Refusal as refusal:
                rejected.append((index, refusal))
        self._counters.add(source.name, "rejected", len(rejected))
        return Offer(source, entries, rejected)

    def _checked(
        self, source: Source, event: Any, common: JsonObject, received_at: datetime, *, correct_clock: bool
    ) -> Entries:
        """Return the entries of one event; raise Refusal when it is not valid."""
        if isinstance(event, Unreadable):
            raise Refusal(400, event.message)
        if isinstance(event, dict) and event.get("writeKey", source.write_key) != source.write_key:
            raise Refusal(401, "writeKey: must be the write key of the request", "writeKey")
        event = completed(event, common, received_at, correct_clock=correct_clock)
        return self._entries(source, event, packed(source.name, event))


def _user_name(authorization: str) -> str | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return base64.b64decode(encoded).decode().partition(":")[0] or None
    return None
