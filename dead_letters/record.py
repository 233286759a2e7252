"""The record of a dead letter: the one definition of its members, in Redis, in files and in the output of commands.

The *failure* says why an event became a dead letter. It is stored beside the event as a JSON object: `{"class",
"message", "faults", "accepted", "unsent", "attempts", "expired_claims", "keys", "accepted_at_ms", "buried_at_ms",
"worker", "configuration", "original"?, "imported_at_ms"?, "unblocked_at_ms"?}`. `burial` makes it, and `FailureRecord`
reads and writes it.

A dead letter that was replayed or edited has a second record, *requeued*, in the body of its event:
`{"accepted_at_ms"?, "attempts"?, "original"?, "requests"?}`, see `RequeueRecord`.

Commands read a million records, so reading does not validate, and these types are not frozen, which would double its
time. No caller changes a record. `dead_letters.import_export` validates imported lines against the same types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Literal, Self

import orjson
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict
from zstandard import ZstdError

import lanes
from logs import events as log
from logs.causes import cause
from mapping.envelope import JsonObject, encoded, has_more_levels, name_of, pack, type_of, unpack

DAMAGED = (AttributeError, KeyError, TypeError, ValueError, ZstdError)  # what reading a damaged record raises

# A failure keeps the last attempts only; those before a replay count as well.
MOST_ATTEMPTS = 60
# Levels of an event that is imported or edited. Older versions accepted events of 251.
MOST_LEVELS = 253
LONGEST_REASON = 100  # of an attempt, in characters

# The bounds hold for imported lines. An integer is not a text or a float there.
Integer = Annotated[int, Field(strict=True)]
Time = Annotated[int, Field(ge=0, lt=10**13, strict=True)]  # Unix milliseconds, until the year 2286
Sequence = Annotated[int, Field(ge=1, lt=10**12, strict=True)]  # later events get greater ones; Redis adds them
Path = Literal["/api/v2/entity", "/api/v1/metrics"]

# For pydantic: an unknown member of an imported line would be lost.
_NO_OTHERS = ConfigDict(extra="forbid")


class Reason(StrEnum):
    """The classes of failures."""

    INVALID = "invalid"  # a mapping could not be filled, or the action does not accept its payload
    REJECTED = "rejected"  # Customer.io refused the operation permanently
    EXHAUSTED = "exhausted"  # the limit of attempts was reached
    POISON = "poison"  # the claims of the event expired repeatedly
    DELETED = "deleted"  # the event is older than the deletion of its person
    INTERNAL = "internal"  # Segue failed on the event: an exception that no code expected


@with_config(_NO_OTHERS)
class Attempt(TypedDict):
    """One attempt to deliver an event."""

    at_ms: Time
    worker: str
    reason: str  # why the attempt did not deliver the event


@with_config(_NO_OTHERS)
class Response(TypedDict):
    """The response of Customer.io to a refused request."""

    status: Integer | None  # None: no response
    body: str
    batch_index: Integer | None  # position of the operation in the batch


@dataclass(slots=True)
class Request:
    """An operation as it was sent, or would have been: `{"subscription", "action", "path", "request", "payload"?}`."""

    __pydantic_config__ = _NO_OTHERS

    subscription: str | None  # the name of the subscription; None for a privacy request
    action: str
    path: Path
    request: JsonObject
    payload: JsonObject | None = None  # the input of the action

    @classmethod
    def from_json(cls, json: JsonObject) -> Self:
        """Return the request of its JSON."""
        return cls(json["subscription"], json["action"], json["path"], json["request"], json.get("payload"))

    def json(self) -> JsonObject:
        """Return the JSON members of the request."""
        return {
            "subscription": self.subscription,
            "action": self.action,
            "payload": self.payload,
            "path": self.path,
            "request": self.request,
        }


@dataclass(slots=True)
class Fault:
    """One error of an event: `{"subscription", "action", "message"}`, and of a refused request also `payload`, `path`,
    `request` and `response`."""

    __pydantic_config__ = _NO_OTHERS

    subscription: str | None
    action: str
    message: str
    payload: JsonObject | None = None
    path: Path | None = None
    request: JsonObject | None = None
    response: Response | None = None

    @classmethod
    def from_json(cls, json: JsonObject) -> Self:
        """Return the fault of its JSON."""
        get = json.get
        return cls(
            json["subscription"],
            json["action"],
            json["message"],
            get("payload"),
            get("path"),
            get("request"),
            get("response"),
        )

    @property
    def refused(self) -> Request | None:
        """The refused request; None for a fault that occurred before a request was made."""
        if self.path is None or self.request is None:
            return None
        return Request(self.subscription, self.action, self.path, self.request, self.payload)

    def json(self) -> JsonObject:
        """Return the JSON members of the fault."""
        members: JsonObject = {"subscription": self.subscription, "action": self.action, "message": self.message}
        sent = {"payload": self.payload, "path": self.path, "request": self.request, "response": self.response}
        if self.request is None:
            sent = {name: value for name, value in sent.items() if value is not None}
        return members | sent


@dataclass(slots=True, kw_only=True)
class FailureRecord:
    """Why an event became a dead letter."""

    __pydantic_config__ = _NO_OTHERS

    reason: Annotated[Reason, Field(alias="class")]
    message: str  # of the first fault, unless the reason has a message of its own
    faults: tuple[Fault, ...]  # in the order of the subscriptions
    accepted: tuple[Request, ...] = ()  # operations of the event that Customer.io accepted in the last attempt
    unsent: tuple[Request, ...] = ()  # operations behind the refused one
    attempts: tuple[Attempt, ...] = ()  # including expired claims, and attempts before a replay
    expired_claims: Integer = 0  # how many claims of the event expired
    keys: tuple[str, ...] = ()  # ordering keys of the event
    accepted_at_ms: Time | None = None  # the first time, if the event was replayed
    buried_at_ms: Time
    worker: str = ""  # that buried the event
    configuration: str = ""  # a hash of the configuration of that worker
    original: JsonObject | None = None  # the event before it was edited
    imported_at_ms: Time | None = None
    unblocked_at_ms: Time | None = None  # when `hold_hours` ended the blocking

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Return the record of its stored form."""
        return cls.from_json(orjson.loads(stored))

    @classmethod
    def from_json(cls, json: JsonObject) -> Self:
        """Return the record of its JSON."""
        get = json.get
        return cls(
            reason=Reason(json["class"]),
            message=json["message"],
            faults=tuple(map(Fault.from_json, json["faults"])),
            accepted=tuple(map(Request.from_json, get("accepted", ()))),
            unsent=tuple(map(Request.from_json, get("unsent", ()))),
            attempts=tuple(get("attempts", ())),
            expired_claims=get("expired_claims", 0),
            keys=tuple(get("keys", ())),
            accepted_at_ms=get("accepted_at_ms"),
            buried_at_ms=json["buried_at_ms"],
            worker=get("worker", ""),
            configuration=get("configuration", ""),
            original=get("original"),
            imported_at_ms=get("imported_at_ms"),
            unblocked_at_ms=get("unblocked_at_ms"),
        )

    def json(self) -> JsonObject:
        """Return the JSON members of the record."""
        members: JsonObject = {
            "class": self.reason,
            "message": self.message,
            "faults": [fault.json() for fault in self.faults],
            "accepted": [request.json() for request in self.accepted],
            "unsent": [request.json() for request in self.unsent],
            "attempts": self.attempts,
            "expired_claims": self.expired_claims,
            "keys": self.keys,
            "accepted_at_ms": self.accepted_at_ms,
            "buried_at_ms": self.buried_at_ms,
            "worker": self.worker,
            "configuration": self.configuration,
        }
        for name in ("original", "imported_at_ms", "unblocked_at_ms"):
            if (value := getattr(self, name)) is not None:
                members[name] = value
        return members

    def to_bytes(self) -> bytes:
        """Return the record as it is stored."""
        return encoded(self.json())


