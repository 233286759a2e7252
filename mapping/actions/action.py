"""The definition of an action: data (title, default trigger, effect, fields with default mappings) and a function.

Also the fields and mappings that several actions share.
"""

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
    """An input of an action. Error texts name it by its `label`; `default` is its mapping in the preset.

    `names`: the kind of identity that the field holds; events are ordered by identities. `minimum` and `maximum` are
    inclusive.
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
    """An action of Customer.io; `operation` makes the body of a request from a validated payload.

    All rules that depend on the action are derived from `effect` and the other members; no other module names an
    action. An action whose effect is "merge" has the fields `primary` and `secondary`.

    `restricted`: a source must be trusted to run it, as it takes data or people away from Customer.io (`restrictions`).
    `timed`: a body without a timestamp gets the current time. Only actions with ENTITY_PATH can be batched. `in_2021`:
    the original product (compatibility = "2021") has the action.

    Two members make deliveries differ from the reference. `applies_with`: required fields, by key. Libraries send
    events of the preset's trigger that lack them. Such an event is no event for this action, unless the subscription
    has its own mapping of the absent field. `corrected`: the function that makes the delivered body.
    """

    slug: str
    title: str
    trigger: str
    effect: Effect
    fields: tuple[Field, ...]
    operation: Callable[[JsonObject], JsonObject]
    path: str = ENTITY_PATH
    restricted: bool = False
    timed: bool = False
    in_2021: bool = True
    applies_with: tuple[str, ...] = ()
    corrected: Callable[[JsonObject], JsonObject] | None = None

    @property
    def default_mapping(self) -> JsonObject:
        """The mapping of the preset: the defaults of all fields that have one, by key."""
        return {field.key: field.default for field in self.fields if field.default is not UNDEFINED}


def path(source: str) -> JsonObject:
    """Return the mapping that takes the value at a path."""
    return {"@path": source}


def first_of(source: str, otherwise: str) -> JsonObject:
    """Return the mapping that takes the value at the first path if it exists, else at the second."""
    return {"@if": {"exists": path(source), "then": path(source), "else": path(otherwise)}}


USER_ID: Final = path("$.userId")
ANONYMOUS_ID: Final = Field("anonymous_id", "Anonymous ID", default=path("$.anonymousId"), names="anonymous")
EVENT_ID: Final = Field("event_id", "Event ID", default=path("$.messageId"))
TIMESTAMP: Final = Field("timestamp", "Timestamp", default=path("$.timestamp"))
CONVERT_TIMESTAMP: Final = Field("convert_timestamp", "Convert Timestamps", "boolean", default=True)

# Segment's own batching. The values are not used, but a `batch_size` out of bounds refuses the event.
BATCHING: Final = (
    Field("enable_batching", "Enable Batching", "boolean", default=True),
    Field("batch_size", "Batch Size", "number", default=50, minimum=2, maximum=100),
)

PERSON: Final = Field("person_id", "Person ID", default=USER_ID, required=True, names="person")
EVENT_DATA: Final = Field("data", "Event Attributes", "object", default=path("$.properties"))
DEVICE_ID: Final = Field(
    "device_id", "Device ID", default=path("$.context.device.token"), required=True, names="device"
)
# Of an object that is deleted, or whose relationship is.
OBJECT_TYPE_ID: Final = Field(
    "object_type_id",
    "Object Type ID",
    default=first_of("$.properties.object_type_id", "$.properties.objectTypeId"),
    names="object type",
)
