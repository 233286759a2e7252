"""How the workspace is set up and how badly it behaves: all that `/_sim/options` and `/_sim/faults` can change."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Rate = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]


class Options(BaseModel):
    """The switches of a workspace. Defaults are what a workspace made today has, or what is assumed of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identifiers: Literal["email_or_id", "id", "email"] = "email_or_id"
    phone: bool = False  # people may be identified by it
    allow_email_update_by_id: bool = True
    multi_identifier_merge: bool = True
    anonymous_merge: bool = True
    id_conflict: Literal["fail", "reassign"] = "fail"  # a new id for somebody whose e-mail address has another one
    stale_updates: Literal["attribute", "profile"] = "attribute"  # what an older update loses against
    empty_removes: bool = True  # null and "" remove an attribute of a person
    invalid_ulid: Literal["regenerate", "reject"] = "regenerate"
    dedupe_s: float | None = None  # how long the id of an event is remembered; for ever when None
    dedupe_scope: Literal["workspace", "person"] = "workspace"  # where the id of an event counts once
    late_anonymous: Literal["strict", "reidentify"] = "strict"
    devices_on_merge: Literal["move", "drop"] = "move"
    device_tokens: Literal["unique", "shared"] = "unique"  # whether a token moves when another person adds it
    most_devices: Annotated[int, Field(ge=1)] | None = None  # of one person: the one added first goes
    object_types: tuple[str, ...] = ("1", "2")
    auto_create_object_types: bool = False
    oversize_status: Literal[413, 400] = 413
    empty_batch_status: Literal[400, 200] = 400
    keep_journal: bool = True  # off: journal and activity stay empty and only counts are kept, for long runs


class Faults(BaseModel):
    """What goes wrong, how often: rates are shares of requests (of items, where it says so), from 0 to 1.

    `latency_ms` is drawn evenly for each answer. What is accepted is applied `lag_ms` later, drawn evenly, a `lag_tail`
    share of it up to `lag_tail_ms`, all of that times `lag_scale`; `apply` says in which order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int | None = None  # of the process, when None
    site_id: str | None = None  # only requests with this user name are refused, broken, slow or taken twice
    latency_ms: tuple[Milliseconds, Milliseconds] = (0.0, 0.0)
    status_401: Rate = 0.0
    status_403: Rate = 0.0
    status_413: Rate = 0.0
    status_429: Rate = 0.0
    status_500: Rate = 0.0
    status_502: Rate = 0.0
    status_503: Rate = 0.0
    status_504: Rate = 0.0
    retry_after_s: float | None = None  # the header of a 429; without it there is none
    retry_after_form: Literal["seconds", "date"] = "seconds"
    refusal_body: str = "{}\n"  # of 403, 413, 429 and 5xx
    reset_before: Rate = 0.0  # the connection breaks, nothing was taken
    reset_after: Rate = 0.0  # the connection breaks, everything was taken
    timeout_before: Rate = 0.0  # no answer for `timeout_s`, then a reset; nothing was taken
    timeout_after: Rate = 0.0  # no answer for `timeout_s`, then a reset; everything was taken
    timeout_s: float = 30.0
    slow_loris: Rate = 0.0  # the answer comes byte by byte, over `slow_loris_s`
    slow_loris_s: float = 1.0
    duplicate: Rate = 0.0  # taken twice, as if an intermediary had repeated it
    item_errors: Rate = 0.0  # share of items refused in a 207
    item_errors_bare: bool = False  # without `field` and `message`
    item_errors_status: Literal[207, 200] = 207
    apply: Literal["at_once", "in_order", "shuffled"] = "at_once"
    shuffle_batches: bool = False  # the items of one request among themselves
    lag_ms: tuple[Milliseconds, Milliseconds] = (0.0, 2000.0)
    lag_tail: Rate = 0.01
    lag_tail_ms: Milliseconds = 60_000.0
    lag_scale: Annotated[float, Field(ge=0)] = 1.0
    requests_per_s: Annotated[float, Field(gt=0)] | None = None  # above it 429, or silence
    drop_silently: bool = False  # over the limit: 200, and nothing is taken

    @cached_property
    def statuses(self) -> tuple[tuple[int, float], ...]:
        """Each status that is to be answered, and how often."""
        rates = ((int(name.removeprefix("status_")), rate) for name, rate in self if name.startswith("status_"))
        return tuple((status, rate) for status, rate in rates if rate > 0)


class ClockChange(BaseModel):
    """What `/_sim/clock` takes: seconds to move on, and whether only this moves the clock from now on."""

    model_config = ConfigDict(extra="forbid")

    advance_s: Annotated[float, Field(ge=0)] = 0.0
    virtual: bool | None = None