@dataclass(slots=True, kw_only=True)
class RequeueRecord:
    """The part of a dead letter that stays with its event when it is replayed. All members are optional."""

    __pydantic_config__ = _NO_OTHERS

    accepted_at_ms: Time | None = None  # the first time
    attempts: tuple[Attempt, ...] = ()  # before the replay
    original: JsonObject | None = None  # the event before it was edited
    requests: tuple[Request, ...] | None = None  # to be sent in place of the mapped event

    @classmethod
    def from_json(cls, json: JsonObject) -> Self:
        """Return the record of its JSON; one without members for an empty object."""
        requests = json.get("requests")
        return cls(
            accepted_at_ms=json.get("accepted_at_ms"),
            attempts=tuple(json.get("attempts", ())),
            original=json.get("original"),
            requests=None if requests is None else tuple(map(Request.from_json, requests)),
        )

    def json(self) -> JsonObject:
        """Return the JSON members that are set."""
        members: JsonObject = {}
        if self.accepted_at_ms is not None:
            members["accepted_at_ms"] = self.accepted_at_ms
        if self.attempts:
            members["attempts"] = self.attempts
        if self.original is not None:
            members["original"] = self.original
        if self.requests is not None:
            members["requests"] = [request.json() for request in self.requests]
        return members


@dataclass(slots=True)
class DeadLetter:
    """A dead letter, read."""

    stored: lanes.DeadLetter
    source: str
    event: JsonObject
    requeued: RequeueRecord
    failure: FailureRecord
    is_damaged: bool = False  # it cannot be read

    @property
    def sequence(self) -> int:
        """The number of the dead letter, in the order in which events were accepted."""
        return self.stored.sequence

    @property
    def blocks(self) -> bool:
        """Whether later events of its keys wait for it."""
        return self.stored.blocks

    @property
    def accepted_at_ms(self) -> int:
        """When the event was accepted, the first time if it was replayed."""
        accepted_at_ms = self.failure.accepted_at_ms
        return self.stored.accepted_at_ms if accepted_at_ms is None else accepted_at_ms

    @property
    def stored_since_ms(self) -> int:
        """When the dead letter was added to Redis: buried, or imported."""
        return self.failure.imported_at_ms or self.failure.buried_at_ms

    @property
    def name(self) -> str:
        """The name of the event, or its type if it has none."""
        return name_of(self.event) or str(type_of(self.event))

    @property
    def subscription(self) -> str | None:
        """The subscription of the first fault, None without one."""
        return self.failure.faults[0].subscription if self.failure.faults else None

    @property
    def action(self) -> str | None:
        """The action of the first fault, None without one."""
        return self.failure.faults[0].action if self.failure.faults else None

    @property
    def is_edited(self) -> bool:
        """Whether the event is not the original one."""
        return self.failure.original is not None or self.requeued.original is not None

    @property
    def requests(self) -> tuple[Request, ...] | None:
        """The operations that Customer.io did not accept; None when one of them was never made."""
        refused = [fault.refused for fault in self.failure.faults]
        made = [request for request in refused if request is not None]
        return (*made, *self.failure.unsent) if refused and len(made) == len(refused) else None

    def json(self) -> JsonObject:
        """Return the members for operators: `{"sequence", "source", "name", "action", "blocks"}`, those of the failure,
        and `{"event"}`."""
        return {
            "sequence": self.sequence,
            "source": self.source,
            "name": self.name,
            "action": self.action,
            "blocks": self.blocks,
            **self.failure.json(),
            "accepted_at_ms": self.accepted_at_ms,
            "event": self.event,
        }

    def line(self, destination: str) -> Line:
        """Return the dead letter as a line of a file."""
        return Line(
            source=self.source,
            event=self.event,
            failure=self.failure,
            destination=destination,
            sequence=self.sequence,
            accepted_at_ms=self.stored.accepted_at_ms,
            requeued=self.requeued,
        )

    def requeued_body(self, *, as_recorded: bool) -> bytes:
        """Return the body of the event for a replay; with `as_recorded`, its `requests` are sent in place of it."""
        record = RequeueRecord(
            accepted_at_ms=self.accepted_at_ms,
            attempts=self.failure.attempts,
            original=self.failure.original,
            requests=self.requests if as_recorded else None,
        )
        return pack(self.source, self.event, record.json())

    def edited(self, event: JsonObject) -> tuple[bytes, bytes]:
        """Return the body and the failure with another event. The first original event is kept in both.

        Raises ValueError when the dead letter is damaged, or when the event is nested too deeply to be stored.
        """
        if self.is_damaged:
            raise ValueError(self.failure.message)
        ensure_storable(event)
        original = self.event if self.failure.original is None else self.failure.original
        body = pack(self.source, event, replace(self.requeued, original=original).json())
        return body, replace(self.failure, original=original).to_bytes()


