"""What became of one operation, as a value; `workers.claim` interprets it, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said: kept with the dead letter."""

    status: int | None  # None: no answer at all
    body: str  # at most a few kilobytes of it, or the network error's text
    batch_index: int | None = None  # of the operation, when the answer speaks of one in a batch


@dataclass(frozen=True, slots=True)
class Delivered:
    """Accepted by the service."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Refused for good: sending it again would be refused again."""

    reason: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Not accepted this time, or nobody knows; the same bytes may be sent again."""

    reason: str
    answer: Answer
    after_s: float | None = None  # what the service asked us to wait

    @property
    def is_throttled(self) -> bool:
        """Whether it was one request too many for the service."""
        return self.answer.status == 429

    @property
    def counts(self) -> bool:
        """Whether it was an attempt: that others sent too much is not the event's fault."""
        return not self.is_throttled


@dataclass(frozen=True, slots=True)
class Paused:
    """The event is not at fault (the set-up, a dead service, no turn): wait, and spend no attempt."""

    reason: str
    answer: Answer
    after_s: float = 0.0  # at least; a shut gate holds it up longer by itself


@dataclass(frozen=True, slots=True)
class Split:
    """The request as a whole was refused as malformed or too large: halves of it may pass."""

    reason: str
    answer: Answer


Outcome = Delivered | Rejected | RetryLater | Paused | Split
