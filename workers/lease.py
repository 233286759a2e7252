"""The lease of a claim: the time for which its events are ours, counted on the safe side."""

from __future__ import annotations

import time
from dataclasses import dataclass

import lanes


class LeaseLost(Exception):
    """The claim is no longer ours; somebody else works on its events, so nothing more may be sent."""


@dataclass(slots=True)
class Lease:
    """The time for which a claim is ours, by this process's clock, counted from before it was asked for."""

    queue: lanes.Queue
    claim_id: str
    lease_ms: int
    asked_at: float

    def cover(self, seconds: float) -> None:
        """Make sure that the claim is ours for `seconds` more; raise LeaseLost when it is not."""
        if self.asked_at + self.lease_ms / 1000 - time.monotonic() >= seconds:
            return
        asked_at = time.monotonic()
        if not lanes.extend(self.queue, self.claim_id, lease_ms=self.lease_ms):
            raise LeaseLost
        self.asked_at = asked_at
