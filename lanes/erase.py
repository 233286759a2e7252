"""Forgetting: taking out of the queue, for good, whatever has certain keys, wherever it stands.

Events that nobody works on leave their lanes at once, and these close behind them. What a claim owns may be on its way
at this moment: it is emptied, and its place stays until the claim has ended, so that nothing of the same person
overtakes it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import redis

from lanes import keys
from lanes.append import generation_ms
from lanes.scripts import Argument, run

_MOST_EVENTS = 200
_MOST_STEPS = 1_500
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class ForgottenEvent:
    """An event as it was before it was forgotten."""

    sequence: int
    how: str  # taken | letter (a dead letter that held up what is behind it) | emptied (its place stays for a while)
    keys: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten, and how many claims' events are empty now: they go when their claims end."""

    events: tuple[ForgottenEvent, ...]
    claimed: int


def forget(
    client: redis.Redis,
    queue: str,
    digests: Iterable[bytes],
    *,
    before: int | None = None,
    longest_hold_ms: int = 0,
) -> Forgotten:
    """Take out every event with one of these keys' digests, accepted before the sequence `before` if one is given.

    Done part by part, each of them within some ten milliseconds of Redis' time. Idempotent; what arrives meanwhile may
    or may not be among them.
    """
    events: list[ForgottenEvent] = []
    wanted, steps, came_to = tuple(digests), _MOST_STEPS, dict[bytes, bytes]()
    while True:
        bounds = (_MOST_EVENTS, steps, longest_hold_ms, "" if before is None else before)
        arguments = (*bounds, len(wanted), *wanted, *chain.from_iterable(came_to.items()))
        more, ways, claimed, *reply = run(client, "forget", queue, arguments)
        fields, pairs = iter(reply), iter(ways)
        events += [_event(*three) for three in zip(fields, fields, fields, strict=True)]
        if not more:
            return Forgotten(tuple(events), claimed)
        farther = dict(zip(pairs, pairs, strict=True))
        steps = _MOST_STEPS if reply or farther != came_to else 2 * steps
        came_to = farther


def _event(sequence: bytes, how: bytes, record: bytes) -> ForgottenEvent:
    _, digests, body = keys.read_record(record)
    return ForgottenEvent(int(sequence), how.decode(), digests, body)


def generations(client: redis.Redis, queue: str) -> dict[str, list[bytes]]:
    """Return the hashes in which something is remembered by keys for a while (`join`, `merged`, …), all generations."""
    base = keys.base(queue)
    found: dict[str, list[bytes]] = {}
    for name in client.scan_iter(match=f"{_escaped(base)}:*:*", count=_PAGE, _type="hash"):
        what, _, generation = name.decode().removeprefix(f"{base}:").partition(":")
        if generation.isdigit():
            found.setdefault(what, []).append(name)
    return found


def joined(client: redis.Redis, joins: Iterable[bytes], groups: Sequence[Collection[bytes]]) -> list[frozenset[bytes]]:
    """Return each group of digests together with all that the hashes `joins` tie to it, whichever way, and so on; a
    value begins with a digest. What is tied to several groups is added to one of them."""
    group_of = {digest: number for number, group in enumerate(groups) for digest in group}
    names, size = tuple(joins), 0
    while size < len(group_of):
        size = len(group_of)
        for one, value in chain.from_iterable(client.hscan_iter(name, count=_PAGE) for name in names):
            other = value[: keys.DIGEST_BYTES]
            number = group_of.get(one, group_of.get(other))
            if number is not None:
                group_of.setdefault(one, number)
                group_of.setdefault(other, number)
    tied: list[set[bytes]] = [set(group) for group in groups]
    for digest, number in group_of.items():
        tied[number].add(digest)
    return [frozenset(group) for group in tied]


def forget_keys(client: redis.Redis, hashes: Iterable[bytes], digests: Collection[bytes]) -> int:
    """Remove the fields of these digests from the hashes; return how many there were."""
    return sum(int(client.hdel(name, *digests)) for name in hashes) if digests else 0


def forget_message_ids(client: redis.Redis, queue: str, message_ids: Collection[str], dedupe_s: int) -> int:
    """Let these message ids be new again; return how many were remembered. `dedupe_s` is what appends are told."""
    arguments: list[Argument] = [generation_ms(dedupe_s), *map(keys.fingerprint, message_ids)]
    return int(run(client, "forget_ids", queue, arguments))


def _escaped(text: str) -> str:
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)
