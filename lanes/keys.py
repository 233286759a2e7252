"""Every Redis key of a queue: its name, type, meaning and lifetime; and how an event is written down.

One queue (one destination) is one hash tag, so that all of it lives in one slot of a Redis Cluster. Scripts are given
the base name `segue:{QUEUE}` as KEYS[1] and build the others by these suffixes. Unless told otherwise a field or a
member is the sequence number of an event, and lives as long as the event is unfinished.

    :seq       string  the last sequence number given; for ever
    :event     hash    event → record (below)
    :lane      hash    digest of an ordering key → its unfinished events (below)
    :place     hash    event → in how many lanes it waits and who is behind it (below), while there is either
    :hold      hash    event → ms that pass between it and each of its neighbours in a lane
    :rested:G:S string digests, each with the Redis time in ms when an event with this key finished (generation G,
                       shard S); for the longest hold and up to twice that
    :apart:G   hash    digest → the Redis time in ms until which what has this key waits, after an event with a hold;
                       the same
    :join:G    hash    digest → digest of the key that comes along with it (generation G); for as long as appends say
    :ready     zset    event, by the Redis time in ms at which it is due; neither blocked nor claimed
    :claims    zset    claim id, by the Redis time in ms at which its lease ends
    :claim:ID  set     the events that the claim owns; an id is 32 hexadecimal digits, `/`, and who claimed
    :attempts  hash    event → a line for each attempt, the caller's bytes
    :deaths    hash    event → a line for each claim that expired while it owned it: when (ms), and the claim's id
    :dead      hash    event → record; while the dead letter is kept
    :letter    hash    event → why it was buried, the caller's bytes; while the dead letter is kept
    :grave     zset    dead letter, by its sequence; while it is kept
    :grave:changes  string  how often a dead letter was changed where it is; for ever
    :spilled:FILE   set     dead letters that were removed because this file has them, and `open` while more may be;
                            until the file is finished
    :claim:held  set   dead letters that keep their place, so that what is behind them waits; until replayed or skipped
    :ages      zset    a second in which unfinished events were accepted, by itself
    :age       hash    the same second → how many
    :hot       zset    digest of a lane of a thousand events and more, by length
    :seen:G    hash    bucket → fingerprints of message ids (generation G); for the de-duplication window
    :hint      string  a wake-up was asked for, or a deliverer is listening; a moment
    :barred    set     keyed hashes of digests: what has such a key is refused at the door; until admitted again
    :barred:changes  string  how often that set was changed; for ever
    :secret    string  what those hashes are keyed with; for ever
    :total     hash    accepted, duplicates, delivered, buried, released, reaped, spilled, forgotten → count; for ever

Record: 13 digits of accepted-at (ms, Redis' clock), a byte: how many keys, 8 bytes a key, then the body; an event that
was forgotten while a claim owned it has none.
Sequence in a value: a byte: how many digits, then the digits.
Lane: a byte: which key of its last event this is, from 0; the sequence of that event; when there are several, then the
sequence of the first, and how many, in digits.
Place: a byte: the number of lanes in which the event is not the head; then, for each lane in which it is not the last,
a byte: which of its keys, and the sequence of its successor there.

Ordering keys are kept as 8-byte digests: small, and no identity stands in Redis outside an event. Should two keys ever
share a digest, two people would wait for each other; nothing would be lost or disordered.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from struct import Struct

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


def successor(place: bytes, key: int) -> str | None:
    """Return the event that comes next in the lane of this key, numbered as in the event's record; None behind the
    last."""
    at = 1
    while at < len(place):
        number = place[at]
        sequence, at = _sequence(place, at + 1)
        if number == key:
            return sequence
    return None


def _sequence(value: bytes, at: int) -> tuple[str, int]:
    """Return the sequence that stands at this place of a value, and where it ends."""
    end = at + 1 + value[at]
    return value[at + 1 : end].decode(), end
