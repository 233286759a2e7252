"""What a worker copies of a claim while a live tail is watched (`lanes.taps`): some of its events, with their requests
and their fates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

import lanes
from delivery.batching import Item, Request
from delivery.outcomes import Delivered, Outcome, Send, Split
from delivery.recording.entries import OUTCOMES
from lanes import fates
from lanes.clock import machine_ms
from lanes.taps.tap import Tap
from mapping.envelope import readable_source


class _Sent(NamedTuple):
    """An item with its outcome."""

    path: str  # of the request
    item: Item
    outcome: Outcome

    @property
    def reason(self) -> str | None:
        """Why it was not accepted."""
        return None if isinstance(self.outcome, Delivered) else self.outcome.reason

    def json(self) -> dict[str, Any]:
        """Return `{"action", "path", "outcome", "reason", "unapplied"}`; outcomes are those of the delivery log."""
        item = {"action": self.item.action, "path": self.path, "outcome": OUTCOMES[type(self.outcome)]}
        return {**item, "reason": self.reason, "unapplied": self.item.unapplied or None}


class ClaimTap:
    """Copies some of the events of one claim as they are settled."""

    def __init__(self, tap: Tap, claim: lanes.Claim, destination: str, worker: str) -> None:
        self._tap = tap
        self._destination = destination
        self._worker = worker
        chosen = tap.chosen(claim.events, [event.sequence for event in claim.events])
        self._events = {event.sequence: event for event in chosen if event.body}
        self._sent: dict[int, list[_Sent]] = {sequence: [] for sequence in self._events}

    def recording(self, send: Send) -> Send:
        """Return `send` as a function that keeps the items of the chosen events, with their outcomes."""

        def recorded(request: Request) -> list[Outcome]:
            outcomes = send(request)
            for item, outcome in zip(request.items, outcomes, strict=True):
                if item.sequence in self._sent and not isinstance(outcome, Split):
                    self._sent[item.sequence].append(_Sent(request.path, item, outcome))
            return outcomes

        return recorded

    def settled(
        self,
        delivered: Mapping[int, str],
        buried: Sequence[lanes.Burial],
        released: Sequence[lanes.Release],
        lost: Collection[int],
    ) -> None:
        """Copy the chosen ones of these events. `delivered` has the name of the fate by sequence; `lost` are those that
        another claim has."""
        for sequence in self._events.keys() & delivered.keys():
            fate, _, reason = fates.parts(delivered[sequence])
            self._copy(sequence, fate, reason, lost=lost)
        for burial in buried:
            text = orjson.loads(burial.failure).get("message") if burial.sequence in self._events else None
            fate, _, reason = fates.parts(burial.counted_as)
            self._copy(burial.sequence, fate, reason, text=text, lost=lost)
        for release in released:
            reasons = [sent.reason for sent in self._sent.get(release.sequence, ()) if sent.reason]
            self._copy(release.sequence, "released", "", text=reasons[-1] if reasons else None, lost=lost)

    def _copy(self, sequence: int, fate: str, reason: str, *, lost: Collection[int], text: str | None = None) -> None:
        event = self._events.pop(sequence, None)
        if event is None or sequence in lost:
            return
        facts = {"at_ms": machine_ms(), "destination": self._destination, "sequence": sequence, "fate": fate}
        sent = self._sent.pop(sequence, [])
        self._tap.add(
            {
                **facts,
                "source": readable_source(event.body),
                "reason": reason,
                "text": text,
                "accepted_ms": event.accepted_at_ms,
                "worker": self._worker,
                "items": [each.json() for each in sent],
            },
            event.body,
            b"[%b]" % b",".join([each.item.data for each in sent]) if sent else b"",
        )
