"""Remove people from every place in Segue that stores events or identities. docs/privacy.md lists these places.

Several people are removed at once, because the delivery log and the dead letters are read once for all of them. An
event is removed when it has an ordering key of the person. Identities that were merged count as one person: those of
merges that were delivered and are remembered, but at most MOST_TIED of them. Keys that are merely joined do not: an
event of another person may have a key of this one, because the lanes of a merge are joined.

The merges are erased last, by `erase_merges`: they say which identities are the person. Until then an erasure that is
interrupted, or that waits for events in progress, can be repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from redis.exceptions import LockNotOwnedError

import lanes
import mapping
from dead_letters import record, retention, spill_files
from dead_letters import replay as replays
from dead_letters.query import Filter
from dead_letters.record import Line
from delivery import log as delivery_log
from delivery.identity_memory import erase_addresses, key_of, named_in, primary_in
from delivery.recording import discarded
from lanes import fates, keys
from lanes.taps import streams
from logs import events as log
from mapping.coercion import text_of
from mapping.envelope import JsonObject, message_key, pack, readable_source, unpack
from mapping.ordering_keys import IdentifierScheme
from privacy.receipts import PersonBefore
from series import recent_events

_LOCK_S = 5.0
_POLL_S = 0.1
_PEOPLE = ("id:", "email:", "cio_id:", "anonymous_id:")
# To how many merged identities an erasure extends. A person with more is erased alone.
MOST_TIED = 20
# Hashes that remember values by ordering key, without the merges. `finished_at` and `cooling_until` are kept: they
# expire within seconds, and later events need them.
_REMEMBERED = (
    "join",
    "joined",
    "cooled",
    "deleted",
    "identified",
    "identifier_changes",
    "address_conflicts",
    "attribute_clocks",
    "recent_attributes",
)
_MOST_EVENTS = 100_000
# The filter that replaces one which names an erased person. It matches no dead letter.
_NO_FILTER = Filter(ids=(0,)).model_dump_json(exclude_defaults=True)


@dataclass(frozen=True, slots=True)
class ErasureContext:
    """A queue from which people are erased, and what goes with it."""

    queue: lanes.Queue
    destination: mapping.Destination
    spill_dir: Path | None = None  # the directory of spilled dead letters
    is_configured: bool = True  # else no worker delivers the queue, so nothing can be asked of Customer.io


@dataclass(slots=True)
class Removed:
    """What was removed of one person; of events, those accepted before the sequence `before` if there is one."""

    person: mapping.Person
    digests: frozenset[bytes]  # of all ordering keys of the person
    before: int | None
    is_alone: bool = False  # more than MOST_TIED identities were merged with the person; they stay
    counts: Counter[str] = field(default_factory=Counter)  # by kind, see `privacy.receipts`
    others: set[str] = field(default_factory=set)  # ordering keys of other people that the removed events named
    claimed: int = 0  # events in progress: their traces have to be removed later
    message_ids: set[str] = field(default_factory=set)
    requests: list[tuple[str, JsonObject]] = field(default_factory=list)  # unsent privacy requests, by their sources

    def includes(self, sequence: int, digests: Sequence[bytes]) -> bool:
        """Whether an event with this sequence and these digests of ordering keys is to be removed."""
        return (self.before is None or sequence < self.before) and not self.digests.isdisjoint(digests)

    def collect(self, body: bytes, destination: mapping.Destination) -> None:
        """Collect the message id of a removed event, the other people that it names, and the event if it is a privacy
        request."""
        try:
            source, event, _ = unpack(body)
            self.message_ids.add(message_key(source, event))
            self.collect_others(mapping.ordering_keys(event, destination))
            if mapping.privacy_request_of(event) is not None:
                self.requests.append((source, event))
        except Exception as error:
            # The event itself is erased. The people that it named, and perhaps its message id, expire by themselves.
            log.unhandled("an erased event", error, destination=destination.name)

    def collect_sent(self, body: JsonObject, destination: mapping.Destination) -> None:
        """Collect the other people that the body of a removed operation names."""
        try:
            self.collect_others(_keys_in(body, destination))
        except Exception as error:
            log.unhandled("an erased operation", error, destination=destination.name)

    def collect_others(self, keys: Iterable[str]) -> None:
        """Collect the ordering keys that belong to other people."""
        self.others.update(key for key in keys if key.startswith(_PEOPLE) and lanes.digest(key) not in self.digests)


def purge(context: ErasureContext, people: Sequence[PersonBefore]) -> list[Removed]:
    """Remove the data of people; return what was removed of each, in the same order. Idempotent."""
    queue, remembered = context.queue, lanes.remembered_hashes(context.queue)
    removals = [
        Removed(person, tied.digests, before, tied.is_too_large)
        for (person, before), tied in zip(people, _all_digests(context, people), strict=True)
    ]
    index = _Index(removals)
    for removed in removals:
        erase_queued(context, removed)
    _remove_dead_letters(context, index)
    for sequence, digests, message_id, body in delivery_log.remove(queue, index.includes):
        if (removed_of := index.of(sequence, digests)) is not None:
            removed_of.counts["log"] += 1
            removed_of.message_ids.add(message_id)
            removed_of.collect_sent(body, context.destination)
    for removed in removals:
        for kind in _REMEMBERED:
            removed.counts[kind] += lanes.erase_fields(queue, remembered.get(kind, ()), removed.digests)
        removed.counts["join"] += lanes.erase_targets(queue, remembered.get("join", ()), removed.digests)
        clocks = remembered.get("attribute_clocks", ())
        removed.counts["attribute_clocks"] += erase_addresses(queue, clocks, removed.digests)
        removed.counts["replays"] += _redact_replays(queue, removed)
        erase_message_ids(context, removed)
        removed.counts = +removed.counts
    recent_events.clear(queue)
    streams.clear(queue.client)
    return removals


def erase_merges(context: ErasureContext, removed: Removed) -> Counter[str]:
    """Erase the merges of a person, by which `purge` finds the merged identities. Return how many there were."""
    hashes = lanes.remembered_hashes(context.queue).get("merged", ())
    merges = lanes.erase_fields(context.queue, hashes, removed.digests)
    return +Counter(merged=merges + lanes.erase_targets(context.queue, hashes, removed.digests))


def all_digests(context: ErasureContext, person: mapping.Person) -> lanes.Tied:
    """Return the digests of the person's ordering keys, and of those of merged identities."""
    return _all_digests(context, [(person, None)])[0]


