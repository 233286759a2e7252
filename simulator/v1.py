"""The Track API v1: from method, path and body to operations of v2."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import orjson

from simulator.person import Json

_EMAIL = re.compile(r"[^@\s/]+@[^@\s/]+\.[^@\s/]+")
_NOTHING: list[Json] = []
_METRICS = frozenset({"bounced", "clicked", "converted", "deferred", "delivered", "dropped", "opened", "spammed"})
_MAX_EVENT_BYTES = 100_000
_MAX_SEGMENT_IDS = 1000


class Malformed(Exception):
    """The request is refused; `body` is the JSON of the 400 that v1 sends."""

    def __init__(self, message: str, *, merge: bool = False) -> None:
        super().__init__(message)
        self.body: Json = {"meta": {"error": message}} if merge else {"meta": {"errors": [message]}}


def operations(method: str, raw_path: str, body: Json) -> list[Json] | None:
    """Return the operations of a request; an empty list when it is accepted without effect; None for a 404.

    `raw_path` is the path after `/api/v1/`, percent-encoded. Raises Malformed.
    """
    match [method, *raw_path.split("/")]:
        case ["PUT", "customers", who]:
            return [_identify(who, body)]
        case ["DELETE", "customers", who]:
            return [_person("delete", who)]
        case ["POST", "customers", who, "events"]:
            return [_event({"identifiers": identifiers(who)}, body)]
        case ["POST", "events"]:
            return _anonymous(body)
        case ["PUT", "customers", who, "devices"]:
            return [_person("add_device", who, device=_device(body))]
        case ["DELETE", "customers", who, "devices", token]:
            return [_person("delete_device", who, device={"token": unquote(token)})]
        case ["POST", "customers", who, ("suppress" | "unsuppress") as action]:
            return [_person(action, who)]
        case ["POST", "merge_customers"]:
            return [_merge(body)]
        case ["POST", "metrics"]:
            return [_delivery(body, "metric")]
        case ["POST", "push", "events"]:
            return [_delivery(body, "event")]
        case ["POST", "segments", _, "add_customers" | "remove_customers"]:
            return _segment(body)
        case ["POST", "forms", _, "submit"]:
            return [_form(body)]
    return None


def identifiers(path_part: str) -> Json:
    """Return the identifier in a percent-encoded part of a path: `{"cio_id"}`, `{"email"}` or `{"id"}`, by its form."""
    text = unquote(path_part)
    if text.startswith("cio_"):
        return {"cio_id": text.removeprefix("cio_")}
    return {"email": text} if _EMAIL.fullmatch(text) else {"id": text}


def _person(action: str, who: str, **members: Any) -> Json:
    if not who:
        raise Malformed("identifier is required")
    return {"type": "person", "action": action, "identifiers": identifiers(who), **members}


def _identify(who: str, body: Json) -> Json:
    attributes = dict(body)
    operation = _person("identify", who, attributes=attributes)
    timestamp = attributes.pop("_timestamp", None)
    if timestamp is not None:
        operation["timestamp"] = timestamp
    relationships = attributes.pop("cio_relationships", None)
    if isinstance(relationships, dict):
        operation["cio_relationships"] = relationships.get("relationships", [])
    return operation


def _event(operation: Json, body: Json) -> Json:
    action = body.get("type")
    operation |= {"type": "person", "action": action if action in ("page", "screen") else "event"}
    operation |= {"name": body.get("name"), "attributes": body.get("data") or {}}
    if len(orjson.dumps(operation["attributes"])) > _MAX_EVENT_BYTES:
        raise Malformed(f"data cannot be longer than {_MAX_EVENT_BYTES} bytes")
    return operation | {name: body[name] for name in ("id", "timestamp") if name in body}


def _anonymous(body: Json) -> list[Json]:
    anonymous_id = body.get("anonymous_id")
    if not anonymous_id:
        return _NOTHING
    return [_event({"identifiers": {"anonymous_id": str(anonymous_id)}}, body)]


def _device(body: Json) -> Json:
    device = body.get("device")
    if not isinstance(device, dict) or not device.get("id"):
        raise Malformed("device.id is required")
    return {"token" if name == "id" else name: value for name, value in device.items()}


def _merge(body: Json) -> Json:
    for member in ("primary", "secondary"):
        who = body.get(member)
        if not isinstance(who, dict) or len(who) != 1:
            raise Malformed(f"{member} must have exactly one identifier", merge=True)
    return {"type": "person", "action": "merge", "primary": body["primary"], "secondary": body["secondary"]}


def _delivery(body: Json, member: str) -> Json:
    delivery_id, name = body.get("delivery_id"), body.get(member)
    if not delivery_id:
        raise Malformed("delivery_id is required")
    if name not in _METRICS:
        raise Malformed(f"{member} must be one of {', '.join(sorted(_METRICS))}")
    attributes = {key: value for key, value in body.items() if key not in ("delivery_id", member)}
    identifiers = {"id": delivery_id}
    return {"type": "delivery", "action": "event", "identifiers": identifiers, "name": name, "attributes": attributes}


def _segment(body: Json) -> list[Json]:
    """Check the ids. Manual segments are not simulated."""
    ids = body.get("ids")
    if not isinstance(ids, list) or len(ids) > _MAX_SEGMENT_IDS:
        raise Malformed(f"ids must be an array of at most {_MAX_SEGMENT_IDS}")
    return _NOTHING


def _form(body: Json) -> Json:
    """Return the identify that a submitted form stands for."""
    data = body.get("data")
    fields = dict(data) if isinstance(data, dict) else {}
    for kind in ("id", "email"):
        if fields.get(kind):
            who = {kind: str(fields.pop(kind))}
            return {"type": "person", "action": "identify", "identifiers": who, "attributes": fields}
    raise Malformed("data.id or data.email is required")
