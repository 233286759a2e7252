"""The registry of every Redis key of every package, and the numbers that Lua and Python share.

One queue (one destination) has one hash tag, so all of its keys are in one slot of a Redis Cluster. Scripts get the
base name `segue:{QUEUE}` as KEYS[1]; `lanes.scripts` writes the other names and the numbers into them, by the names
that they have here. Unless an entry says otherwise, a field or a member is the sequence number of an event; how an
event is stored is in `lanes/records.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

# Numbers that Lua and Python share. A script that names one finds its value at its head.
TIME_DIGITS = 13  # of a time in ms
DIGEST_BYTES = 8  # of an ordering key
ULID_CHARACTERS = 26
SEQUENCE_DIGITS = 15  # of a sequence in :dead_keys
KEY_COUNT = TIME_DIGITS + 1  # where a record has its number of keys, from 1
BUCKET_BYTES, FINGERPRINT_BYTES = 3, 6  # of a message id
GENERATIONS = 3  # past generations of message ids that are searched besides the current one
SHARDS = 16  # texts in which the times of finished keys are kept
HOT_LENGTH = 1000  # events of a lane that is counted as hot
HEARTBEAT_S = 5  # a worker process without a heartbeat for that long does not run
WAKEUP_MS = 200  # for how long a requested deliverer may take to arrive before another one is requested
MOST_WAKEUPS = 4  # deliverers requested at once
TIMES_KEPT_S = 7200  # for how long the time and the partner of an update, and attribute clocks, are remembered
CLOCK_NAME_BYTES, CLOCK_TIME_BYTES = 5, 6  # of the name of an attribute, hashed, and of its client time in ms
MOST_CLOCKS = 300  # attributes of a person whose clocks are remembered: as many as Customer.io stores
MISSING_KEPT_S = 30 * 86_400  # for how long an event that was set aside is remembered
LINKS_UNTIL, FIRST_SUCCESSOR = 2, 2 + TIME_DIGITS  # where links have their time and their first successor, from 1
WAIT_DIGITS, CLIENT_BYTES, RANK_DIGITS = 5, 8, 4 * TIME_DIGITS + 4  # of an offered rank
MARK = RANK_DIGITS + 1  # where a rank has its mark, from 1
CLIENT_END = MARK + CLIENT_BYTES  # where its client ends
UNTIL_END = CLIENT_END + TIME_DIGITS  # where the time of a stored rank ends
RANK_GENERATION_MS = 1000  # of a generation of ranks
LONGEST_WAIT_MS = 10_000  # for which earlier events may go before an event
COOLED_KEPT_MS = 3_600_000  # for how long it is counted how long the cooldowns of a key lasted

NUMBERS: Final = {name: value for name, value in tuple(globals().items()) if isinstance(value, int)}


def base(queue: str) -> str:
    """Return the base name of every key of `queue`, with its hash tag."""
    return f"segue:{{{queue}}}"


def escaped(text: str) -> str:
    """Return a pattern of SCAN that matches only this text."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)


@dataclass(frozen=True, slots=True)
class Key:
    """A Redis key, or a family of them. A `name` that begins with `:` follows a queue's base name. `{part}` varies."""

    name: str
    type: Literal["string", "hash", "list", "set", "zset", "stream"]
    meaning: str
    lifetime: str
    owner: str  # the package that writes it
    expires: bool | None = False  # whether it has a TTL; None: at times
    # What it says of people: nothing, hashes that a guess can be compared with, keyed hashes, or their data.
    personal: Literal["no", "digests", "keyed hashes", "data"] = "no"

    def of(self, queue: str, *parts: str | int) -> str:
        """Return the name of the key in this queue, with `parts` in the places that vary."""
        values = iter(parts)
        return base(queue) + _PART.sub(lambda _: str(next(values)), self.name)

    @property
    def prefix(self) -> str:
        """The name up to the first part that varies."""
        return self.name.partition("{")[0]

    def matches(self, name: str) -> bool:
        """Whether `name` is this key, in any queue."""
        return _pattern(self.name).fullmatch(name) is not None


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """Return what the names of a key match."""
    pattern = "".join(
        _PATTERNS.get(text, ".+") if _PART.fullmatch(text) else re.escape(text)
        for text in re.split(f"({_PART.pattern})", name)
    )
    prefix = r"segue:\{.+?\}" if name.startswith(":") else ""
    return re.compile(prefix + pattern, re.DOTALL)


