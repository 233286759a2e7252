"""The outcome of one operation, as a value. `workers.claim` interprets outcomes, in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from delivery.batching import Request

_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Response:
    """The service's response, as far as it is kept with a dead letter."""

    status: int | None  # HTTP status; None: there was no response
    body: str  # the first 2,000 bytes of the body, or the text of the network error
    batch_index: int | None = None  # the operation's index in the batch, when the response names one operation of it
    request_id: str | None = None  # the service's id of the request, if the response has one


NOT_SENT = Response(None, "not sent")


@dataclass(frozen=True, slots=True)
class Delivered:
    """The service accepted the operation."""


@dataclass(frozen=True, slots=True)
class Shadowed(Delivered):
    """The operation is that of a shadow event: it was not sent, and counts as accepted."""

    reason: str  # the name of the subscription that made it, empty for a privacy request


@dataclass(frozen=True, slots=True)
class Rejected:
    """The service refused the operation, and would refuse it again."""

    reason: str
    response: Response


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The operation was not accepted, or that is unknown. The same bytes may be sent again."""

    reason: str
    response: Response
    after_s: float | None = None  # the service's Retry-After, in seconds

    @property
    def is_throttled(self) -> bool:
        """Whether the service refused the request for its rate limit."""
        return self.response.status == _TOO_MANY_REQUESTS

    @property
    def counts(self) -> bool:
        """Whether this is an attempt of the event. A request too many is not: other events caused it."""
        return not self.is_throttled


@dataclass(frozen=True, slots=True)
class Paused:
    """The operation was not sent, or not for a reason of its own: wrong credentials, a service that is down, no turn.

    The event waits and spends no attempt.
    """

    reason: str
    response: Response
    after_s: float = 0.0  # the least wait, in seconds; an open circuit breaker makes it longer


@dataclass(frozen=True, slots=True)
class Split:
    """The service refused the whole request as malformed or too large. Halves of it may be accepted."""

    reason: str
    response: Response


Outcome = Delivered | Rejected | RetryLater | Paused | Split
Send = Callable[[Request], list[Outcome]]  # sends one request, and returns one outcome per item, in order