def own_digests(destination: mapping.Destination, person: mapping.Person) -> set[bytes]:
    """Return the digests of the person's ordering keys."""
    return {lanes.digest(key) for key in person.keys(destination.identifiers)}


def erase_queued(
    context: ErasureContext, removed: Removed, fate: Literal["forgotten", "dropped"] = "forgotten", reason: str = ""
) -> None:
    """Erase the person's events on the queue, including dead letters that block. `fate` and `reason`: how waiting
    events are counted, see `lanes.fates`."""

    def counted_as(body: bytes) -> str | None:
        if _is_of_others(body, context.destination, removed):
            return None
        return fates.name(fate, readable_source(body), reason)

    erased = lanes.erase(context.queue, removed.digests, before=removed.before, counted_as=counted_as)
    removed.claimed = erased.claimed
    if fate == "dropped":
        waiting = (event for event in erased.events if event.body and event.how != "dead_letter")
        discarded.record(context.queue, waiting, fate, reason)
    for event in erased.events:
        if event.body:
            removed.counts["dead_letters" if event.how == "dead_letter" else "events"] += 1
            removed.collect(event.body, context.destination)


def _is_of_others(body: bytes, destination: mapping.Destination, removed: Removed) -> bool:
    """Whether an event with a key of the person names other people only: the key was joined to theirs.

    One that cannot be read, or that has an identity of the person anywhere, is the person's: the mapping that took the
    identity from it may have changed.
    """
    try:
        _, event, again = unpack(body)
        own = mapping.ordering_keys(event, destination)
        is_named = not removed.digests.isdisjoint(map(lanes.digest, own))
        return bool(own) and not is_named and not _has_identity([event, again], destination, removed.digests)
    except Exception:
        return False


