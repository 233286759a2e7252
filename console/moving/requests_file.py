"""Requests of another destination from a file: JSON lines `{"message_id", "method"?, "path", "body"}`.

`path` is one of the Track API, v2 or v1; `method` is POST without one. Requests of v1 for people, their events and
devices are compared as the operations of v2 that they stand for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from console.errors import CommandError
from mapping.envelope import JsonObject

_V1 = "/api/v1/"
_PAGES = ("page", "screen")


def read(name: str, lines: Iterable[bytes]) -> dict[str, list[JsonObject]]:
    """Return the operations of the lines by message id. Raises CommandError: a line is no request."""
    found: dict[str, list[JsonObject]] = defaultdict(list)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            message_id, operations = _operations(f"{name}, line {number}", line)
            found[message_id] += operations
    return dict(found)


def _operations(where: str, line: bytes) -> tuple[str, list[JsonObject]]:
    try:
        request = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"{where}: is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise CommandError(
            f'{where}: must be an object like {{"message_id": "…", "path": "/api/v2/entity", "body": …}}'
        )
    for member, kind in (("message_id", str), ("path", str), ("body", dict)):
        if not isinstance(request.get(member), kind):
            raise CommandError(f"{where}: {member}: must be {'an object' if kind is dict else 'a text'}")
    path = urlsplit(request["path"]).path
    return request["message_id"], _of_request(where, str(request.get("method", "POST")), path, request["body"])


def _of_request(where: str, method: str, path: str, body: Any) -> list[JsonObject]:
    if path.endswith("/batch"):
        items = body.get("batch")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise CommandError(f"{where}: body.batch: must be an array of objects")
        return items
    if path.endswith("/entity"):
        return [body]
    operation = _of_v1(method, path.removeprefix(_V1).split("/"), body)
    if operation is None:
        raise CommandError(f"{where}: path: {method} {path} is no request of the Track API that can be compared")
    return [{"type": "person", **operation}]


def _of_v1(method: str, parts: list[str], body: JsonObject) -> JsonObject | None:
    """Return the operation that a request of v1 stands for, without its type; None for another request."""
    match [method, *parts]:
        case ["PUT", "customers", who]:
            attributes = {name: value for name, value in body.items() if name != "_timestamp"}
            return {"action": "identify", "identifiers": _identifiers(who), "attributes": attributes}
        case ["DELETE", "customers", who]:
            return {"action": "delete", "identifiers": _identifiers(who)}
        case ["POST", "customers", who, "events"]:
            return {"identifiers": _identifiers(who), **_event(body)}
        case ["POST", "events"]:
            return {"identifiers": {"anonymous_id": body.get("anonymous_id")}, **_event(body)}
        case ["PUT", "customers", who, "devices"]:
            device = {"token" if name == "id" else name: value for name, value in body.get("device", {}).items()}
            return {"action": "add_device", "identifiers": _identifiers(who), "device": device}
        case ["DELETE", "customers", who, "devices", token]:
            return {"action": "delete_device", "identifiers": _identifiers(who), "device": {"token": unquote(token)}}
    return None


def _event(body: JsonObject) -> JsonObject:
    action = body.get("type") if body.get("type") in _PAGES else "event"
    times = {"timestamp": body["timestamp"]} if "timestamp" in body else {}
    return {"action": action, "name": body.get("name"), "attributes": body.get("data") or {}, **times}


def _identifiers(part: str) -> JsonObject:
    text = unquote(part)
    if text.startswith("cio_"):
        return {"cio_id": text.removeprefix("cio_")}
    return {"email": text} if "@" in text else {"id": text}
