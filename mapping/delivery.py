"""How a destination wants its operations sent: the table `[destinations.NAME.delivery]`, which `workers` obey.

Every key and its price: docs/guarantees.md.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field


class Delivery(BaseModel):
    """The keys of the table; all have defaults that are right for a workspace in production."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    order: Literal["acknowledged", "applied"] = "acknowledged"  # what a person's next operation waits for
    batch_order: Literal["barrier", "trust"] = "barrier"  # whether one request may carry two operations of one person
    requests_per_s: int = Field(default=100, ge=1, le=10_000)  # of all workers together
    identify_times: Literal["rising", "mapped"] = "rising"  # rising: never older than the last one sent
    after_burial: Literal["go_on", "hold"] = "go_on"  # whether what is behind a dead letter waits for it
    hold_hours: int = Field(default=72, ge=1)  # a dead letter that holds lets go after that
    dead_letters: int = Field(default=100_000, ge=1)  # most in Redis; the oldest go to spill files
    dead_letter_days: int = Field(default=30, ge=1)  # how long in Redis
    after_deletion: Literal["drop", "bury"] = "drop"  # what comes late for a person who was deleted
    remember_days: int = Field(default=30, ge=1, le=365)  # merged-away identities and deletions
    log_requests: int = Field(default=2000, ge=0, le=1_000_000)  # how many requests the delivery log keeps; 0: none
    ignored_keys: list[str] = Field(default_factory=list)  # ordering keys that everybody shares, such as "id:0"


DEFAULTS: Final = Delivery()
