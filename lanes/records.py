"""How an event, its lanes and its links are stored, and the digests and fingerprints of keys and message ids.

`records`, `links` and `lanes` in `lanes/lua/lib` read and write the same. Numbers and sequences are text, but for
counts of one byte.

Record: 13 digits of accepted-at (ms, Redis' clock), a byte: the number of keys, 8 bytes a key, then the body. An event
that was erased while a claim owned it has no body.

Sequence in a value: a byte: the number of digits, then the digits.

Lane: a byte: which key of its last event this is, from 0; the sequence of that event. When there are several events,
the sequence of the first and the number of events follow, in digits.

Links of an event: a byte: the number of lanes in which it is not the head. 13 digits: until when it waits for earlier
events (ms, Redis' clock), zeros when it does not. Then, for each lane in which it is not the last, a byte: which of its
keys; and the sequence of its successor there. An event that is the head and the last of all its lanes has none. The
time counts only while it waits in a lane. The head of all its lanes is in `:ready`, by the time at which it is due.

Rank of an event that earlier events may go before: 56 digits (see `rank`). `c` when the event has a cooldown, else `-`.
8 bytes: its client. 13 digits: until when (ms, Redis' clock). Then, for each of its keys, the sequence of its
predecessor in that lane, or a zero byte.

Cooldown of an event: its ms in digits; when the event is of a run, then a space and the 8 bytes of the run. The time
until which a key cools: 13 digits (ms). Then the 8 bytes of the run of the event that finished, if it had one.

Ordering keys are stored as 8-byte digests: they are small, and no identity is in Redis outside an event. If two keys
had the same digest, two people would wait for each other; no event would be lost or out of order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from lanes.keys import (
    BUCKET_BYTES,
    CLIENT_BYTES,
    DIGEST_BYTES,
    FINGERPRINT_BYTES,
    RANK_DIGITS,
    TIME_DIGITS,
    WAIT_DIGITS,
)

_ACCEPTED_AT = slice(0, TIME_DIGITS)
_KEY_COUNT = TIME_DIGITS
_KEYS_START = TIME_DIGITS + 1
_FIRST_SUCCESSOR = 1 + TIME_DIGITS  # in links
_COUNTS = [bytes((count,)) for count in range(256)]
_DIGESTS = [Struct(f"{DIGEST_BYTES}s" * count) for count in range(256)]  # by their number
_DIGEST = blake2b(digest_size=DIGEST_BYTES)  # a copy costs two thirds of making one
_FINGERPRINT = blake2b(digest_size=BUCKET_BYTES + FINGERPRINT_BYTES)
_LONG = 1_000  # characters of keys, which may have the length of an event: the cache keeps none that have more
_FIRST = bytes(byte % 16 for byte in range(256))  # of 3 bytes of a hash, 20 bits choose the bucket


def digest(key: str) -> bytes:
    """Return the 8 bytes that stand for an ordering key."""
    hashed = _DIGEST.copy()
    hashed.update(key.encode("utf-8", "surrogatepass"))
    return hashed.digest()


def fingerprint(message_id: str) -> bytes:
    """Return what stands for a message id: 3 bytes for one of a million buckets, 6 that tell it apart in its bucket.

    A bucket is one text of fingerprints. A million is as many as make both the buckets and what each adds small at a
    thousand events a second; 68 bits in all.
    """
    return fingerprints((message_id,))


def fingerprints(message_ids: Iterable[str]) -> bytes:
    """Return the fingerprints of message ids, one behind the other."""
    found = bytearray()
    for message_id in message_ids:
        hashed = _FINGERPRINT.copy()
        hashed.update(message_id.encode("utf-8", "surrogatepass"))
        found += hashed.digest()
    found[:: _FINGERPRINT.digest_size] = found[:: _FINGERPRINT.digest_size].translate(_FIRST)
    return bytes(found)


# In place of the time of a rank: when the event is appended.
AT_ACCEPTANCE = int("9" * TIME_DIGITS)

# In place of a rank: nothing goes before the event, and it goes before nothing.
UNRANKED = b"%b-%b%b" % (b"9" * RANK_DIGITS, bytes(CLIENT_BYTES), b"-" * WAIT_DIGITS)


def rank(wait_ms: int, client: bytes, happened_at_ms: int, tie: bytes) -> bytes:
    """Return the rank of an event as `NewEvent` has it.

    It waits `wait_ms`, less than 10 s, for events with a smaller rank. The rank is when the event happened, or
    AT_ACCEPTANCE, then `tie`, see `tie`. `client` is the digest of the client that sent it: between two clients, times
    closer than 250 ms say nothing.
    """
    return ranks(wait_ms, (client,), (happened_at_ms,), tie)[0]


def ranks(wait_ms: int, clients: Iterable[bytes], happened_at_ms: Iterable[int], tie: bytes) -> list[bytes]:
    """Return the ranks of the events of one request, each with its client and when it happened, see `rank`."""
    made: list[bytes] = []
    wait, last_ms, order = b"%05d" % wait_ms, -1, b""
    for client, at_ms in zip(clients, happened_at_ms, strict=True):
        if at_ms != last_ms:
            last_ms, order = at_ms, b"%013d%b-" % (at_ms, tie)
        made.append(order + client + wait)
    return made


_LAST = b"9" * RANK_DIGITS


def order(rank: bytes) -> bytes:
    """Return by what events are ordered that are appended together; those without a rank come last."""
    return orders((rank,))[0]


def orders(ranks: Iterable[bytes]) -> list[bytes]:
    """Return the `order` of each rank."""
    return [rank[:RANK_DIGITS] or _LAST for rank in ranks]


def tie(first_ms: int, last_ms: int, sent_at_ms: int, position: int = 0) -> bytes:
    """Return what orders events of equal times. It is the first and the last time in their request, when it was sent,
    and four digits: its position among requests with the same."""
    return b"%013d%013d%013d%04d" % (first_ms, last_ms, sent_at_ms, position)


def record(accepted_at_ms: int, digests: Collection[bytes], body: bytes) -> bytes:
    """Return an event as it is stored; `digests` are those of its distinct keys."""
    return b"%013d%b" % (accepted_at_ms, undated(digests, body))


def undated(digests: Collection[bytes], body: bytes) -> bytes:
    """Return a record without its time, which append.lua puts in front."""
    return b"".join((_COUNTS[len(digests)], *digests, body))


def head(keys: tuple[str, ...]) -> bytes:
    """Return what is in front of the body in a record without its time: the digests of the distinct keys."""
    return _head(keys) if sum(map(len, keys)) < _LONG else _head.__wrapped__(keys)


@lru_cache(maxsize=4096)  # a person often makes several events in a row
def _head(keys: tuple[str, ...]) -> bytes:
    return undated(dict.fromkeys(map(digest, keys)), b"")


def read_record(record: bytes) -> tuple[int, tuple[bytes, ...], bytes]:
    """Return when the event was accepted (ms), the digests of its keys, and its body."""
    digests = _DIGESTS[record[_KEY_COUNT]]
    return int(record[_ACCEPTED_AT]), digests.unpack_from(record, _KEYS_START), record[_KEYS_START + digests.size :]


class LaneValue(NamedTuple):
    """A lane as it is stored."""

    head: int  # sequence of its first event
    tail: int
    length: int  # number of events
    tail_key: int  # which key of the tail, from 0


def read_lane(lane: bytes) -> LaneValue:
    """Return what the value of a lane says."""
    tail, at = _sequence(lane, 1)
    if at == len(lane):
        return LaneValue(tail, tail, 1, lane[0])
    head, at = _sequence(lane, at)
    return LaneValue(head, tail, int(lane[at:]), lane[0])


class Links(NamedTuple):
    """The links of an event as they are stored."""

    waits: int  # number of lanes in which it is not the head
    successors: tuple[tuple[int, int], ...]  # which of its keys, and the sequence of the next event in that lane

    def successor(self, key: int) -> int | None:
        """Return the next event in the lane of this key, by its number in the record; None behind the last."""
        return next((sequence for number, sequence in self.successors if number == key), None)


def read_links(links: bytes | None) -> Links:
    """Return what the links of an event say; None stands for an event without any."""
    return Links(links[0], tuple(_successors(links))) if links else Links(0, ())


def _successors(links: bytes) -> Iterator[tuple[int, int]]:
    at = _FIRST_SUCCESSOR
    while at < len(links):
        key = links[at]
        sequence, at = _sequence(links, at + 1)
        yield key, sequence


def _sequence(value: bytes, at: int) -> tuple[int, int]:
    """Return the sequence that is at this position of a value, and where it ends."""
    end = at + 1 + value[at]
    return int(value[at + 1 : end]), end