def _has_identity(json: Any, destination: mapping.Destination, digests: Collection[bytes]) -> bool:
    """Whether a text or a number in the JSON is an identity with one of these digests."""
    pending = [json]
    while pending:
        value = pending.pop()
        if type(value) is dict:
            pending += value.values()
        elif type(value) is list:
            pending += value
        elif text := text_of(value):
            identities = mapping.Person((text,), (text,), (text,)).keys(destination.identifiers)
            if any(lanes.digest(key) in digests for key in identities):
                return True
    return False


def erase_message_ids(context: ErasureContext, removed: Removed) -> None:
    """Erase the message ids of the removed events. Privacy requests among these are appended again, so that they are
    sent."""
    removed.counts["message_ids"] += lanes.erase_message_ids(context.queue, removed.message_ids)
    for source, event in removed.requests:
        append(context, source, event)


def append(context: ErasureContext, source: str, event: JsonObject) -> int:
    """Append a privacy request to the queue, whatever its limit, and return its sequence."""
    info = mapping.ordering_info(event, context.destination)
    entry = lanes.NewEvent(
        pack(source, event),
        info.keys,
        message_key(source, event),
        context.queue.cooldown_ms,
        run=info.run,
        counted_as=fates.name("accepted", source),
    )
    return lanes.append(context.queue.without_limit(), [entry]).last


class Plan(NamedTuple):
    """What an erasure would follow and remove."""

    followed: tuple[str, ...]  # identities that were merged with the person, by ordering key or by its digest
    is_alone: bool  # more than MOST_TIED were: none of them is followed
    events: int  # on the queue
    dead_letters: int  # in Redis
    log: int  # items of the delivery log


def plan(context: ErasureContext, person: mapping.Person) -> Plan:
    """Return what the erasure of a person would follow and remove now. Writes nothing."""
    queue, destination, tied = context.queue, context.destination, all_digests(context, person)
    removed = Removed(person, tied.digests, None, tied.is_too_large)
    waiting = {
        event.sequence
        for digest in tied.digests
        for event in lanes.lane_events(queue, digest, most=_MOST_EVENTS)
        if not _is_of_others(event.body, destination, removed)
    }
    index, names = _Index([removed]), _names_of_primaries(queue, destination.identifiers)
    dead = {stored.sequence for page in _pages(queue, destination, index) for _, stored in page}
    return Plan(
        followed=tuple(sorted(names.get(each, each.hex()) for each in tied.digests - own_digests(destination, person))),
        is_alone=tied.is_too_large,
        events=len(waiting - dead),  # a dead letter that blocks is in its lanes
        dead_letters=len(dead),
        log=delivery_log.count(queue, index.includes),
    )


def _names_of_primaries(queue: lanes.Queue, scheme: IdentifierScheme) -> dict[bytes, str]:
    """Return the ordering keys of the primaries of merges, by digest."""
    names = {}
    for hash_name in lanes.remembered_hashes(queue).get("merged", ()):
        for _, value in queue.client.hscan_iter(hash_name, count=1000):
            key = key_of(primary_in(value), scheme)
            names[value[: keys.DIGEST_BYTES]] = key or ""
    return names


class _Index:
    """People by the digests of their ordering keys."""

    def __init__(self, removals: Sequence[Removed]) -> None:
        self._by_digest: dict[bytes, list[Removed]] = {}
        for removed in removals:
            for digest in removed.digests:
                self._by_digest.setdefault(digest, []).append(removed)

    def of(self, sequence: int, digests: Sequence[bytes]) -> Removed | None:
        """Return the first person whose event this is, if it is to be removed; None when it stays."""
        candidates = (removed for digest in digests for removed in self._by_digest.get(digest, ()))
        return next((removed for removed in candidates if removed.includes(sequence, digests)), None)

    def includes(self, sequence: int, digests: Sequence[bytes]) -> bool:
        """Whether an event is to be removed."""
        return self.of(sequence, digests) is not None


def _all_digests(context: ErasureContext, people: Sequence[PersonBefore]) -> list[lanes.Tied]:
    merged = lanes.remembered_hashes(context.queue).get("merged", ())
    groups = [own_digests(context.destination, person) for person, _ in people]
    return lanes.joined_digests(context.queue, merged, groups, MOST_TIED)