@dataclass(slots=True, kw_only=True)
class Line:
    """A dead letter as a line of a spill file or an export: `{"destination", "sequence", "accepted_at_ms", "source",
    "event", "requeued", "failure"}`. The first three may be missing in a line that is imported."""

    __pydantic_config__ = ConfigDict(extra="ignore")

    source: str
    event: JsonObject
    failure: FailureRecord
    destination: str | None = None
    sequence: Sequence | None = None
    accepted_at_ms: Time | None = None
    requeued: RequeueRecord = field(default_factory=RequeueRecord)

    @classmethod
    def from_bytes(cls, text: bytes) -> Self:
        """Return the line of its text. Raises ValueError, KeyError or TypeError when it is not one."""
        json: JsonObject = orjson.loads(text)
        return cls(
            source=json["source"],
            event=json["event"],
            failure=FailureRecord.from_json(json["failure"]),
            destination=json.get("destination"),
            sequence=json.get("sequence"),
            accepted_at_ms=json.get("accepted_at_ms"),
            requeued=RequeueRecord.from_json(json.get("requeued", {})),
        )

    def to_bytes(self) -> bytes:
        """Return the line as bytes, without the end of line."""
        return encoded(
            {
                "destination": self.destination,
                "sequence": self.sequence,
                "accepted_at_ms": self.accepted_at_ms,
                "source": self.source,
                "event": self.event,
                "requeued": self.requeued.json(),
                "failure": self.failure.json(),
            }
        )

    def events(self) -> Iterator[JsonObject]:
        """Yield the event, and the events before it was edited."""
        yield self.event
        for original in (self.requeued.original, self.failure.original):
            if original is not None:
                yield original

    def body(self) -> bytes:
        """Return the body to store."""
        return pack(self.source, self.event, self.requeued.json())


