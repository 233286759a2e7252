"""Running cases: what becomes of their events, always the same.

The event is read as ingest reads it. Nothing depends on the clock or on chance. The time of acceptance is the event's
`receivedAt`, else its `sentAt`, else its own time, else START. An event without a `messageId` gets one that is derived
from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

import mapping
from console import tester
from console.cases.case import Case, Fate
from console.cases.matching import Actual
from console.session import Session
from console.tester import Trial
from ingest import bodies
from ingest.access import sources
from ingest.access.sources import Source
from ingest.times import instant
from mapping.envelope import JsonObject, encoded

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TIMES: Final = ("receivedAt", "sentAt", "timestamp", "originalTimestamp")


@dataclass(frozen=True)
class Bench:
    """The configuration under test."""

    session: Session

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The sources by name."""
        return {source.name: source for source in sources.sources(self.session.document)}

    def run(self, case: Case) -> Actual:
        """Return what becomes of the event of a case at each destination that its source feeds.

        Without a source, each destination gets it from the first source that feeds it.
        """
        actual, event = Actual(), _identified(bodies.parsed(encoded(case.event)))
        for destination in self.session.destinations.values():
            feeding = [each for each in self.sources.values() if destination.name in each.destinations]
            source = next((each for each in feeding if case.source in (None, each.name)), None)
            if source is not None or case.source is None:
                now_s = _accepted_at(event).timestamp()
                _add(actual, tester.tried(event, self.session, destination, source, now_s), destination)
        return actual


def _add(actual: Actual, trial: Trial, destination: mapping.Destination) -> None:
    actual.fates[trial.destination] = _fate(trial)
    if trial.refusal is not None:
        actual.errors.append({"destination": trial.destination, "error": trial.refusal})
    for decision in trial.explanation.decisions if trial.explanation else ():
        actual.errors.extend(
            {"destination": destination.name, "subscription": decision.subscription, "error": error}
            for error in decision.errors
        )
    actual.requests.extend(
        {"destination": trial.destination, "path": request.path, "body": json.loads(request.body())}
        for request in trial.requests
    )


def _fate(trial: Trial) -> Fate:
    if trial.refusal is not None:
        return "refused"
    if trial.explanation is not None and trial.explanation.filtered is not None:
        return "filtered"
    if trial.failures:
        return "dead"
    return "sent" if trial.requests else "unmatched"


def _identified(event: JsonObject) -> JsonObject:
    """Return the event with a message id."""
    if event.get("messageId"):
        return event
    return {**event, "messageId": f"case-{blake2b(encoded(event), digest_size=10).hexdigest()}"}


def _accepted_at(event: dict[str, Any]) -> datetime:
    times = (instant(event.get(name)) for name in _TIMES)
    return next((time for time in times if time is not None), START)
