"""What an action is: data (title, default trigger, fields with their default mappings) and one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final, Literal

from mapping.envelope import JsonObject
from mapping.javascript import UNDEFINED
from mapping.operation import ENTITY_PATH, Effect

FieldType = Literal["string", "object", "boolean", "number", "datetime"]
Naming = Literal["person", "email", "anonymous", "object", "object type", "device"]


@dataclass(frozen=True, slots=True)
class Field:
    """One input of an action. `label` is what error texts call it, `default` its mapping in the presets.

    `names` says what the field identifies, which is what events are ordered by. `minimum` and `maximum` are inclusive.
    """

    key: str
    label: str
    type: FieldType = "string"
    _: KW_ONLY
    default: Any = UNDEFINED
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    names: Naming | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that can be done in Customer.io; `operation` makes the request's body of a validated payload.

    Everything that depends on the nature of an action is derived from `effect` and the other members here; no other
    module names an action. An action whose effect is "merge" has the fields `primary` and `secondary`.

    `timed` actions get the current time when the body has none. Actions that are not sent to ENTITY_PATH cannot be
    batched. `in_2021`: the original product (compatibility = "2021") has the action.
    """

    slug: str
    title: str
    trigger: str
    effect: Effect
    fields: tuple[Field, ...]
    operation: Callable[[JsonObject], JsonObject]
    path: str = ENTITY_PATH
    timed: bool = False
    in_2021: bool = True

    @property
    def default_mapping(self) -> JsonObject:
        """The mapping of the action's preset: the default of every field that has one."""
        return {field.key: field.default for field in self.fields if field.default is not UNDEFINED}


def path(source: str) -> JsonObject:
    return {"@path": source}


def first_of(source: str, otherwise: str) -> JsonObject:
    """The mapping that takes the first path when it is there, else the second."""
    return {"@if": {"exists": path(source), "then": path(source), "else": path(otherwise)}}


USER_ID: Final = path("$.userId")
ANONYMOUS_ID: Final = Field("anonymous_id", "Anonymous ID", default=path("$.anonymousId"), names="anonymous")
EVENT_ID: Final = Field("event_id", "Event ID", default=path("$.messageId"))
TIMESTAMP: Final = Field("timestamp", "Timestamp", default=path("$.timestamp"))
CONVERT_TIMESTAMP: Final = Field("convert_timestamp", "Convert Timestamps", "boolean", default=True)

# The platform's own batching: nothing is done with the values, but `batch_size` out of its bounds refuses the event.
BATCHING: Final = (
    Field("enable_batching", "Enable Batching", "boolean", default=True),
    Field("batch_size", "Batch Size", "number", default=50, minimum=2, maximum=100),
)

PERSON: Final = Field("person_id", "Person ID", default=USER_ID, required=True, names="person")


def event_data(source: str = "$.properties") -> Field:
    return Field("data", "Event Attributes", "object", default=path(source))
