"""The body of one Customer.io v2 entity: the payload of an action, its dates converted, its identifiers chosen.

The rules all actions share, as the reference's buildPayload has them (customerio/utils.ts). An absent value is None
here, since no field of a payload can be null.
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

# The reference's framework lets this one field through unseen, so a mapping that has it sends it.
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
    payload: JsonObject | None = None  # what the body was made of


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a subscription that matches made no operation; `error_class` and `message` are the reference's."""

    subscription: int
    name: str
    action: str
    error_class: str
    message: str
    error: Rejected


class Translation(NamedTuple):
    """What one event comes to, in the order of the subscriptions."""

    operations: tuple[Operation, ...]
    failures: tuple[Failure, ...]


def person_entity(
    action: str, payload: JsonObject, person_id: Any, attributes: JsonObject | None = None, **members: Any
) -> JsonObject:
    """Return an operation on the person that the payload names. `attributes` and `members` are converted when the
    payload says so."""
    anonymous_id = payload.get("anonymous_id")
    who = identifiers.person(person_id, payload.get("email"), anonymous_id)
    return entity("person", action, payload, who, attributes, members)


def entity(
    kind: str,
    action: str,
    payload: JsonObject,
    who: identifiers.Identifiers | None,
    attributes: JsonObject | None,
    members: JsonObject,
) -> JsonObject:
    """Return an operation on a person or an object; without `who` it has no identifiers and Customer.io will refuse it.

    The visitor's anonymous id becomes an attribute, even of an object, unless it is what identifies.
    """
    body: JsonObject = {"type": kind, "action": action}
    if EXEMPT_FIELD in payload:
        members[EXEMPT_FIELD] = payload[EXEMPT_FIELD]
    convert = payload.get("convert_timestamp")
    for name, value in members.items():
        if value is not None:
            body[name] = converted(value) if convert else value
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
    """Return the value with its ISO dates as Unix seconds: a text itself, or the members of an object."""
    if type(value) is str:
        seconds = attribute_seconds(value)
        return value if seconds is None else seconds
    return with_dates_converted(value) if type(value) is dict else value