def read(stored: lanes.DeadLetter) -> DeadLetter:
    """Return a stored dead letter, read.

    One that is damaged has an empty event, and its failure says so. Commands can list and discard it; its event cannot
    be sent or moved.
    """
    try:
        source, event, kept = unpack(stored.body)
        requeued = RequeueRecord.from_json(kept) if kept else RequeueRecord()
        return DeadLetter(stored, source, event, requeued, FailureRecord.from_bytes(stored.failure))
    except DAMAGED as error:
        return DeadLetter(stored, "", {}, RequeueRecord(), _damaged(stored, error), is_damaged=True)


def read_failure(stored: lanes.DeadLetter) -> FailureRecord:
    """Return the failure of a stored dead letter; of a damaged one, a failure that says so."""
    try:
        return FailureRecord.from_bytes(stored.failure)
    except DAMAGED as error:
        return _damaged(stored, error)


def _damaged(stored: lanes.DeadLetter, error: Exception) -> FailureRecord:
    message = f"the dead letter is damaged: {type(error).__name__}: {error}"
    return FailureRecord(reason=Reason.INTERNAL, message=message, faults=(), buried_at_ms=stored.accepted_at_ms)


def lines(destination: str, dead_letters: Iterable[DeadLetter]) -> Iterator[tuple[DeadLetter, bytes]]:
    """Yield the dead letters with their lines; those that cannot be written as a line are logged and left out."""
    for dead_letter in dead_letters:
        try:
            if dead_letter.is_damaged:
                raise ValueError(dead_letter.failure.message)
            line = dead_letter.line(destination).to_bytes()
        except (TypeError, ValueError, RecursionError) as error:
            sequence = dead_letter.sequence
            log.DEAD_LETTER_UNWRITABLE.write(destination=destination, sequence=sequence, error=cause(error))
        else:
            yield dead_letter, line


def ensure_storable(event: JsonObject) -> None:
    """Raise ValueError when the event is nested too deeply to be stored."""
    if has_more_levels(event, MOST_LEVELS):
        raise ValueError(f"the event is nested in more than {MOST_LEVELS} levels")


def attempt(now_s: float, reason: str, worker: str) -> bytes:
    """Return the line that is stored for an attempt when its event is released: `[at_ms, worker, reason]`."""
    return orjson.dumps([int(now_s * 1000), worker, reason[:LONGEST_REASON]])


def reason_of(attempt: bytes) -> str:
    """Return the reason in a line of `attempt`."""
    return str(orjson.loads(attempt)[2])
