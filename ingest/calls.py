"""Calls of the Tracking API and of the webhook: from a body to an offer, which holds the events to append.

A request belongs to one source. A call names it by its write key, as in Segment's HTTP API. Source:
segmentio/segment-docs, src/connections/sources/catalog/libraries/server/http-api/index.md, "Authentication". The
webhook names it in the path and proves it by its signature. Functions here do not wait: they read and check what the
application received.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import chain, groupby
from typing import Any, Final, NamedTuple

import lanes
import mapping
from ingest import bodies, identities
from ingest.access import webhook
from ingest.access.permissions import Permissions
from ingest.access.rates import Rates
from ingest.access.sources import Source
from ingest.access.unauthorized import Unauthorized
from ingest.addresses import is_of_react_native
from ingest.counters import Counters
from ingest.device_clocks import DeviceClocks
from ingest.errors import Refusal
from ingest.events import MAX_BATCH_EVENTS, Origin, Reception, as_stored, completed, may_be_deep, shared
from ingest.partial_json import Unreadable
from ingest.reorder.ranks import Ranks
from ingest.times import instant
from logs import events as log
from mapping.envelope import JsonObject, compressed
from settings import Settings

# The last part of a path → the type of its event. The one-letter parts are those of analytics.js.
EVENT_PATHS: Final = {
    **{kind: kind for kind in ("identify", "track", "page", "screen", "group", "alias")},
    **{kind[0]: kind for kind in ("identify", "track", "page", "screen", "group", "alias")},
    mapping.DELETION: mapping.DELETION,
}
# The last parts of paths that take a batch. `import` is for history.
BATCH_PATHS: Final = frozenset({"batch", "import", "b"})

# The first write key in a body, also in one that is not JSON.
_OWN_KEY: Final = re.compile(rb'"writeKey"[ \t\r\n]*+:[ \t\r\n]*+"([^"\\]*+)"')

# How long events wait for earlier ones, by how they come. Segment's webhook sends requests side by side, and again.
DEFAULT_REORDER_MS: Final = {"call": 1000, "webhook": 2000}

# The status of a refused event → the name by which it is counted besides `rejected`.
_COUNTED: Final = {403: "forbidden", 429: "throttled"}

Entries = tuple[lanes.NewEvent, ...]  # one event: an entry for each queue of its source


_Valid = tuple[JsonObject, datetime, bytes]  # an event, when it happened, and its JSON as it is stored


class Offer(NamedTuple):
    """The result of reading one request."""

    source: Source
    entries: list[Entries]  # of the valid events, in their order
    rejected: list[tuple[int, Refusal]]  # the other events: index in the request, and the fault


class Calls:
    """Reads the calls to the sources of one configuration.

    `entries` returns the entries of events for the queues of a source; it is given the packed events and their ranks.
    `destinations` are those of all sources, by name.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        entries: Callable[[Source, Sequence[JsonObject], Sequence[bytes], Sequence[bytes]], list[Entries]],
        counters: Counters,
        settings: Settings,
        destinations: Mapping[str, mapping.Destination],
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._by_write_key = {source.write_key: source for source in self._sources.values()}
        self._entries = entries
        self._counters = counters
        self._reorder_ms = settings.reorder_ms
        self._ranks = Ranks(counters, settings.reorder_late_s)
        self._clocks = {name: DeviceClocks() for name in self._sources}
        self._permissions = {name: Permissions(source, destinations) for name, source in self._sources.items()}
        self._schemes = {
            name: frozenset(destinations[fed].identifiers for fed in source.destinations)
            for name, source in self._sources.items()
        }
        self._rates = {name: Rates(source) for name, source in self._sources.items()}
        self.unauthorized = Unauthorized(counters)
        self._warned: set[str] = set()  # names of the sources whose unlikely ids the log has mentioned

    def source_of(self, write_key: str) -> Source | None:
        """Return the source with this write key; None, and count it, when there is none."""
        source = self._by_write_key.get(write_key)
        if source is None:
            self.unauthorized.add(write_key)
        return source

    def read_call(
        self, path: str, authorization: str, raw: bytes, received_at: datetime, ip: str = "", named_key: str = ""
    ) -> Offer:
        """Return the offer of a call to `/v1/PATH`, a key of EVENT_PATHS or a member of BATCH_PATHS.

        `authorization` is the header of that name, empty without one. `raw` is the uncompressed body, `ip` the address
        of the client. `named_key` is the write key in another header or in the address, empty without one. Raises
        Refusal: the whole request is refused.
        """
        try:
            body = bodies.parsed(raw)
        except bodies.NotJson as fault:
            if not self._has_known_key(authorization, named_key, raw):
                raise
            body = bodies.read_partly(fault)
        if not isinstance(body, dict):
            raise Refusal(400, "the body must be a JSON object")
        source, own_key = self._authenticated(authorization, named_key, body)
        if not source.collect_ip:
            ip = ""
        if path in BATCH_PATHS:
            return self._read_batch(path, source, body, own_key, received_at, ip, raw)
        self._take(source, 1)
        event = _whole(body) | {"type": EVENT_PATHS[path]}
        is_deep = may_be_deep(raw, [event])
        reception = Reception(received_at, ip=ip, clocks=self._clocks[source.name], may_be_deep=is_deep)
        return self._read_one(source, event, reception)

    def read_webhook(self, name: str, signed: str, raw: bytes, received_at: datetime) -> Offer:
        """Return the offer of a request of Segment's webhook to the source `name`: one event, or an array.

        `signed` is the header `X-Signature`. Raises Refusal: the whole request is refused.
        """
        source = self._sources.get(name)
        try:
            part = webhook.signed_part(source, signed, raw)
        except Refusal:
            self.unauthorized.add(name)
            raise
        assert source is not None
        content = bodies.parsed_or_partly(raw)
        webhook.check(source, content, received_at)
        events = content if isinstance(content, list) else [_whole(content)]
        if len(events) > MAX_BATCH_EVENTS:
            raise Refusal(413, f"the array must have at most {MAX_BATCH_EVENTS:,} events, not {len(events):,}")
        self._take(source, len(events))
        reception = Reception(received_at, "webhook", may_be_deep=may_be_deep(raw, events))
        others = replace(reception, is_signed=False) if part == "first" else None
        return self._read_events(source, events, reception, others=others)

    def _authenticated(self, authorization: str, named_key: str, body: JsonObject) -> tuple[Source, str | None]:
        """Return the source of the write key: the user name, `named_key`, or a member of the body or its first event.

        A user name that is no write key is ignored when the body has one: a site with a password sends its own.

        Also the key when only the first event has it: then the other events must not have another. Else their
        `writeKey` is that of another pipeline, such as the source at Segment.
        """
        name = self._key_of(authorization)
        write_key, own_key = self._known(name) or self._known(named_key) or body.get("writeKey"), None
        if not write_key and isinstance(body.get("batch"), list) and body["batch"]:
            first = body["batch"][0]
            write_key = own_key = first.get("writeKey") if isinstance(first, dict) else None
        write_key = write_key or name or named_key
        if not write_key:
            self.unauthorized.add(None)
            text = "writeKey: is missing; send it as the user name of basic authentication, or in the body"
            raise Refusal(401, text, "writeKey")
        source = self._by_write_key.get(write_key) if isinstance(write_key, str) else None
        if source is None:
            self.unauthorized.add(write_key)
            raise Refusal(401, "writeKey: no source has this write key", "writeKey")
        return source, own_key

    def _key_of(self, authorization: str) -> str | None:
        """Return the user name of basic authentication, or the bearer token where it is a write key.

        Another bearer token is of OAuth (Segment's HTTP API): the write key is in the body then.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self._known(token.strip())
        return _user_name(authorization)

    def _known(self, write_key: str | None) -> str | None:
        return write_key if write_key in self._by_write_key else None

    def _has_known_key(self, authorization: str, named_key: str, raw: bytes) -> bool:
        """Whether a body that is not JSON comes with a known write key. Others may not ask for reading it by parts."""
        own = _OWN_KEY.search(raw)
        names = self._key_of(authorization), named_key, own and own[1].decode(errors="replace")
        return any(self._known(name) for name in names)

    def _read_batch(
        self,
        path: str,
        source: Source,
        body: JsonObject,
        own_key: str | None,
        received_at: datetime,
        ip: str,
        raw: bytes,
    ) -> Offer:
        events = body.get("batch")
        if not isinstance(events, list) or not events:
            raise Refusal(400, "batch: must be an array with at least one event", "batch")
        if len(events) > MAX_BATCH_EVENTS:
            raise Refusal(413, f"batch: must have at most {MAX_BATCH_EVENTS:,} events, not {len(events):,}", "batch")
        self._take(source, len(events))
        common = shared(body, len(events))
        sent_at = instant(common.get("sentAt"))
        # An import with `sentAt` comes from a library for phones, which sends its live events there.
        is_live = path != "import" or sent_at is not None
        origin: Origin = "import" if path == "import" else "call"
        clocks, is_deep = self._clocks[source.name], may_be_deep(raw, events)
        reception = Reception(received_at, origin, common, sent_at, ip if is_live else "", clocks, is_deep)
        return self._read_events(source, events, reception, own_key)

    def _read_one(self, source: Source, event: JsonObject, reception: Reception) -> Offer:
        try:
            checked = self._checked(source, event, reception)
        except Refusal as refusal:
            self._count_rejected(source, [(event, refusal)])
            raise
        return self._offer(source, [] if checked is None else [checked], [], reception)

    def _read_events(
        self,
        source: Source,
        events: list[Any],
        reception: Reception,
        own_key: str | None = None,
        others: Reception | None = None,
    ) -> Offer:
        """Return the offer of several events. `others`: how all but the first arrived, where that differs."""
        valid: list[_Valid] = []
        rejected: list[tuple[int, Refusal]] = []
        for index, event in enumerate(events):
            try:
                if own_key is not None and isinstance(event, dict) and event.get("writeKey", own_key) != own_key:
                    raise Refusal(401, "writeKey: must be the write key of the request", "writeKey")
                checked = self._checked(source, event, others if others and index else reception)
                if checked is not None:
                    valid.append(checked)
            except Refusal as refusal:
                rejected.append((index, refusal))
        for _, rejection in rejected:
            rejection.write(source.name)
        self._count_rejected(source, [(events[index], refusal) for index, refusal in rejected])
        return self._offer(source, valid, rejected, reception)

    def _offer(
        self, source: Source, valid: Sequence[_Valid], rejected: list[tuple[int, Refusal]], reception: Reception
    ) -> Offer:
        if not valid:
            return Offer(source, [], rejected)
        if is_of_react_native(valid[0][0]):
            valid = _identifies_first(valid)
        events, times, stored = zip(*valid, strict=True)
        ranks = self._ranks.of(source.name, events, times, reception.received_at, self._wait_ms(source, reception))
        return Offer(source, self._entries(source, events, compressed(stored), ranks), rejected)

    def _wait_ms(self, source: Source, reception: Reception) -> int:
        """Return how long the events of a request wait for earlier ones. History is not sorted unless asked for."""
        if source.reorder_ms is not None:
            return source.reorder_ms
        if reception.origin == "import":
            return 0
        return DEFAULT_REORDER_MS[reception.origin] if self._reorder_ms is None else self._reorder_ms

    def _checked(self, source: Source, received: Any, reception: Reception) -> _Valid | None:
        """Return an event completed and as JSON, None if it is dropped; raise Refusal when it is not valid."""
        if isinstance(received, Unreadable):
            raise Refusal(400, received.message)
        event, happened_at, remarks = completed(received, reception)
        for remark in remarks:
            self._counters.add(source.name, remark)
            if remark == "unlikely_ids":
                self._judge_unlikely_id(source, event)
        if event["type"] == "alias" and identities.names_one_person(event, self._schemes[source.name]):
            log.ALIASES_DROPPED.write(source=source.name)
            self._counters.add(source.name, "dropped")
            return None
        permissions = self._permissions[source.name]
        if permissions.are_limited or not reception.is_signed:
            permissions.check(event, reception)
        if source.client_events_per_s is not None:
            self._rates[source.name].take_event(event)
        return event, happened_at, as_stored(source.name, event, received)

    def _take(self, source: Source, events: int) -> None:
        """Count a request of so many events against the rate of the source; raise Refusal (429) when it is too high."""
        try:
            self._rates[source.name].take_request(events)
        except Refusal as refusal:
            self._counters.add(source.name, "throttled", events)
            self._counters.refuse(refusal, source.name)
            raise

    def _count_rejected(self, source: Source, rejected: Sequence[tuple[Any, Refusal]]) -> None:
        self._counters.add(source.name, "rejected", len(rejected))
        for event, refusal in rejected:
            self._counters.refuse(refusal, source.name, event)
            if refusal.status in _COUNTED:
                self._counters.add(source.name, _COUNTED[refusal.status])

    def _judge_unlikely_id(self, source: Source, event: JsonObject) -> None:
        """Raise Refusal if the source refuses such ids; else warn of the first one."""
        name = identities.unlikely(event)
        if name is None:
            return
        if source.unlikely_ids == "refuse":
            raise Refusal(400, f"{name}: must identify one person or group, which {event[name]!r} does not", name)
        if source.name not in self._warned:
            self._warned.add(source.name)
            log.UNLIKELY_ID.write(source=source.name, field=name)


def _whole(event: Any) -> Any:
    """Return the event of a request that is no batch; raise Refusal (400) when its member `batch` is not JSON."""
    members = event.get("batch") if isinstance(event, dict) else None
    for member in members if isinstance(members, list) else ():
        if isinstance(member, Unreadable):
            raise Refusal(400, f"batch: {member.message}", "batch")
    return event


def _identifies_first(events: Sequence[_Valid]) -> list[_Valid]:
    """Return the events with each identify before the other events of the same time.

    React Native's library queues an identify and a track of one tick in the other order
    (segmentio/analytics-react-native#584). Other libraries keep the order of the calls.
    """
    runs = (sorted(run, key=_is_no_identify) for _, run in groupby(events, key=_happened_at))
    return list(chain.from_iterable(runs))


def _happened_at(valid: _Valid) -> datetime:
    return valid[1]


def _is_no_identify(valid: _Valid) -> bool:
    return bool(valid[0]["type"] != "identify")


def _user_name(authorization: str) -> str | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return base64.b64decode(encoded).decode().partition(":")[0] or None
    return None
