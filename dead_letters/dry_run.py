"""Dry runs: what a replay would send, mapped with the present configuration, without sending it.

A dry run compares the new requests with those that were refused, and names the risks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

import lanes
import mapping
from dead_letters.changes import Change, changes
from dead_letters.record import DeadLetter, Reason, Request
from delivery import attribute_clocks, identifier_changes, wire
from delivery.batching import TooLarge, encode
from delivery.identity_memory import TIMES_KEPT_S, Identities, clocks_of, deletions_ms, named_in
from lanes import suppression
from mapping.envelope import SAFE_LEVELS, TOO_DEEP, JsonObject, has_more_levels
from mapping.ordering_keys import IdentifierScheme

# Customer.io starts no campaign for an older event.
_CAMPAIGNS_S = 72 * 3600
_ADDED_ON_THE_WIRE = frozenset({"id", "timestamp"})
_MOST_CHANGES = 50
MOST_FIELDS: Final = 100  # whose changes are counted each; events may have any names
OTHER_FIELDS: Final = "change:other fields"
_LONGEST_FIELD: Final = 200


SUPPRESSED: Final = "its person is suppressed: it is not sent, and stays a dead letter"


_REPEATED: Final = "the same request was refused before: Customer.io probably refuses it again"
_UNSENT: Final = "a filter excludes it, or no subscription takes it: nothing is sent"
_SHADOW: Final = "the destination sends no events of this time: it is recorded as a shadow event"
_LATE: Final = "its person was deleted since"


class _Since(NamedTuple):
    """What became of the people of a dead letter."""

    clocks: Mapping[bytes, Mapping[bytes, int]]  # by digest, of the people of all dead letters
    deleted_ms: int  # the last deletion, Unix ms; 0: none is known


class _Mapped(NamedTuple):
    """The operations that would be sent for a dead letter, and their bodies."""

    operations: tuple[mapping.Operation, ...]
    bodies: tuple[JsonObject, ...]
    is_stale: bool  # a newer value of an attribute was sent: it is left out
    is_late: bool  # an operation is left out, as its person was deleted since


@dataclass(frozen=True, slots=True)
class DryRun:
    """The result for one dead letter."""

    operations: tuple[JsonObject, ...]  # bodies of the operations that would be sent
    failures: tuple[str, ...]  # why the event would become a dead letter again
    changes: tuple[Change, ...]  # the first ones, of all refused requests
    risks: tuple[str, ...]
    people: frozenset[str] = frozenset()  # keys of the people that the operations name

    def json(self) -> JsonObject:
        """Return `{"operations", "failures", "changes": [{"field", "before", "after"}], "risks"}`."""
        return {
            "operations": self.operations,
            "failures": self.failures,
            "changes": [change._asdict() for change in self.changes],
            "risks": self.risks,
        }


def run(
    queue: lanes.Queue, dead_letters: Sequence[DeadLetter], destination: mapping.Destination, now_s: float
) -> list[DryRun]:
    """Return the result for each dead letter, as if it were replayed at `now_s`, in Unix seconds."""
    keys_of_events = [dead_letter.stored.keys for dead_letter in dead_letters]
    suppressed = keys_suppressed(queue, dead_letters)
    clocks = clocks_of(queue, {digest for keys in keys_of_events for digest in keys})
    return [
        DryRun((), (), (), (SUPPRESSED,))
        if not suppressed.isdisjoint(dead_letter.stored.keys)
        else _run_alone(dead_letter, destination, now_s, _Since(clocks, deleted_ms))
        for dead_letter, deleted_ms in zip(dead_letters, deletions_ms(queue, keys_of_events), strict=True)
    ]


def keys_suppressed(queue: lanes.Queue, dead_letters: Iterable[DeadLetter]) -> set[bytes]:
    """Return those ordering keys (digests) of dead letters that are suppressed: a replay leaves these out."""
    digests = list({digest for dead_letter in dead_letters for digest in dead_letter.stored.keys})
    return {digest for digest, is_so in zip(digests, suppression.suppressed(queue, digests), strict=True) if is_so}


def figures(results: Iterable[DryRun]) -> Counter[str]:
    """Count the results. The names are `fail_again` (dead letters), `changed` (dead letters),
    `operation:person identify` (operations by kind), `change:attributes.bio` and `risk:…` (dead letters)."""
    counts: Counter[str] = Counter()
    for result in results:
        counts["fail_again"] += bool(result.failures)
        counts["changed"] += bool(result.changes)
        counts.update(f"operation:{_kind(body)}" for body in result.operations)
        counts.update(f"change:{field}" for field in {change.field[:_LONGEST_FIELD] for change in result.changes})
        counts.update(f"risk:{risk}" for risk in result.risks)
    return counts


def bounded(counts: Mapping[str, int], known: Iterable[str]) -> Counter[str]:
    """Return figures to be added to those with the `known` names, with the changes of MOST_FIELDS fields in all.

    The changes of further fields are summed as OTHER_FIELDS.
    """
    fields = {name for name in known if name.startswith("change:")}
    found: Counter[str] = Counter()
    for name, count in counts.items():
        if not name.startswith("change:"):
            found[name] += count
        elif name in fields or len(fields) < MOST_FIELDS:
            fields.add(name)
            found[name] += count
        else:
            found[OTHER_FIELDS] += count
    return found


def _kind(body: JsonObject) -> str:
    return f"{body.get('type', 'metric')} {body.get('action', '')}".strip()


def _run_alone(dead_letter: DeadLetter, destination: mapping.Destination, now_s: float, since: _Since) -> DryRun:
    """Return the result for a dead letter. An exception is its failure: a replay would bury the event again."""
    if dead_letter.is_damaged:
        return DryRun((), (dead_letter.failure.message,), (), ())
    if has_more_levels(dead_letter.event, SAFE_LEVELS - 1):
        return DryRun((), (TOO_DEEP,), (), ())
    if destination.cutover is not None and destination.cutover.excludes(dead_letter.event, dead_letter.accepted_at_ms):
        return DryRun((), (), (), (_SHADOW,))
    try:
        return _run(dead_letter, destination, now_s, since)
    except TooLarge as error:
        return DryRun((), (str(error),), (), ())
    except Exception as error:
        return DryRun((), (f"unhandled exception: {type(error).__name__}: {error}",), (), ())


def _run(dead_letter: DeadLetter, destination: mapping.Destination, now_s: float, since: _Since) -> DryRun:
    translation = mapping.translate(dead_letter.event, destination, dead_letter.accepted_at_ms / 1000)
    mapped = _mapped(dead_letter, translation.operations, destination.identifiers, since)
    failures = tuple(f"{failure.name}: {failure.message}" for failure in translation.failures)
    if mapped.is_late and destination.delivery.after_deletion == "bury":
        mapped, failures = mapped._replace(operations=(), bodies=()), (*failures, _LATE)
    names = {subscription.index: subscription.name for subscription in destination.subscriptions}
    pairs = zip(mapped.operations, mapped.bodies, strict=True)
    new = {names.get(operation.subscription): body for operation, body in pairs}
    changes_of = [
        [*_changes(refused.request, new.get(refused.subscription, {}))]
        if refused.request not in mapped.bodies  # a privacy request has several operations without a subscription
        else []
        for refused in _refused(dead_letter)
    ]
    is_rising = destination.delivery.identify_times == "rising"
    risks = tuple(_risks(dead_letter, mapped, now_s, is_rising=is_rising))
    if dead_letter.failure.reason == Reason.REJECTED and mapped.bodies and not all(changes_of):
        risks += (_REPEATED,)
    if not translation.operations and not failures:
        risks += (_UNSENT,)
    scheme = destination.identifiers
    people = frozenset(person for body in mapped.bodies for person in named_in(body, scheme))
    return DryRun(mapped.bodies, failures, tuple(chain.from_iterable(changes_of))[:_MOST_CHANGES], risks, people)


def _mapped(
    dead_letter: DeadLetter, operations: tuple[mapping.Operation, ...], scheme: IdentifierScheme, since: _Since
) -> _Mapped:
    """Return what would be sent of the operations. Attributes of which a newer value was sent are left out. So are
    operations on a person who was deleted since. Raises TooLarge."""
    event, accepted_at_ms = dead_letter.event, dead_letter.accepted_at_ms
    bodies = wire.bodies(operations, dead_letter.source, event, accepted_at_ms)
    for index, (operation, body) in enumerate(zip(operations, bodies, strict=True)):
        encode(dead_letter.sequence, index, operation, body)
    happened_at_ms = attribute_clocks.client_time_ms(event.get("timestamp"), accepted_at_ms)
    newest = [
        _without_stale(operation, body, scheme, happened_at_ms, accepted_at_ms, since)
        for operation, body in zip(operations, bodies, strict=True)
    ]
    named = [person for body in bodies for person in named_in(body, scheme)] if since.deleted_ms else []
    identities = Identities(scheme, deleted_ms=dict.fromkeys(named, since.deleted_ms))
    addressed = [
        wire.addressed(operation.effect, body, identities, happened_at_ms, None)
        for operation, body in zip(operations, newest, strict=True)
    ]
    kept = [pair for pair in zip(operations, addressed, strict=True) if pair[1] is not None]
    return _Mapped(
        operations=tuple(operation for operation, _ in kept),
        bodies=tuple(body for _, body in kept if body is not None),
        is_stale=newest != bodies,
        is_late=len(kept) < len(operations),
    )


def _without_stale(
    operation: mapping.Operation,
    body: JsonObject,
    scheme: IdentifierScheme,
    happened_at_ms: int,
    accepted_at_ms: int,
    since: _Since,
) -> JsonObject:
    """Return the update of a person without attributes of which a newer value was sent, see `register.lua`."""
    if operation.effect != "update" or not attribute_clocks.has_clocks(operation.effect, body):
        return body
    at_ms = attribute_clocks.time_of(body, happened_at_ms, accepted_at_ms)
    named = identifier_changes.identifiers(body, scheme)
    clocks = [since.clocks.get(digest, {}) for digest in (named.person, named.email) if digest]
    hashes = map(attribute_clocks.hash_of_name, attribute_clocks.names_of(body))
    is_newest = (all(clock.get(name, 0) <= at_ms for clock in clocks) for name in hashes)
    return attribute_clocks.without_stale(body, (ord("1" if newest else "0") for newest in is_newest))


def _refused(dead_letter: DeadLetter) -> list[Request]:
    return [request for fault in dead_letter.failure.faults if (request := fault.refused) is not None]


def _changes(before: JsonObject, after: JsonObject) -> Iterator[Change]:
    """Yield the differences without the members that delivery adds to an operation."""
    old, new = ({name: body[name] for name in body.keys() - _ADDED_ON_THE_WIRE} for body in (before, after))
    return changes(old, new)


def _risks(dead_letter: DeadLetter, mapped: _Mapped, now_s: float, *, is_rising: bool) -> Iterator[str]:
    event, effects = dead_letter.event, {operation.effect for operation in mapped.operations}
    happened_at_s = attribute_clocks.client_time_ms(event.get("timestamp"), dead_letter.accepted_at_ms) / 1000
    if mapped.is_stale:
        yield "older than an update that was sent since: newer values are not overwritten"
    elif effects & {"update", "object"} and is_rising and now_s - happened_at_s > TIMES_KEPT_S:
        overwrites = "object" in effects  # Customer.io knows no times of its attributes
        effect = "it may overwrite newer values" if overwrites else "Customer.io may drop it as a whole"
        yield f"older than the hours for which updates are remembered: {effect}"
    if "event" in effects:
        is_old = now_s - happened_at_s > _CAMPAIGNS_S
        yield "more than 72 h old: it triggers no campaign" if is_old else "at most 72 h old: it may trigger campaigns"
    if mapped.is_late:
        yield "older than the deletion of its person: it is dropped, or buried again with `after_deletion`"
    pairs = zip(mapped.operations, mapped.bodies, strict=True)
    for action in sorted({body["action"] for operation, body in pairs if operation.effect in mapping.IRREVERSIBLE}):
        yield f"a {action} cannot be undone"
