"""Dry runs: what a replay would send, mapped with the present configuration, without sending it.

A dry run compares the new requests with those that were refused, and names the risks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import lanes
import mapping
from dead_letters.changes import Change, changes
from dead_letters.record import DeadLetter, Request
from delivery.identity_memory import TIMES_KEPT_S, deletions_ms, last_updates_s, named_in
from lanes import suppression
from mapping.envelope import SAFE_LEVELS, TOO_DEEP, JsonObject, has_more_levels

# Customer.io starts no campaign for an older event.
_CAMPAIGNS_S = 72 * 3600
_ADDED_ON_THE_WIRE = frozenset({"id", "timestamp"})
_MOST_CHANGES = 50


SUPPRESSED: Final = "its person is suppressed: it is not sent, and stays a dead letter"


class _Since(NamedTuple):
    """What became of the people of a dead letter."""

    last_update_s: int  # the last update that was sent, Unix seconds; 0: not known
    deleted_ms: int  # the last deletion, Unix ms; 0: none is known


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
    known = zip(last_updates_s(queue, keys_of_events), deletions_ms(queue, keys_of_events), strict=True)
    return [
        DryRun((), (), (), (SUPPRESSED,))
        if not suppressed.isdisjoint(dead_letter.stored.keys)
        else _run_alone(dead_letter, destination, now_s, _Since(last_update_s, deleted_ms))
        for dead_letter, (last_update_s, deleted_ms) in zip(dead_letters, known, strict=True)
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
        counts.update(f"change:{field}" for field in {change.field for change in result.changes})
        counts.update(f"risk:{risk}" for risk in result.risks)
    return counts


def _kind(body: JsonObject) -> str:
    return f"{body.get('type', 'metric')} {body.get('action', '')}".strip()


def _run_alone(dead_letter: DeadLetter, destination: mapping.Destination, now_s: float, since: _Since) -> DryRun:
    """Return the result for a dead letter. An exception is its failure: a replay would bury the event again."""
    if dead_letter.is_damaged:
        return DryRun((), (dead_letter.failure.message,), (), ())
    if has_more_levels(dead_letter.event, SAFE_LEVELS - 1):
        return DryRun((), (TOO_DEEP,), (), ())
    try:
        return _run(dead_letter, destination, now_s, since)
    except Exception as error:
        return DryRun((), (f"unhandled exception: {type(error).__name__}: {error}",), (), ())


def _run(dead_letter: DeadLetter, destination: mapping.Destination, now_s: float, since: _Since) -> DryRun:
    translation = mapping.translate(dead_letter.event, destination, now_s)
    bodies = tuple(operation.body for operation in translation.operations)
    failures = tuple(f"{failure.name}: {failure.message}" for failure in translation.failures)
    names = {subscription.index: subscription.name for subscription in destination.subscriptions}
    new = {names.get(operation.subscription): operation.body for operation in translation.operations}
    changed = [
        change
        for refused in _refused(dead_letter)
        if refused.request not in bodies  # a privacy request has several operations without a subscription
        for change in _changes(refused.request, new.get(refused.subscription, {}))
    ]
    risks = tuple(_risks(dead_letter, destination, translation.operations, now_s, since))
    people = frozenset(person for body in bodies for person in named_in(body))
    return DryRun(bodies, failures, tuple(changed[:_MOST_CHANGES]), risks, people)


def _refused(dead_letter: DeadLetter) -> list[Request]:
    return [request for fault in dead_letter.failure.faults if (request := fault.refused) is not None]


def _changes(before: JsonObject, after: JsonObject) -> Iterator[Change]:
    """Yield the differences without the members that delivery adds to an operation."""
    old, new = ({name: body[name] for name in body.keys() - _ADDED_ON_THE_WIRE} for body in (before, after))
    return changes(old, new)


def _risks(
    dead_letter: DeadLetter,
    destination: mapping.Destination,
    operations: tuple[mapping.Operation, ...],
    now_s: float,
    since: _Since,
) -> Iterator[str]:
    happened_at_s = _seconds(dead_letter.event.get("timestamp"), dead_letter.accepted_at_ms / 1000)
    effects = {operation.effect for operation in operations}
    if effects & {"update", "object"} and destination.delivery.identify_times == "rising":
        if max(happened_at_s, _refused_at_s(dead_letter)) < since.last_update_s:
            yield "older than an update that was sent since: newer values are not overwritten"
        elif now_s - happened_at_s > TIMES_KEPT_S:
            overwrites = "object" in effects  # Customer.io knows no times of its attributes
            effect = "it may overwrite newer values" if overwrites else "Customer.io may drop it as a whole"
            yield f"older than the hours for which updates are remembered: {effect}"
    if "event" in effects:
        is_old = now_s - happened_at_s > _CAMPAIGNS_S
        yield "more than 72 h old: it triggers no campaign" if is_old else "at most 72 h old: it may trigger campaigns"
    if happened_at_s * 1000 < since.deleted_ms:
        yield "older than the deletion of its person: it is dropped, or buried again with `after_deletion`"
    irreversible = {operation.body["action"] for operation in operations if operation.effect in mapping.IRREVERSIBLE}
    for action in sorted(irreversible):
        yield f"a {action} cannot be undone"


def _refused_at_s(dead_letter: DeadLetter) -> float:
    """Return the latest time of a refused update: it is remembered like that of an accepted one."""
    updates = [request for request in _refused(dead_letter) if mapping.effect_of(request.action) == "update"]
    return max((float(update.request["timestamp"]) for update in updates), default=0.0)


def _seconds(timestamp: object, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(str(timestamp)).timestamp()
    except ValueError:
        return otherwise
