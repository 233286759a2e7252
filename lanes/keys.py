"""The layout of a queue: every Redis key that Segue uses, and how an event is stored.

One queue (one destination) has one hash tag, so all of its keys are in one slot of a Redis Cluster. Scripts get the
base name `segue:{QUEUE}` as KEYS[1] and build the other names by suffix. `REGISTRY` lists every key of every package:
name, type, meaning, lifetime and owner. Unless an entry says otherwise, a field or a member is the sequence number of
an event.

Record: 13 digits of accepted-at (ms, Redis' clock), a byte: the number of keys, 8 bytes a key, then the body. An event
that was erased while a claim owned it has no body.
Sequence in a value: a byte: the number of digits, then the digits.
Lane: a byte: which key of its last event this is, from 0; the sequence of that event; when there are several events,
then the sequence of the first, and the number of events, in digits. Links: a byte: the number of lanes in which the
event is not the head; then, for each lane in which it is not the last, a byte: which of its keys, and the sequence of
its successor there.

Ordering keys are stored as 8-byte digests: they are small, and no identity is in Redis outside an event. If two keys
had the same digest, two people would wait for each other; no event would be lost or out of order.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from typing import Final, Literal

DIGEST_BYTES = 8
_ACCEPTED_AT = slice(0, 13)
_KEY_COUNT = 13
_KEYS_START = 14
_COUNTS = [bytes((count,)) for count in range(256)]
_DIGESTS = [Struct(f"{DIGEST_BYTES}s" * count) for count in range(256)]  # by their number
_DIGEST = blake2b(digest_size=DIGEST_BYTES)  # a copy costs two thirds of making one
_FINGERPRINT = blake2b(digest_size=9)
_FIRST = [bytes((byte % 16,)) for byte in range(256)]  # of 3 bytes of a hash, 20 bits choose the bucket


def base(queue: str) -> str:
    """Return the base name of every key of `queue`, with its hash tag."""
    return f"segue:{{{queue}}}"


@dataclass(frozen=True, slots=True)
class Key:
    """One Redis key, or a family of them. A `name` that begins with `:` stands behind a queue's base name. `{part}`
    varies.
    """

    name: str
    type: Literal["string", "hash", "list", "set", "zset"]
    meaning: str
    lifetime: str
    owner: str  # the package that writes it

    def of(self, queue: str, *parts: str | int) -> str:
        """Return the name of the key in this queue, with `parts` in the places that vary."""
        values = iter(parts)
        return base(queue) + _PART.sub(lambda _: str(next(values)), self.name)

    def matches(self, name: str) -> bool:
        """Whether `name` is this key, in any queue."""
        pattern = "".join(
            _PATTERNS.get(text, ".+") if _PART.fullmatch(text) else re.escape(text)
            for text in re.split(f"({_PART.pattern})", self.name)
        )
        prefix = r"segue:\{.+?\}" if self.name.startswith(":") else ""
        return re.fullmatch(prefix + pattern, name, re.DOTALL) is not None

    @property
    def expires(self) -> bool:
        """Whether Redis deletes it when its time is over."""
        return self in _EXPIRING

    @property
    def personal(self) -> Personal:
        """What it says of people."""
        return PERSONAL.get(self, "no")


# Nothing; hashes that a guess can be compared with; keyed hashes; their data.
Personal = Literal["no", "digests", "keyed hashes", "data"]

_PART = re.compile(r"\{\w+\}")
_PATTERNS = {"{generation}": r"\d+", "{shard}": r"\d+", "{id}": r"[^:]+", "{claim}": r"[0-9a-f]{32}/.*"}
_FOR_EVER, _UNFINISHED, _KEPT = "never deleted", "while the event is unfinished", "while the dead letter is kept"
_REMEMBERED = "remember_days of the destination, up to twice that"

LAYOUT = Key(":layout", "string", "version of the layout of all keys of the queue", _FOR_EVER, "lanes")
CONFIG = Key(
    ":config", "hash", "values that all processes share: cooldown_ms, dedupe_s, join_s, limit", _FOR_EVER, "lanes"
)
SEQ = Key(":seq", "string", "the last sequence number given", _FOR_EVER, "lanes")
EVENT = Key(":event", "hash", "event → record", _UNFINISHED, "lanes")
LANE = Key(":lane", "hash", "digest of an ordering key → its unfinished events", "while the lane has an event", "lanes")
LINKS = Key(":links", "hash", "event → number of lanes in which it waits, and its successors", _UNFINISHED, "lanes")
COOLDOWN = Key(
    ":cooldown", "hash", "event → ms between it and each event that shares a key with it", _UNFINISHED, "lanes"
)
FINISHED_AT = Key(
    ":finished_at:{generation}:{shard}",
    "string",
    "digests, each with the Redis time in ms at which an event with this key finished",
    "cooldown_ms, up to twice that",
    "lanes",
)
COOLING_UNTIL = Key(
    ":cooling_until:{generation}",
    "hash",
    "digest → the Redis time in ms until which events with this key wait, after an event with a cooldown",
    "cooldown_ms, up to twice that",
    "lanes",
)
JOIN = Key(
    ":join:{generation}",
    "hash",
    "digest → digest of the key that later events get as well",
    _REMEMBERED,
    "lanes",
)
READY = Key(
    ":ready",
    "zset",
    "event that is neither blocked nor claimed, by the Redis time in ms at which it is due",
    _UNFINISHED,
    "lanes",
)
CLAIMS = Key(
    ":claims",
    "zset",
    "id of an open claim, by the Redis time in ms at which its lease ends",
    "until settled or reaped",
    "lanes",
)
CLAIM = Key(
    ":claim:{claim}",
    "set",
    "the events that the claim owns; an id is 32 hexadecimal digits, `/`, and the claimant",
    "until settled or reaped",
    "lanes",
)
BLOCKING = Key(
    ":claim:blocking", "set", "dead letters that block later events of their keys", "until replayed or skipped", "lanes"
)
ATTEMPTS = Key(":attempts", "hash", "event → a line for each attempt, in the caller's bytes", _UNFINISHED, "lanes")
EXPIRED_CLAIMS = Key(
    ":expired_claims",
    "hash",
    "event → a line for each claim that expired: when (ms), and the claim's id",
    _UNFINISHED,
    "lanes",
)
DEAD = Key(":dead", "hash", "dead letter → record", _KEPT, "lanes")
FAILURE = Key(":failure", "hash", "dead letter → why it was buried, in the caller's bytes", _KEPT, "lanes")
DEAD_INDEX = Key(":dead_index", "zset", "dead letter, by its sequence", _KEPT, "lanes")
DEAD_CHANGES = Key(":dead_changes", "string", "how often a dead letter was edited or unblocked", _FOR_EVER, "lanes")
SPILLED = Key(
    ":spilled:{file}",
    "set",
    "dead letters that left Redis for this file, and `open` while more may",
    "until the file is finished",
    "lanes",
)
AGES = Key(":ages", "zset", "a second in which unfinished events were accepted, by itself", _UNFINISHED, "lanes")
AGE = Key(":age", "hash", "the same second → number of unfinished events", _UNFINISHED, "lanes")
HOT = Key(
    ":hot", "zset", "digest of a lane of 1,000 events or more, by its length", "while the lane is as long", "lanes"
)
SEEN = Key(
    ":seen:{generation}", "hash", "bucket → fingerprints of message ids", "dedupe_s, up to two thirds more", "lanes"
)
WAKEUP = Key(":wakeup", "string", "a wake-up was requested, or a deliverer polls", "a fraction of a second", "lanes")
SUPPRESSED = Key(
    ":suppressed", "set", "keyed hashes of digests; events with such a key are refused", "until unsuppressed", "lanes"
)
SUPPRESSED_CHANGES = Key(":suppressed:changes", "string", "how often the suppression list changed", _FOR_EVER, "lanes")
SECRET = Key(":secret", "string", "the key of those hashes", _FOR_EVER, "lanes")
TOTAL = Key(
    ":total",
    "hash",
    "accepted, duplicates, delivered, buried, released, reaped, spilled, erased → number of events",
    _FOR_EVER,
    "lanes",
)
ADMISSION = Key(":admission", "hash", "circuit breaker, pause and rate of the destination", _FOR_EVER, "delivery")
DEPARTED = Key(
    ":admission:departed", "list", "times of the last requests of a second in µs, newest first", _FOR_EVER, "delivery"
)
LOG = Key(
    ":log", "list", "the last requests with their responses, newest first", "3 days, log_requests entries", "delivery"
)
MERGED = Key(
    ":merged:{generation}",
    "hash",
    "digest of a merged person → digest and identifiers of the primary",
    _REMEMBERED,
    "delivery",
)
DELETED = Key(
    ":deleted:{generation}", "hash", "digest of a deleted person → time of the deletion in ms", _REMEMBERED, "delivery"
)
IDENTIFIED = Key(
    ":identified:{generation}",
    "hash",
    "digest → time and partner of the last update of a person",
    "2 to 4 hours",
    "delivery",
)
RECENT_ATTRIBUTES = Key(
    ":recent_attributes:{generation}",
    "hash",
    "digest of a person → attributes of recent updates",
    "cooldown_ms, up to twice that",
    "delivery",
)
REPLAYS = Key(
    ":replays",
    "zset",
    "id of a replay, by the Redis time in ms at which it began",
    "the last 200 replays",
    "dead_letters",
)
REPLAY = Key(":replay:{id}", "hash", "a replay and how far it is", "the last 200 replays", "dead_letters")
DRY_RUN = Key(":replay:{id}:dry_run", "hash", "what a dry run counted", "the last 200 replays", "dead_letters")
DRY_RUN_LOCK = Key(":replay:{id}:lock", "string", "a worker carries the dry run on", "seconds", "dead_letters")
REPLAY_LOCK = Key(":replays:lock", "string", "a worker carries the oldest replay on", "seconds", "dead_letters")
SPILL_LOCK = Key(":spill:lock", "string", "a worker moves dead letters to files", "seconds", "dead_letters")
RETENTION_DONE = Key(":retention:done", "string", "the retention of dead letters was checked", "30 s", "dead_letters")
RECEIPTS = Key(":receipts", "zset", "id of a receipt, by its time in ms", _FOR_EVER, "privacy")
RECEIPT = Key(
    ":receipt:{id}", "hash", "one erasure: time, operator, request, state, keyed hashes, counts", _FOR_EVER, "privacy"
)
ERASING = Key(":erasing", "set", "ids of receipts whose erasure is not finished", "until finished", "privacy")
ERASING_LOCK = Key(":erasing:lock", "string", "a worker finishes erasures", "60 s", "privacy")

SOURCES = Key(
    "segue:sources",
    "hash",
    "SOURCE:accepted, :duplicates, :suppressed, :rejected → number of events",
    _FOR_EVER,
    "ingest",
)
WORKERS = Key(
    "segue:workers",
    "zset",
    "name of a worker process, by the Redis time in seconds of its heartbeat",
    "while it runs",
    "workers",
)
AOF_REWRITE = Key(
    "segue:aof_rewrite", "string", "a rewrite of the append-only file is wanted", "until requested", "privacy"
)
AOF_REWRITE_DONE = Key("segue:aof_rewrite:done", "string", "a rewrite was requested recently", "10 min", "privacy")

CELERY_QUEUE = Key("segue", "list", "messages of Celery that wait for a worker", "until received", "celery")
CELERY_BINDING = Key("_kombu.binding.{exchange}", "set", "queues of an exchange of Celery", _FOR_EVER, "celery")
CELERY_PERMANENT = Key(
    "_kombu.binding_permanent.{exchange}", "set", "those of the queues that do not end", _FOR_EVER, "celery"
)
CELERY_DEADLINES = Key(
    "_kombu.binding_deadlines",
    "zset",
    "exchange whose queues end with their workers, by the time in ms at which its queues are forgotten",
    "until an hour after the last worker",
    "celery",
)
CELERY_UNACKED = Key(
    "unacked", "hash", "messages of Celery that were received and not acknowledged", "until acknowledged", "celery"
)
CELERY_UNACKED_INDEX = Key(
    "unacked_index", "zset", "the same messages, by the time of receipt in s", "until acknowledged", "celery"
)
CELERY_UNACKED_MUTEX = Key(
    "unacked_mutex", "string", "a worker returns messages that were not acknowledged", "5 min", "celery"
)

REGISTRY: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))

_EXPIRING: Final = frozenset(
    {
        FINISHED_AT,
        COOLING_UNTIL,
        JOIN,
        SEEN,
        WAKEUP,
        MERGED,
        DELETED,
        IDENTIFIED,
        RECENT_ATTRIBUTES,
        DRY_RUN_LOCK,
        REPLAY_LOCK,
        SPILL_LOCK,
        RETENTION_DONE,
        ERASING_LOCK,
        AOF_REWRITE_DONE,
        CELERY_UNACKED_MUTEX,
    }
)

# The table of docs/privacy.md has a row for each of these.
PERSONAL: Final[dict[Key, Personal]] = {
    EVENT: "data",
    ATTEMPTS: "data",
    DEAD: "data",
    FAILURE: "data",
    LOG: "data",
    MERGED: "data",
    RECENT_ATTRIBUTES: "data",
    REPLAY: "data",
    RECEIPT: "data",
    LANE: "digests",
    HOT: "digests",
    FINISHED_AT: "digests",
    COOLING_UNTIL: "digests",
    JOIN: "digests",
    SEEN: "digests",
    DELETED: "digests",
    IDENTIFIED: "digests",
    SUPPRESSED: "keyed hashes",
}


def digest(key: str) -> bytes:
    """Return the 8 bytes that stand for an ordering key."""
    hashed = _DIGEST.copy()
    hashed.update(key.encode("utf-8", "surrogatepass"))
    return hashed.digest()


def fingerprint(message_id: str) -> bytes:
    """Return what stands for a message id among those seen: 3 bytes for one of a million buckets, 6 that tell it apart.

    A bucket is one text of fingerprints. A million is as many as make both the buckets and what each adds small at a
    thousand events a second; 68 bits in all.
    """
    hashed = _FINGERPRINT.copy()
    hashed.update(message_id.encode("utf-8", "surrogatepass"))
    print = hashed.digest()
    return _FIRST[print[0]] + print[1:]


def record(accepted_at_ms: int, digests: Collection[bytes], body: bytes) -> bytes:
    """Return an event as it is written down; `digests` are those of its distinct keys."""
    return b"%013d%b" % (accepted_at_ms, undated(digests, body))


def undated(digests: Collection[bytes], body: bytes) -> bytes:
    """Return a record without its time."""
    return b"".join((_COUNTS[len(digests)], *digests, body))


def read_record(record: bytes) -> tuple[int, tuple[bytes, ...], bytes]:
    """Return when the event was accepted (ms), the digests of its keys, and its body."""
    digests = _DIGESTS[record[_KEY_COUNT]]
    return int(record[_ACCEPTED_AT]), digests.unpack_from(record, _KEYS_START), record[_KEYS_START + digests.size :]


def head(lane: bytes) -> str:
    """Return the first event of a lane."""
    tail, at = _sequence(lane, 1)
    return _sequence(lane, at)[0] if at < len(lane) else tail


def successor(links: bytes, key: int) -> str | None:
    """Return the event that comes next in the lane of this key, numbered as in the event's record; None behind the
    last."""
    at = 1
    while at < len(links):
        number = links[at]
        sequence, at = _sequence(links, at + 1)
        if number == key:
            return sequence
    return None


def _sequence(value: bytes, at: int) -> tuple[str, int]:
    """Return the sequence that stands at this place of a value, and where it ends."""
    end = at + 1 + value[at]
    return value[at + 1 : end].decode(), end