def _remove_dead_letters(context: ErasureContext, index: _Index) -> None:
    """Remove the dead letters of people, in Redis and in spill files.

    The lock keeps dead letters from moving to a file that was searched already. When it is lost, the search is
    repeated.
    """
    queue, destination, spill_dir = context.queue, context.destination, context.spill_dir
    while True:
        try:
            with queue.client.lock(keys.SPILL_LOCK.of(queue.name), timeout=_LOCK_S, sleep=_POLL_S) as lock:
                for page in _pages(queue, destination, index):
                    lock.reacquire()
                    lanes.discard(queue, [stored.sequence for _, stored in page], "forgotten")
                    for removed, stored in page:
                        removed.counts["dead_letters"] += 1
                        removed.collect(stored.body, destination)
                if spill_dir is not None:
                    retention.finish_spills(queue, spill_dir)
            break
        except LockNotOwnedError:
            continue
    if spill_dir is not None:
        for removed in _removed_lines(spill_dir, destination, index):
            removed.counts["spilled"] += 1


def _pages(
    queue: lanes.Queue, destination: mapping.Destination, index: _Index
) -> Iterator[list[tuple[Removed, lanes.DeadLetter]]]:
    """Yield the dead letters to be removed in each page of all dead letters. An edited one is found by the people that
    its events name as well, because its ordering keys may be those of another person."""
    after = 0
    while page := lanes.list_dead_letters(queue, after=after):
        after = page[-1].sequence
        found = []
        for stored in page:
            removed = index.of(stored.sequence, stored.keys)
            if removed and _is_of_others(stored.body, destination, removed):
                removed = None
            if removed is None and (dead_letter := record.read(stored)).is_edited:
                removed = index.of(stored.sequence, _digests_of(dead_letter.line(queue.name), destination))
            if removed is not None:
                found.append((removed, stored))
        yield found


def _removed_lines(directory: Path, destination: mapping.Destination, index: _Index) -> Iterator[Removed]:
    """Remove the dead letters of people from spill files, and yield the person of each."""
    found: dict[int, Removed] = {}

    def is_removed(line: Line) -> bool:
        sequence = line.sequence or 0
        removed = index.of(sequence, _digests_of(line, destination))
        if removed is not None:
            found[sequence] = removed
        return removed is not None

    spill_files.remove(directory, destination.name, is_removed)
    yield from found.values()


def _digests_of(line: Line, destination: mapping.Destination) -> list[bytes]:
    """Return the digests of the ordering keys of a line: of its events now, and of the event when it was buried."""
    found = set(line.failure.keys)
    try:
        found.update(key for event in line.events() for key in mapping.ordering_keys(event, destination))
    except Exception as error:
        log.unhandled("an event of a dead letter", error, destination=destination.name)
    return list(map(lanes.digest, found))


def _keys_in(body: JsonObject, destination: mapping.Destination) -> Iterator[str]:
    """Yield the ordering keys of the people that an operation names, and of the identities that an update sets."""
    yield from named_in(body, destination.identifiers)
    attributes = body.get("attributes")
    if body.get("action") == "identify" and isinstance(attributes, dict):
        visitor, email = attributes.get("anonymous_id"), attributes.get("email")
        event = {"type": "identify", "anonymousId": visitor, "traits": {"email": email}}
        yield from mapping.ordering_keys(event, destination)


def _redact_replays(queue: lanes.Queue, removed: Removed) -> int:
    """Remove the person from the filters of replays, and return of how many. The other fields stay."""
    texts, count = [text.casefold() for text in removed.person.texts()], 0
    for replay in replays.history(queue):
        wanted_text = (replay.wanted.text or "").casefold()
        names_key = replay.wanted.digest in removed.digests
        names_text = bool(wanted_text) and any(wanted_text in text or text in wanted_text for text in texts)
        if names_key or names_text:
            queue.client.hset(keys.REPLAY.of(queue.name, replay.id), "wanted", _NO_FILTER)
            count += 1
    return count
