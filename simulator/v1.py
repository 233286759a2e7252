"""The Track API v1, said in operations of v2: which method and path stands for which."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]

_EMAIL = re.compile(r"[^@\s/]+@[^@\s/]+\.[^@\s/]+")
_NOTHING: list[Json] = []


class Malformed(Exception):
    """The call is refused; `body` is what v1 answers with its 400."""

    def __init__(self, message: str, *, merge: bool = False) -> None:
        super().__init__(message)
        self.body: Json = {"meta": {"error": message}} if merge else {"meta": {"errors": [message]}}


def operations(method: str, raw_path: str, body: Json) -> list[Json] | None:
    """Return what the call asks for; an empty list where it is accepted and nothing is simulated, None for 404.

    `raw_path` is everything after `/api/v1/`, still percent-encoded. Raises Malformed.
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
        case ["POST", "metrics"] | ["POST", "push", "events"]:
            return _NOTHING
        case ["POST", "segments", _, "add_customers" | "remove_customers"]:
            return _NOTHING
    return None


def identifiers(path_part: str) -> Json:
    """Return the identifier that a part of a path is, by its shape."""
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