_PART = re.compile(r"\{\w+\}")
_PATTERNS = {
    "{generation}": r"\d+",
    "{hour}": r"\d+",
    "{shard}": r"\d+",
    "{id}": r"[^:]+",
    "{claim}": r"[0-9a-f]{32}/.*",
}
_FOR_EVER, _UNFINISHED, _KEPT = "never deleted", "while the event is unfinished", "while the dead letter is kept"
_COOLING, _REMEMBERED = "cooldown_ms, up to twice that", "remember_days of the destination, up to twice that"
_REPLAYED = "the last 200 replays"

# The queue itself

LAYOUT = Key(":layout", "string", "version of the layout of all keys of the queue", _FOR_EVER, "lanes")
CONFIG = Key(
    ":config", "hash", "values that all processes share: cooldown_ms, dedupe_s, join_s, limit", _FOR_EVER, "lanes"
)
REGROUPING = Key(
    ":regrouping",
    "hash",
    "the values that `segue lanes configure --apply` is about to store, and when it began (ms)",
    "until it is done",
    "lanes",
)
SEQ = Key(":seq", "string", "the last sequence number given", _FOR_EVER, "lanes")
TOTAL = Key(
    ":total",
    "hash",
    "accepted, reordered, duplicates, delivered, unsent, buried, released, reaped, spilled, erased, missing → number "
    "of events; unbounded_keys → number of keys that exceeded a bound",
    _FOR_EVER,
    "lanes",
)
CLOCK = Key(":clock", "string", "the Redis time in ms of the last sweep", _FOR_EVER, "lanes")
NEWEST = Key(":newest", "string", "the newest Redis time in ms of an append, a claim or a sweep", _FOR_EVER, "lanes")
WAKEUP = Key(
    ":wakeup",
    "string",
    "a deliverer was requested, or one polls",
    "a fraction of a second",
    "lanes",
    expires=True,
)

# Events and their order

