"""The lease of a claim: the time for which its events are ours, counted on the safe side."""

from __future__ import annotations

import time
from dataclasses import dataclass

import lanes


class LeaseLost(Exception):
    """The claim is no longer ours. Another worker may own its events, so nothing more may be sent."""


@dataclass(slots=True, kw_only=True)
class Lease:
    """The time for which a claim is ours, by this process's clock, counted from before the claim was requested."""

    queue: lanes.Queue
    claim_id: str
    lease_ms: int
    requested_at: float  # time.monotonic()

    def ensure(self, seconds: float) -> None:
        """Make sure that the claim is ours for `seconds` more, and extend it if not. Raises LeaseLost."""
        if self.requested_at + self.lease_ms / 1000 - time.monotonic() >= seconds:
            return
        requested_at = time.monotonic()
        if not lanes.extend(self.queue, self.claim_id, lease_ms=self.lease_ms):
            raise LeaseLost
        self.requested_at = requested_at
