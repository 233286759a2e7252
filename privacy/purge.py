"""Removing people: every place in Segue where an event or an identity of theirs can rest, and how it is emptied.

Many people at once, because the delivery log and the dead letters are read once for all of them. Everything with one of
their ordering keys goes; identities that were merged are one person. docs/privacy.md tells what is kept where.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

import lanes
import mapping
from dead_letters import replay as replays
from dead_letters import retention, spill_files
from dead_letters.query import Filter
from delivery import log as delivery_log
from delivery.identity_memory import named_in
from lanes import keys
from mapping.envelope import JsonObject, message_key, pack, unpack

_LOOK_S = 0.1
_LOCK_S = 5
_PEOPLE = ("id:", "email:", "cio_id:", "anonymous_id:")
# Hashes with a field for each key. `finished_at` and `cooling_until` expire within seconds; later events need them.
_REMEMBERED = ("join", "merged", "deleted", "identified", "recent_attributes")
# What a replay's filter says when the one it had named somebody who is forgotten: it wants no letter.
_NO_FILTER = Filter(ids=(0,)).model_dump_json(exclude_defaults=True)


@dataclass(frozen=True, slots=True)
class ErasureContext:
    """A queue from which people are erased, and what goes with it."""

    queue: lanes.Queue
    destination: mapping.Destination
    spill_dir: Path | None = None  # the directory of spilled dead letters


@dataclass(slots=True)
class Removed:
    """What was removed of one person; of events those accepted before the sequence `before` if there is one."""

    person: mapping.Person
    digests: frozenset[bytes]  # of all their ordering keys
    before: int | None
    counts: Counter[str] = field(default_factory=Counter)  # by kind
    others: set[str] = field(default_factory=set)  # ordering keys of people whom the removed events name besides
    claimed: int = 0  # events that are being worked on: traces of them may come yet
    message_ids: set[str] = field(default_factory=set)
    orders: list[tuple[str, JsonObject]] = field(default_factory=list)  # earlier ones, not sent yet, by their sources

    def owns(self, sequence: int, digests: Sequence[bytes]) -> bool:
        """Whether an event with these keys is theirs to go."""
        return (self.before is None or sequence < self.before) and not self.digests.isdisjoint(digests)

    def meet(self, body: bytes, destination: mapping.Destination) -> None:
        """Note what a removed event says: how it is known, who else is named in it, and whether it is an order."""
        source, event, _ = unpack(body)
        self.message_ids.add(message_key(source, event))
        self.meet_others(mapping.ordering_keys(event, destination))
        if mapping.privacy_request_of(event) is not None:
            self.orders.append((source, event))

    def meet_others(self, keys: Iterable[str]) -> None:
        """Note who else is named by these ordering keys."""
        self.others.update(key for key in keys if key.startswith(_PEOPLE) and lanes.digest(key) not in self.digests)


def purge(
    context: ErasureContext,
    people: Sequence[tuple[mapping.Person, int | None]],
) -> list[Removed]:
    """Remove what rests of these people, each with the sequence before which an event is theirs to go (None: any);
    return what was removed of each. Idempotent."""
    queue, remembered = context.queue, lanes.remembered_hashes(context.queue)
    gone = [
        Removed(person, digests, before)
        for (person, before), digests in zip(people, _all_digests(context, people), strict=True)
    ]
    owner = _Owners(gone)
    for one in gone:
        take_out(context, one)
    _remove_letters(context, owner)
    for sequence, digests, message_id, body in delivery_log.remove(queue, owner.has):
        for one in owner.of(sequence, digests):
            one.counts["log"] += 1
            one.message_ids.add(message_id)
            one.meet_others(_keys_in(body, context.destination))
    for one in gone:
        for what in _REMEMBERED:
            one.counts[what] += lanes.erase_fields(queue, remembered.get(what, ()), one.digests)
        one.counts["replays"] += _redact_replays(queue, one)
        forget_message_ids(context, one)
        one.counts = +one.counts
    return gone


def all_digests(context: ErasureContext, person: mapping.Person) -> frozenset[bytes]:
    """Return the digests of the person's ordering keys, and of all who were merged with them."""
    return _all_digests(context, [(person, None)])[0]


def take_out(context: ErasureContext, removed: Removed) -> None:
    """Remove the person's events from the queue."""
    gone = lanes.erase(context.queue, removed.digests, before=removed.before)
    removed.claimed = gone.claimed
    for event in gone.events:
        if event.body:
            removed.counts["letters" if event.how == "dead_letter" else "events"] += 1
            removed.meet(event.body, context.destination)


def forget_message_ids(context: ErasureContext, removed: Removed) -> None:
    """Forget the message ids of what was removed; orders that had not been sent go behind everything else."""
    forgotten = lanes.erase_message_ids(context.queue, removed.message_ids)
    removed.counts["message_ids"] += forgotten
    for source, order in removed.orders:
        append(context, source, order)


def append(context: ErasureContext, source: str, order: JsonObject) -> int:
    """Put an order on the queue; return its sequence."""
    keys, _, _ = mapping.ordering_info(order, context.destination)
    event = lanes.NewEvent(pack(source, order), keys, message_key(source, order), context.queue.cooldown_ms)
    return lanes.append(context.queue.without_limit(), [event]).last


