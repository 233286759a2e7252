"""The failure of an event that becomes a dead letter, made when the event is buried. `record` describes its members."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import orjson

import lanes
import mapping
from dead_letters.record import (
    LONGEST_REASON,
    MOST_ATTEMPTS,
    Attempt,
    FailureRecord,
    Fault,
    Path,
    Reason,
    Request,
    RequeueRecord,
)
from delivery.batching import Item
from delivery.outcomes import Rejected, RetryLater
from delivery.prepare import operations_of
from logs import events as log
from mapping.envelope import JsonObject, unpack

_EXPIRED = "the claim expired: the worker crashed, hung or could not finish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What became of an event. Without `failures` and `refusals` a message is required; with them it replaces that of
    the first."""

    failures: tuple[mapping.Failure, ...] = ()  # of the mapping
    refusals: tuple[tuple[Item, Rejected | RetryLater], ...] = ()
    accepted: tuple[Item, ...] = ()
    unsent: tuple[Item, ...] = ()
    message: str | None = None

    @property
    def items(self) -> tuple[Item, ...]:
        """All items of the event."""
        return (*(item for item, _ in self.refusals), *self.accepted, *self.unsent)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedEvent:
    """An event that is buried: why, when, and by which worker."""

    event: lanes.ClaimedEvent
    results: Results
    reason: Reason
    destination: mapping.Destination
    at_s: float  # Unix seconds
    worker: str
    configuration: str  # a hash of it

    def failure(self) -> bytes:
        """Return the failure as it is stored. When it cannot be made, a plain one has the reason and the faults."""
        try:
            return self._failure().to_bytes()
        except Exception as error:
            name, sequence = self.destination.name, self.event.sequence
            log.unhandled("the record of a dead letter", error, destination=name, sequence=sequence)
            return self._plain_failure().to_bytes()

    def _failure(self) -> FailureRecord:
        results = self.results
        _, content, requeued_json = unpack(self.event.body)
        requeued = RequeueRecord.from_json(requeued_json)
        accepted_at_ms = self.event.accepted_at_ms if requeued.accepted_at_ms is None else requeued.accepted_at_ms
        # They are mapped again for their payloads, which a claim does not keep.
        operations = operations_of(self.event, self.destination) if results.items else ()
        names = {subscription.index: subscription.name for subscription in self.destination.subscriptions}

        def request(item: Item) -> Request:
            operation = operations[item.operation_index]
            body: JsonObject = orjson.loads(item.own or item.data)  # what is repeated may be old at a replay
            return Request(
                names.get(operation.subscription), item.action, cast(Path, item.path), body, operation.payload
            )

        faults = [Fault(failed.name, failed.action, failed.message) for failed in results.failures]
        faults += [_fault(request(item), outcome) for item, outcome in results.refusals]
        text = faults[0].message if results.message is None else results.message
        return FailureRecord(
            reason=self.reason,
            message=text,
            faults=tuple(faults),
            accepted=tuple(map(request, results.accepted)),
            unsent=tuple(map(request, results.unsent)),
            attempts=(*requeued.attempts, *self._attempts(text))[-MOST_ATTEMPTS:],
            expired_claims=len(self.event.expired_claims),
            keys=mapping.ordering_info(content, self.destination).keys,
            accepted_at_ms=accepted_at_ms,
            buried_at_ms=int(self.at_s * 1000),
            worker=self.worker,
            configuration=self.configuration,
            original=requeued.original,
        )

    def _plain_failure(self) -> FailureRecord:
        """Return the failure without what must be read from the event."""
        results = self.results
        faults = [Fault(failed.name, failed.action, failed.message) for failed in results.failures]
        faults += [Fault(None, item.action, outcome.reason) for item, outcome in results.refusals]
        message = results.message or faults[0].message
        text = message.encode("utf-8", "replace").decode()
        return FailureRecord(
            reason=self.reason,
            message=text,
            faults=tuple(faults),
            attempts=tuple(self._attempts(text))[-MOST_ATTEMPTS:],
            expired_claims=len(self.event.expired_claims),
            buried_at_ms=int(self.at_s * 1000),
            worker=self.worker,
            configuration=self.configuration,
        )

    def _attempts(self, text: str) -> list[Attempt]:
        """Return the attempts since the event was accepted, or requeued, in their order. A poison message was not tried
        again before it was buried."""
        expired = [[claim.at_ms, claim.by, _EXPIRED] for claim in self.event.expired_claims]
        lines = [*map(orjson.loads, self.event.attempts), *expired]
        if self.reason is not Reason.POISON:
            lines.append([int(self.at_s * 1000), self.worker, text[:LONGEST_REASON]])
        return [Attempt(at_ms=at_ms, worker=by, reason=end) for at_ms, by, end in sorted(lines)]


def _fault(request: Request, outcome: Rejected | RetryLater) -> Fault:
    response: Any = asdict(outcome.response)
    del response["request_id"]  # of the log
    return Fault(
        request.subscription,
        request.action,
        outcome.reason,
        request.payload,
        request.path,
        request.request,
        response,
    )
