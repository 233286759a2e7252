"""Requests of another destination from a file: JSON lines or an array of `{"message_id", "method"?, "path", "body"?}`.

`path` is one of the Track API, v2 or v1; `method` is POST without one. `body` is an object, or its JSON as a text; a
request that has none, such as a DELETE, may omit it. Requests of v1 for people, their events and devices are compared
as the operations of v2 that they stand for.
"""

from __future__ import annotations

from collections import defaultdict
from typing import IO, Any, Final
from urllib.parse import unquote, urlsplit

import orjson

from console.errors import CommandError
from console.send import readers
from mapping.envelope import JsonObject, utf8_fault
from mapping.identifiers import of_person
from mapping.operation import METRICS_PATH

_V1: Final = "/api/v1/"
_PAGES: Final = ("page", "screen")
_WITHOUT_BODY: Final = ("/suppress", "/unsuppress")  # ends of paths


def read(name: str, stream: IO[bytes]) -> dict[str, list[JsonObject]]:
    """Return the operations of the requests by message id; the file may be compressed with gzip. It is closed.

    Raises CommandError: a line is no request.
    """
    found: dict[str, list[JsonObject]] = defaultdict(list)
    with readers.opened(stream) as reader:
        for record in readers.guarded(readers.records(reader)):
            where = f"{name}, line {record.number}"
            if isinstance(record, readers.Fault):
                raise CommandError(f"{where}: {record.reason}")
            message_id, operations = _operations(where, record.text)
            found[message_id] += operations
    return dict(found)


def _operations(where: str, line: bytes) -> tuple[str, list[JsonObject]]:
    try:
        request = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"{where}: is not JSON: {utf8_fault(line) or error}") from None
    if not isinstance(request, dict):
        raise CommandError(
            f'{where}: must be an object like {{"message_id": "…", "path": "/api/v2/entity", "body": …}}'
        )
    for member in ("message_id", "path"):
        _check(where, member, request.get(member), str)
    method = request.get("method", "POST")
    _check(where, "method", method, str)
    try:
        path = urlsplit(request["path"]).path
    except ValueError as error:
        raise CommandError(f"{where}: path: is no address: {error}") from None
    method, may_omit_body = method.upper(), path.endswith(_WITHOUT_BODY)
    body = _body(request.get("body"), {} if method == "DELETE" or may_omit_body else None)
    _check(where, "body", body, dict)
    return request["message_id"], _of_request(where, method, path, body)


def _check(where: str, member: str, value: Any, kind: type[Any]) -> None:
    """Raise CommandError when a member is absent or of another kind."""
    if not isinstance(value, kind):
        problem = "is missing; it " if value is None else ""
        raise CommandError(f"{where}: {member}: {problem}must be {'an object' if kind is dict else 'a text'}")


def _body(value: Any, default: JsonObject | None) -> Any:
    """Return the body of a request, which may be JSON in a text; `default` when there is none."""
    if isinstance(value, str) and value:
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return default if value in (None, "") else value


def _of_request(where: str, method: str, path: str, body: Any) -> list[JsonObject]:
    if path.endswith("/batch"):
        items = body.get("batch")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise CommandError(f"{where}: body.batch: must be an array of objects")
        return items
    if path.endswith("/entity") or path == METRICS_PATH:
        return [body]
    operation = _of_v1(where, method, path.removeprefix(_V1).split("/"), body)
    if operation is None:
        raise CommandError(f"{where}: path: {method} {path} is no request of the Track API that can be compared")
    return [{"type": "person", **operation}]


def _of_v1(where: str, method: str, parts: list[str], body: JsonObject) -> JsonObject | None:
    """Return the operation that a request of v1 stands for, without its type; None for another request."""
    match [method, *parts]:
        case ["PUT", "customers", who]:
            return {"action": "identify", "identifiers": _identifiers(who), **_update(body)}
        case ["DELETE", "customers", who]:
            return {"action": "delete", "identifiers": _identifiers(who)}
        case ["POST", "customers", who, ("suppress" | "unsuppress") as action]:
            return {"action": action, "identifiers": _identifiers(who)}
        case ["POST", "merge_customers"]:
            return {"action": "merge", "primary": body.get("primary"), "secondary": body.get("secondary")}
        case ["POST", "customers", who, "events"]:
            return {"identifiers": _identifiers(who), **_event(body)}
        case ["POST", "events"]:
            return {"identifiers": {"anonymous_id": body.get("anonymous_id")}, **_event(body)}
        case ["PUT", "customers", who, "devices"]:
            _check(where, "body.device", body.get("device"), dict)
            device = {"token" if name == "id" else name: value for name, value in body["device"].items()}
            return {"action": "add_device", "identifiers": _identifiers(who), "device": device}
        case ["DELETE", "customers", who, "devices", token]:
            return {"action": "delete_device", "identifiers": _identifiers(who), "device": {"token": unquote(token)}}
    return None


def _update(body: JsonObject) -> JsonObject:
    attributes = {name: value for name, value in body.items() if name not in ("_timestamp", "cio_relationships")}
    relationships = body.get("cio_relationships")
    if isinstance(relationships, dict):
        return {"attributes": attributes, "cio_relationships": relationships.get("relationships", [])}
    return {"attributes": attributes}


def _event(body: JsonObject) -> JsonObject:
    action = body.get("type") if body.get("type") in _PAGES else "event"
    times = {"timestamp": body["timestamp"]} if "timestamp" in body else {}
    return {"action": action, "name": body.get("name"), "attributes": body.get("data") or {}, **times}


def _identifiers(part: str) -> JsonObject:
    return of_person(unquote(part)) or {}