class _Owners:
    """Which of many people an event belongs to, by its keys."""

    def __init__(self, people: Sequence[Removed]) -> None:
        self._people: dict[bytes, list[Removed]] = {}
        for one in people:
            for digest in one.digests:
                self._people.setdefault(digest, []).append(one)

    def of(self, sequence: int, digests: Sequence[bytes]) -> list[Removed]:
        """Return whose it is to go, the first one; none when it stays."""
        candidates = (one for digest in digests for one in self._people.get(digest, ()))
        return [one for one in candidates if one.owns(sequence, digests)][:1]

    def has(self, sequence: int, digests: Sequence[bytes]) -> bool:
        return bool(self.of(sequence, digests))

    def said_in(self, sequence: int, written: bytes) -> list[Removed]:
        """Return who is named in what was written, by any identity as a whole text."""
        people = {id(one): one for several in self._people.values() for one in several}.values()
        return [
            one
            for one in people
            if (one.before is None or sequence < one.before)
            and any(orjson.dumps(text) in written for text in one.person.texts())
        ][:1]


def _all_digests(
    context: ErasureContext, people: Sequence[tuple[mapping.Person, int | None]]
) -> list[frozenset[bytes]]:
    remembered = lanes.remembered_hashes(context.queue)
    ties = [*remembered.get("join", ()), *remembered.get("merged", ())]
    return lanes.joined_digests(context.queue, ties, [own_digests(context.destination, person) for person, _ in people])


def own_digests(destination: mapping.Destination, person: mapping.Person) -> set[bytes]:
    """Return the digests of the person's ordering keys."""
    return {lanes.digest(key) for key in person.keys(destination.identifiers)}


def _remove_letters(context: ErasureContext, owner: _Owners) -> None:
    """Remove the people's dead letters, while none is on its way from Redis to a spill file."""
    queue, destination = context.queue, context.destination
    with _nothing_spilling(queue) as keep:
        for letters in _pages_of_letters(queue, owner):
            keep()
            sequences = [letter.sequence for _, letter in letters]
            lanes.discard(queue, sequences)
            for one, letter in letters:
                one.counts["letters"] += 1
                one.meet(letter.body, destination)
        if context.spill_dir is not None:
            retention.finish_spills(queue, context.spill_dir)
            for one in _of_spilled(context.spill_dir, destination, owner):
                one.counts["spilled"] += 1


@contextmanager
def _nothing_spilling(queue: lanes.Queue) -> Iterator[Callable[[], bool]]:
    """Wait until no worker moves letters to files, and keep it so; yields what has to be called now and then."""
    name = keys.SPILL_LOCK.of(queue.name)
    with queue.client.lock(name, timeout=_LOCK_S, sleep=_LOOK_S, raise_on_release_error=False) as lock:
        yield lock.reacquire


def _keys_in(body: JsonObject, destination: mapping.Destination) -> Iterator[str]:
    """Yield the keys of the people whom an operation names, and of the identities that an update gives them."""
    yield from named_in(body)
    said = body.get("attributes")
    if body.get("action") == "identify" and isinstance(said, dict):
        event = {"type": "identify", "anonymousId": said.get("anonymous_id"), "traits": {"email": said.get("email")}}
        yield from mapping.ordering_keys(event, destination)


def _pages_of_letters(queue: lanes.Queue, owner: _Owners) -> Iterator[list[tuple[Removed, lanes.DeadLetter]]]:
    """Yield the people's dead letters page by page: by their keys, and those that were edited by what they say too."""
    after = 0
    while page := lanes.list_dead_letters(queue, after=after):
        after = page[-1].sequence
        theirs = []
        for letter in page:
            people = owner.of(letter.sequence, letter.keys)
            if not people:
                written = orjson.dumps(list(unpack(letter.body))) + letter.failure
                people = owner.said_in(letter.sequence, written) if b'"original":' in written else []
            theirs += [(one, letter) for one in people]
        if theirs:
            yield theirs


def _of_spilled(directory: Path, destination: mapping.Destination, owner: _Owners) -> Iterator[Removed]:
    """Remove the people's letters from spill files, and yield whose each was."""
    found: dict[int, Removed] = {}

    def is_theirs(line: JsonObject) -> bool:
        events = [line["event"], *(line[kept].get("original") for kept in ("again", "why"))]
        keys = {key for event in events if event for key in mapping.ordering_keys(event, destination)}
        people = owner.of(line["sequence"], list(map(lanes.digest, keys)))
        found.update((line["sequence"], one) for one in people)
        return bool(people)

    spill_files.remove(directory, destination.name, is_theirs)
    yield from found.values()


def _redact_replays(queue: lanes.Queue, removed: Removed) -> int:
    """Take the person out of the filters of replays; that there was one is kept."""
    texts, count = [text.casefold() for text in removed.person.texts()], 0
    for replay in replays.history(queue):
        named, said = replay.wanted.person, (replay.wanted.text or "").casefold()
        if (named and lanes.digest(named) in removed.digests) or (
            said and any(said in text or text in said for text in texts)
        ):
            queue.client.hset(keys.REPLAY.of(queue.name, replay.id), "wanted", _NO_FILTER)
            count += 1
    return count
