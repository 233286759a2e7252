"""How the workspace is set up and how badly it behaves: all that `/_sim/options` and `/_sim/faults` can change."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Rate = float


class Options(BaseModel):
    """The switches of a workspace. Defaults are what a workspace made today has, or what is assumed of it."""

    model_config = ConfigDict(extra="forbid")

    identifiers: Literal["email_or_id", "id"] = "email_or_id"
    allow_email_update_by_id: bool = True
    multi_identifier_merge: bool = True
    anonymous_merge: bool = True
    id_conflict: Literal["fail", "reassign"] = "fail"  # a new id for somebody whose e-mail address has another one
    stale_updates: Literal["attribute", "profile"] = "attribute"  # what an older update loses against
    invalid_ulid: Literal["regenerate", "reject"] = "regenerate"
    late_anonymous: Literal["strict", "reidentify"] = "strict"
    oversize_status: Literal[413, 400] = 413
    keep_journal: bool = True  # off: only counts are kept, for long runs


class Faults(BaseModel):
    """What goes wrong, how often: rates are shares of requests (of items, where it says so), from 0 to 1.

    `latency_ms` is drawn evenly before each answer. What is accepted is applied `lag_ms` later, drawn evenly, a
    `lag_tail` share of it up to `lag_tail_ms`; `apply` says in which order.
    """

    model_config = ConfigDict(extra="forbid")

    seed: int = 1
    latency_ms: tuple[float, float] = (0.0, 0.0)
    status_429: Rate = Field(default=0.0, ge=0, le=1)
    retry_after_s: float | None = None  # the header of a 429; without it there is none
    status_500: Rate = Field(default=0.0, ge=0, le=1)
    status_503: Rate = Field(default=0.0, ge=0, le=1)
    status_401: Rate = Field(default=0.0, ge=0, le=1)
    reset_before: Rate = Field(default=0.0, ge=0, le=1)  # the connection breaks, nothing was taken
    reset_after: Rate = Field(default=0.0, ge=0, le=1)  # the connection breaks, everything was taken
    timeout_before: Rate = Field(default=0.0, ge=0, le=1)  # no answer for `timeout_s`, nothing was taken
    timeout_after: Rate = Field(default=0.0, ge=0, le=1)  # no answer for `timeout_s`, everything was taken
    timeout_s: float = 30.0
    slow_loris: Rate = Field(default=0.0, ge=0, le=1)  # the answer comes byte by byte, over a second
    duplicate: Rate = Field(default=0.0, ge=0, le=1)  # taken twice, as if an intermediary had repeated it
    item_errors: Rate = Field(default=0.0, ge=0, le=1)  # share of items refused in a 207
    item_errors_bare: bool = False  # without `field` and `message`
    apply: Literal["at_once", "in_order", "shuffled"] = "at_once"
    shuffle_batches: bool = False  # with "shuffled": items of one request too
    lag_ms: tuple[float, float] = (0.0, 2000.0)
    lag_tail: Rate = Field(default=0.0, ge=0, le=1)
    lag_tail_ms: float = 60_000.0
    requests_per_s: float | None = None  # above it 429, or silence
    drop_silently: bool = False  # over the limit: 200, and nothing is taken
