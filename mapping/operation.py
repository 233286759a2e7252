"""Operations on entities of Customer.io's v2 API, and the rules for their bodies that all actions share.

The rules are those of buildPayload in the reference (customerio/utils.ts): which dates are converted, which identifier
is sent. An absent value is None here, because no field of a payload can be null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from mapping import identifiers
from mapping.envelope import JsonObject
from mapping.errors import Rejected
from mapping.timestamps import attribute_seconds, event_time, with_dates_converted

ENTITY_PATH: Final = "/api/v2/entity"
BATCH_PATH: Final = "/api/v2/batch"
METRICS_PATH: Final = "/api/v1/metrics"

# The framework of the reference does not validate this field: a mapping that has it sends it.
EXEMPT_FIELD: Final = "dynamicAuthSettings"


# What an operation does to the data at Customer.io. Ordering, delivery and privacy derive their rules from it.
#   update                              sets attributes of a person
#   event                               adds an event, a page view or a screen view to a person
#   device                              adds a device to a person or updates it
#   object                              creates an object or updates it, and relates a person to it
#   report                              reports on a message or on content
#   removal                             removes a device, an object or a relationship
#   merge, delete, suppress, unsuppress change which person an identifier names, if any
Effect = Literal[
    "update", "event", "device", "object", "report", "removal", "merge", "delete", "suppress", "unsuppress"
]

CHANGES_IDENTITY: Final[frozenset[Effect]] = frozenset({"merge", "delete", "suppress", "unsuppress"})
# No timestamp corrects these when they are applied early or late: they wait for the cooldown, see `ordering`.
NEEDS_COOLDOWN: Final[frozenset[Effect]] = CHANGES_IDENTITY | {"removal"}
IRREVERSIBLE: Final[frozenset[Effect]] = NEEDS_COOLDOWN - {"unsuppress"}


class Operation(NamedTuple):
    """One request to Customer.io: the body goes to `path`, alone or, where that is ENTITY_PATH, in a batch.

    `subscription` is the index of the subscription that made it, -1 for a privacy request; `action` is a slug.
    """

    subscription: int
    action: str
    effect: Effect
    path: str
    body: JsonObject
    payload: JsonObject | None = None  # from which the body was made


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a matching subscription made no operation; `error_class` and `message` are those of the reference."""

    subscription: int
    name: str
    action: str
    error_class: str
    message: str
    error: Rejected


class Translation(NamedTuple):
    """The operations and failures of an event, in the order of the subscriptions."""

    operations: tuple[Operation, ...]
    failures: tuple[Failure, ...]
    filtered: str | None = None  # why the event is not given to any subscription
    not_applicable: tuple[str, ...] = ()  # names of the matching subscriptions whose action does not apply to the event


def person_entity(
    action: str, payload: JsonObject, person_id: Any, attributes: JsonObject | None = None, **members: Any
) -> JsonObject:
    """Return the body of an operation on the person that the payload identifies; `members` are more members of it.

    With `convert_timestamp` in the payload, ISO dates in `attributes` and `members` become Unix seconds.
    """
    anonymous_id = payload.get("anonymous_id")
    who = identifiers.of_person(person_id, payload.get("email"), anonymous_id)
    return entity("person", action, payload, who, attributes, members)


def entity(
    kind: str,
    action: str,
    payload: JsonObject,
    who: identifiers.Identifiers | None,
    attributes: JsonObject | None,
    members: JsonObject,
) -> JsonObject:
    """Return the body of an operation on a person or an object. Customer.io refuses it without identifiers (`who`).

    The anonymous id becomes an attribute, of objects too, unless it is the identifier.
    """
    body: JsonObject = {"type": kind, "action": action}
    if EXEMPT_FIELD in payload:
        members[EXEMPT_FIELD] = payload[EXEMPT_FIELD]
    convert = payload.get("convert_timestamp")
    if convert:
        members = with_dates_converted(members)
    for name, value in members.items():
        if value is not None:
            body[name] = value
    if attributes is not None:
        attributes = with_dates_converted(attributes) if convert else attributes.copy()
    anonymous_id = payload.get("anonymous_id")
    if anonymous_id:
        if attributes is None:
            attributes = {}
        if who is not None and "anonymous_id" in who:
            attributes.pop("anonymous_id", None)
        else:
            attributes["anonymous_id"] = anonymous_id
    if attributes is not None:
        body["attributes"] = attributes
    timestamp = payload.get("timestamp")
    if timestamp:
        body["timestamp"] = event_time(timestamp)
    if who is not None:
        body["identifiers"] = who
    return body


def converted(value: Any) -> Any:
    """Return the value with ISO dates as Unix seconds: a text, or the texts in an object. Lists are not converted."""
    if type(value) is str:
        seconds = attribute_seconds(value)
        return value if seconds is None else seconds
    return with_dates_converted(value) if type(value) is dict else value
