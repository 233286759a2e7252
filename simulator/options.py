"""The options of the workspace and the faults of the service, which `/_sim/options` and `/_sim/faults` set."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Rate = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]


class Options(BaseModel):
    """The options of a workspace. Defaults are those of a new workspace of Customer.io, or what is assumed of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identifiers: Literal["email_or_id", "id", "email"] = "email_or_id"
    phone: bool = False  # whether phone numbers identify people
    allow_email_update_by_id: bool = True
    multi_identifier_merge: bool = True
    anonymous_merge: bool = True
    id_conflict: Literal["fail", "reassign"] = "fail"  # a new id for a person, found by e-mail, who has an id
    stale_updates: Literal["attribute", "profile"] = "attribute"  # what is dropped of an older update
    empty_removes: bool = True  # whether null and "" remove an attribute of a person
    invalid_ulid: Literal["regenerate", "reject"] = "regenerate"
    dedupe_s: float | None = None  # how long the id of an event is remembered; without end when None
    dedupe_scope: Literal["workspace", "person"] = "workspace"  # the scope in which the id of an event is unique
    late_anonymous: Literal["strict", "reidentify"] = "strict"
    devices_on_merge: Literal["move", "drop"] = "move"
    device_tokens: Literal["unique", "shared"] = "unique"  # unique: a token moves when another person adds it
    most_devices: Annotated[int, Field(ge=1)] | None = None  # per person; the device that was added first is removed
    object_types: tuple[str, ...] = ("1", "2")
    auto_create_object_types: bool = False
    oversize_status: Literal[413, 400] = 413
    empty_batch_status: Literal[400, 200] = 400
    keep_journal: bool = True  # False: journal and activity stay empty, only counts are kept; for long runs


class Faults(BaseModel):
    """The faults of the service. A rate is a share of requests, or of items where stated, from 0 to 1.

    `latency_ms` is the range of the latency of a response, uniformly distributed. An accepted operation is applied
    after a delay from the range `lag_ms`, uniformly distributed; a share `lag_tail` of them has a delay up to
    `lag_tail_ms`. All delays are multiplied by `lag_scale`. `apply` is the order in which operations are applied.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int | None = None  # None: the seed of the process
    # Refusals, breaks, latency and duplicates: only for this user name. It may be a real one, so no answer shows it.
    site_id: str | None = Field(None, exclude=True)
    latency_ms: tuple[Milliseconds, Milliseconds] = (0.0, 0.0)
    status_401: Rate = 0.0
    status_403: Rate = 0.0
    status_413: Rate = 0.0
    status_429: Rate = 0.0
    status_500: Rate = 0.0
    status_502: Rate = 0.0
    status_503: Rate = 0.0
    status_504: Rate = 0.0
    retry_after_s: float | None = None  # the header `Retry-After` of a 429; None: no header
    retry_after_form: Literal["seconds", "date"] = "seconds"
    refusal_body: str = "{}\n"  # body of 403, 413, 429 and 5xx
    reset_before: Rate = 0.0  # the connection is reset before the request is processed
    reset_after: Rate = 0.0  # the connection is reset after the request was processed
    timeout_before: Rate = 0.0  # no response for `timeout_s`, then a reset; the request is not processed
    timeout_after: Rate = 0.0  # no response for `timeout_s`, then a reset; the request was processed
    timeout_s: float = 30.0
    slow_loris: Rate = 0.0  # the response is sent byte by byte, over `slow_loris_s`
    slow_loris_s: float = 1.0
    duplicate: Rate = 0.0  # the request is processed twice, as if an intermediary had repeated it
    item_errors: Rate = 0.0  # share of items that are refused in a 207
    item_errors_bare: bool = False  # errors of items without `field` and `message`
    item_errors_status: Literal[207, 200] = 207
    apply: Literal["at_once", "in_order", "shuffled"] = "at_once"
    shuffle_batches: bool = False  # apply the items of one request in random order
    lag_ms: tuple[Milliseconds, Milliseconds] = (0.0, 2000.0)
    lag_tail: Rate = 0.01
    lag_tail_ms: Milliseconds = 60_000.0
    lag_scale: Annotated[float, Field(ge=0)] = 1.0
    requests_per_s: Annotated[float, Field(gt=0)] | None = None  # a request above it gets a 429, see below
    drop_silently: bool = False  # above the rate limit: 200, and the request is not processed

    @cached_property
    def statuses(self) -> tuple[tuple[int, float], ...]:
        """Each status with a rate above 0, and its rate."""
        rates = ((int(name.removeprefix("status_")), rate) for name, rate in self if name.startswith("status_"))
        return tuple((status, rate) for status, rate in rates if rate > 0)


class ClockChange(BaseModel):
    """The body of `/_sim/clock`: seconds to move forward, and whether the clock becomes virtual or runs again."""

    model_config = ConfigDict(extra="forbid")

    advance_s: Annotated[float, Field(ge=0)] = 0.0
    virtual: bool | None = None
