"""The settings of delivery to a destination: the table `[destinations.NAME.delivery]`.

docs/guarantees.md describes what each key guarantees and costs.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field


class Delivery(BaseModel):
    """The keys of the table. The defaults suit a workspace in production."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    order: Literal["acknowledged", "applied"] = "acknowledged"  # what the next operation of a person waits for
    batch_order: Literal["barrier", "trust"] = "barrier"  # trust: a request may carry several operations of a person
    requests_per_s: int = Field(default=100, ge=1, le=10_000)  # of all workers together
    identify_times: Literal["rising", "mapped"] = "rising"  # rising: never older than the last update sent
    after_burial: Literal["go_on", "hold"] = "go_on"  # hold: a dead letter blocks later events of its keys
    hold_hours: int = Field(default=72, ge=1)  # how long a dead letter blocks
    dead_letters: int = Field(default=100_000, ge=1)  # most in Redis; older ones move to spill files
    dead_letter_days: int = Field(default=30, ge=1)  # how long they stay in Redis
    after_deletion: Literal["drop", "bury"] = "drop"  # what happens to late events of a deleted person
    remember_days: int = Field(default=30, ge=1, le=365)  # how long merges and deletions are remembered
    log_requests: int = Field(default=2000, ge=0, le=1_000_000)  # requests that the delivery log keeps
    ledger_days: int = Field(default=30, ge=1, le=3650)  # how long the files of the ledger are kept
    ledger_contents: bool = True  # false: without the bodies of requests and the texts of Customer.io
    ignored_keys: list[str] = Field(default_factory=list)  # keys that all people share, such as "id:0"


DEFAULTS: Final = Delivery()