EVENT = Key(":event", "hash", "event → record", _UNFINISHED, "lanes", personal="data")
LANE = Key(
    ":lane",
    "hash",
    "digest of an ordering key → its unfinished events",
    "while the lane has an event",
    "lanes",
    personal="digests",
)
LINKS = Key(
    ":links",
    "hash",
    "event → number of lanes in which it waits, until when it waits for earlier events (ms), and its successors",
    _UNFINISHED,
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
ATTEMPTS = Key(
    ":attempts",
    "hash",
    "event → a line for each attempt, in the caller's bytes",
    _UNFINISHED,
    "lanes",
    personal="data",
)
EXPIRED_CLAIMS = Key(
    ":expired_claims",
    "hash",
    "event → a line for each claim that expired: when (ms), and the claim's id",
    _UNFINISHED,
    "lanes",
)
AGE = Key(":age", "hash", "second → number of unfinished events that were accepted in it", _UNFINISHED, "lanes")
AGES = Key(":ages", "zset", "the same seconds, by themselves", _UNFINISHED, "lanes")
RANK = Key(
    ":rank:{generation}",
    "hash",
    "event → until when earlier events go before it (ms), its client, its rank, and its predecessors",
    "until then, and 3 s more",
    "lanes",
    expires=True,
    personal="digests",
)
HOT = Key(
    ":hot",
    "zset",
    "digest of a lane of 1,000 events or more, by the length that it reached",
    "while the lane is as long",
    "lanes",
    personal="digests",
)
MISSING = Key(
    ":missing",
    "set",
    "events that were set aside because their record was missing",
    "30 days after the last one",
    "lanes",
    expires=True,
)

# Fates: what became of the accepted events. An hour is a number of hours since 1970, by the time of acceptance.

FATES = Key(
    ":fates:{hour}",
    "hash",
    "[FATE, SOURCE, REASON] → number of events that were accepted in this hour, see `lanes/fates.py`",
    "30 days after none of them is open",
    "lanes",
    expires=None,
)
FATE_TOTALS = Key(":fates:total", "hash", "[FATE, SOURCE, REASON] → number of events of all hours", _FOR_EVER, "lanes")
OPEN = Key(
    ":open",
    "hash",
    "hour → number of its events that wait or are dead letters; HOUR `sum` → sum of their sequences",
    "while there is one",
    "lanes",
)
BURIED_AS = Key(":buried_as", "hash", "dead letter → how :fates counts it", _KEPT, "lanes")
ERASED = Key(
    ":erased",
    "hash",
    "event that was erased while a claim owned it → how :fates will count it",
    "until its claim ends",
    "lanes",
)

# Cooldowns, joins and message ids

COOLDOWN = Key(
    ":cooldown",
    "hash",
    "event → ms between it and each event that shares a key with it, and its run",
    _UNFINISHED,
    "lanes",
    personal="digests",
)
FINISHED_AT = Key(
    ":finished_at:{generation}:{shard}",
    "string",
    "digests, each with the Redis time in ms at which an event with this key finished",
    _COOLING,
    "lanes",
    expires=True,
    personal="digests",
)
COOLING_UNTIL = Key(
    ":cooling_until:{generation}",
    "hash",
    "digest → the Redis time in ms until which events with this key wait, after an event with a cooldown; its run",
    _COOLING,
    "lanes",
    expires=True,
    personal="digests",
)
COOLED = Key(
    ":cooled:{generation}",
    "hash",
    "digest → for how many ms its cooldowns lasted, for how many ms they delayed its last event with one, when that "
    "finished (ms), its run; `-` for a time that reached its bound",
    "1 to 2 hours",
    "lanes",
    expires=True,
    personal="digests",
)
JOIN = Key(
    ":join:{generation}",
    "hash",
    "digest → digest of the key that later events get as well",
    _REMEMBERED,
    "lanes",
    expires=True,
    personal="digests",
)
JOINED = Key(
    ":joined:{generation}",
    "hash",
    "digest → number of keys that were joined to this one",
    _REMEMBERED,
    "lanes",
    expires=True,
    personal="digests",
)
SEEN = Key(
    ":seen:{generation}",
    "hash",
    "bucket → fingerprints of message ids",
    "dedupe_s, up to two thirds more",
    "lanes",
    expires=True,
    personal="digests",
)

# Dead letters

DEAD = Key(":dead", "hash", "dead letter → record", _KEPT, "lanes", personal="data")
FAILURE = Key(
    ":failure", "hash", "dead letter → why it was buried, in the caller's bytes", _KEPT, "lanes", personal="data"
)
DEAD_INDEX = Key(":dead_index", "zset", "dead letter, by its sequence", _KEPT, "lanes")
DEAD_KEYS = Key(
    ":dead_keys",
    "zset",
    "digest of an ordering key of a dead letter, and its sequence; ordered by these, without a score",
    _KEPT,
    "lanes",
    personal="digests",
)
DEAD_CHANGES = Key(":dead_changes", "string", "how often a dead letter was edited or unblocked", _FOR_EVER, "lanes")
BLOCKING = Key(
    ":claim:blocking", "set", "dead letters that block later events of their keys", "until replayed or skipped", "lanes"
)
SPILLED = Key(
    ":spilled:{file}",
    "set",
    "dead letters that left Redis for this file, and `open` while more may",
    "until the file is finished",
    "lanes",
)
REPLAYS = Key(
    ":replays", "zset", "id of a replay, by the Redis time in ms at which it began", _REPLAYED, "dead_letters"
)
REPLAY = Key(":replay:{id}", "hash", "a replay and how far it is", _REPLAYED, "dead_letters", personal="data")
DRY_RUN = Key(":replay:{id}:dry_run", "hash", "what a dry run counted", _REPLAYED, "dead_letters")
DRY_RUN_PEOPLE = Key(
    ":replay:{id}:people",
    "set",
    "digests of the people that a dry run would change",
    "until the dry run ends",
    "dead_letters",
    personal="digests",
)
DRY_RUN_LOCK = Key(
    ":replay:{id}:lock", "string", "a worker carries the dry run on", "seconds", "dead_letters", expires=True
)
REPLAY_LOCK = Key(
    ":replays:lock", "string", "a worker carries the oldest replay on", "seconds", "dead_letters", expires=True
)
SPILL_LOCK = Key(
    ":spill:lock", "string", "a worker moves dead letters to files", "seconds", "dead_letters", expires=True
)
RETENTION_DONE = Key(
    ":retention:done", "string", "the retention of dead letters was checked", "30 s", "dead_letters", expires=True
)

# Moving to another queue

DRAINED = Key(
    ":drained:{queue}",
    "hash",
    "which claim and which dead letters of that queue were added to this one last",
    "until all of that queue is moved",
    "lanes",
)
DRAIN_LOCK = Key(":drain:lock", "string", "a command moves or discards the queue", "30 s", "lanes", expires=True)

# Suppression and erasure

SUPPRESSED = Key(
    ":suppressed",
    "set",
    "keyed hashes of digests; events with such a key are refused",
    "until unsuppressed",
    "lanes",
    personal="keyed hashes",
)
SUPPRESSED_CHANGES = Key(":suppressed:changes", "string", "how often the suppression list changed", _FOR_EVER, "lanes")
SECRET = Key(":secret", "string", "the key of those hashes", _FOR_EVER, "lanes")
RECEIPTS = Key(":receipts", "zset", "id of a receipt, by its time in ms", _FOR_EVER, "privacy")
RECEIPT = Key(
    ":receipt:{id}",
    "hash",
    "one erasure: time, operator, request, state, keyed hashes, counts",
    _FOR_EVER,
    "privacy",
    personal="data",
)
ERASING = Key(":erasing", "set", "ids of receipts whose erasure is not finished", "until finished", "privacy")
ERASING_LOCK = Key(":erasing:lock", "string", "a worker finishes erasures", "60 s", "privacy", expires=True)

# Delivery

ADMISSION = Key(
    ":admission",
    "hash",
    "circuit breaker, pause and rate of the destination, its responses 429, and what an operator set in their place",
    _FOR_EVER,
    "delivery",
)
ACQUIRED = Key(
    ":admission:acquired", "list", "times of the last requests of a second in µs, newest first", _FOR_EVER, "delivery"
)
UNSENT = Key(
    ":unsent",
    "hash",
    "not_applicable:SUBSCRIPTION → number of events that matched a subscription whose action does not apply",
    _FOR_EVER,
    "delivery",
)
UNAPPLIED = Key(
    ":unapplied",
    "hash",
    "reason of delivery/unapplied.py → number of operations that were accepted and will not be applied",
    _FOR_EVER,
    "delivery",
)
LOG = Key(
    ":log",
    "list",
    "the last requests with their responses, newest first; with a ledger, also decisions by which nothing was sent",
    "3 days, log_requests entries, a tenth of maxmemory; with a ledger, until it is written to a file",
    "delivery",
    expires=None,
    personal="data",
)
LEDGER = Key(
    ":ledger",
    "hash",
    "state of the ledger: seen_ms, written_ms, entries, discarded, discarded_ms, see `delivery/recording/ledger.py`",
    _FOR_EVER,
    "ledger",
)
LEDGER_ERASURES = Key(
    ":ledger_erasures",
    "hash",
    "id of a receipt → digests of the ordering keys of a person whose rows the ledger has to remove",
    "until the ledger has removed the rows",
    "privacy",
    personal="digests",
)
SAMPLES = Key(
    ":samples:{id}",
    "list",
    "rows of figures over time, newest first: each 10 s, minute and ten minutes",
    "1 h, 1 d, 14 d",
    "series",
    expires=True,
)
RECENT_EVENTS = Key(
    ":recent_events:{generation}",
    "hash",
    "source, type, name and slot → an event as it is stored",
    "2 days, 1,500 events a day",
    "series",
    expires=True,
    personal="data",
)
SAMPLED = Key(":sampled", "string", "a row was written", "10 s", "series", expires=True)
COUNTS = Key(
    ":counts",
    "hash",
    "class of response, or bucket of latency → number of requests, or of operations",
    _FOR_EVER,
    "series",
)
MERGED = Key(
    ":merged:{generation}",
    "hash",
    "digest of a merged person → digest of the primary; a byte: `t` when a trusted source merged; its identifiers",
    _REMEMBERED,
    "delivery",
    expires=True,
    personal="data",
)
DELETED = Key(
    ":deleted:{generation}",
    "hash",
    "digest of a deleted person → time of the deletion in ms",
    _REMEMBERED,
    "delivery",
    expires=True,
    personal="digests",
)
IDENTIFIED = Key(
    ":identified:{generation}",
    "hash",
    "digest → time and partner of the last update of a person",
    "2 to 4 hours",
    "delivery",
    expires=True,
    personal="digests",
)
IDENTIFIER_CHANGES = Key(
    ":identifier_changes:{generation}",
    "hash",
    "digest of an identifier → number of updates that connected it to another one",
    "2 to 4 hours",
    "delivery",
    expires=True,
    personal="digests",
)
ADDRESS_CONFLICTS = Key(
    ":address_conflicts:{generation}",
    "hash",
    "digest of a person who was given an address in vain, or another one → 3 bytes of the digest of the one that the "
    "person has, if it is known; of an address → `lead`, or nothing for one that was given by cio_id",
    "2 to 4 hours",
    "delivery",
    expires=True,
    personal="digests",
)
ATTRIBUTE_CLOCKS = Key(
    ":attribute_clocks:{generation}",
    "hash",
    "digest of a person or object → times and hashed names of its attributes; of an address → digest of its person",
    "2 to 4 hours",
    "delivery",
    expires=True,
    personal="digests",
)
RECENT_ATTRIBUTES = Key(
    ":recent_attributes:{generation}",
    "hash",
    "digest of a person → attributes of recent updates",
    _COOLING,
    "delivery",
    expires=True,
    personal="data",
)

# Beside the queues

SOURCES = Key(
    "segue:sources",
    "hash",
    "SOURCE:accepted, :duplicates, :rejected and others (`ingest.counters`) → number of events",
    _FOR_EVER,
    "ingest",
)
REFUSALS = Key(
    "segue:refusals",
    "hash",
    "[SOURCE, STATUS, CAUSE] → number of requests, or of events of a request, that ingest refused",
    _FOR_EVER,
    "ingest",
)
WORKERS = Key(
    "segue:workers",
    "zset",
    "name of a worker process, by the Redis time in seconds of its heartbeat",
    "while a worker runs",
    "workers",
)
CONFIGURATIONS = Key(
    "segue:configurations",
    "hash",
    "name of a process → Redis time in ms, its own, digest of its configuration, and why it refused another; "
    "`request` → number of requests to load the file again",
    "1 h after the last process",
    "lanes",
    expires=True,
)
CONSOLE_SECRET = Key(
    "segue:console_secret", "string", "the key that signs the sessions of the console", _FOR_EVER, "console"
)
CONSOLE_AUDIT = Key(
    "segue:audit",
    "list",
    "what operators did in the console, newest first: who, what, and how many",
    "10,000 entries",
    "console",
)
TAP_WATCHED = Key(
    "segue:tap:watched",
    "string",
    "a live tail is watched: ingest and workers copy one event in so many",
    "30 s after the last look",
    "lanes",
    expires=True,
)
TAP_INGEST = Key(
    "segue:tap:ingest",
    "stream",
    "copies of a few events that ingest accepted or refused",
    "1 min, 500 events",
    "lanes",
    expires=True,
    personal="data",
)
TAP_WORKERS = Key(
    "segue:tap:workers",
    "stream",
    "copies of a few events that workers finished, with their requests",
    "1 min, 500 events",
    "lanes",
    expires=True,
    personal="data",
)
LEDGER_OWNER = Key(
    "segue:ledger",
    "string",
    "id of the directory whose ledger process writes",
    "15 s after its process ended",
    "ledger",
    expires=True,
)
AOF_REWRITE = Key(
    "segue:aof_rewrite", "string", "a rewrite of the append-only file is wanted", "until requested", "privacy"
)
AOF_REWRITE_DONE = Key(
    "segue:aof_rewrite:done", "string", "a rewrite was requested recently", "10 min", "privacy", expires=True
)

CELERY_QUEUE = Key("segue", "list", "messages of Celery that wait for a worker", "until received", "celery")
CELERY_BINDING = Key("_kombu.binding.{exchange}", "set", "queues of an exchange of Celery", _FOR_EVER, "celery")
CELERY_PERMANENT = Key(
    "_kombu.binding_permanent.{exchange}", "set", "those of the queues that do not end", _FOR_EVER, "celery"
)
CELERY_UNACKED = Key(
    "unacked", "hash", "messages of Celery that were received and not acknowledged", "until acknowledged", "celery"
)
CELERY_UNACKED_INDEX = Key(
    "unacked_index", "zset", "the same messages, by the time of receipt in s", "until acknowledged", "celery"
)
CELERY_UNACKED_MUTEX = Key(
    "unacked_mutex",
    "string",
    "a worker returns messages that were not acknowledged",
    "5 min",
    "celery",
    expires=True,
)

KEYS: Final = {name: value for name, value in tuple(globals().items()) if isinstance(value, Key)}
REGISTRY: Final = tuple(KEYS.values())
