"""JSON patches as operators type them: an object is a merge patch (RFC 7396), a list a JSON patch (RFC 6902)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson

from console.errors import CommandError
from mapping.envelope import JsonObject

_EXAMPLES = '{"properties": {"url": "https://example.com"}} or [{"op": "remove", "path": "/traits/bio"}]'


def patched(event: JsonObject, patch: str) -> JsonObject:
    """Return the event with the patch applied; raise CommandError when that is not possible."""
    try:
        changes = orjson.loads(patch)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"the patch is not JSON: {error}; nothing was changed") from None
    if isinstance(changes, dict):
        result = _merged(event, changes)
    elif isinstance(changes, list) and changes:
        result = deepcopy(event)
        for number, step in enumerate(changes, start=1):
            result = _stepped(result, step, number)
    else:
        raise CommandError(f"the patch must be an object or a list of steps, such as {_EXAMPLES}")
    if not isinstance(result, dict):
        raise CommandError("an event must be a JSON object; nothing was changed")
    return result


def _merged(target: Any, changes: JsonObject) -> JsonObject:
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value) if isinstance(value, dict) else value
    return result


def _stepped(document: Any, step: Any, number: int) -> Any:
    try:
        operation, path = step["op"], _pointer(step["path"])
        match operation:
            case "add" | "replace":
                return _put(document, path, step["value"], is_there=operation == "replace")
            case "remove":
                return _removed(document, path)
            case "move":
                origin = _pointer(step["from"])
                value = _at(document, origin)
                return _put(_removed(document, origin), path, value)
            case "copy":
                return _put(document, path, deepcopy(_at(document, _pointer(step["from"]))))
            case "test":
                if _at(document, path) != step["value"]:
                    raise ValueError("the value there is another one")
                return document
        raise ValueError(f'there is no "{operation}"; there are add, replace, remove, move, copy and test')
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise CommandError(f"step {number} of the patch: {reason}; nothing was changed") from None
    except ValueError as error:
        raise CommandError(f"step {number} of the patch: {error}; nothing was changed") from None


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f'a path begins with "/", such as "/properties/url" (it is "{text}")')
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[part if isinstance(document, dict) else _index(part)]
    return document


def _put(document: Any, path: list[str], value: Any, *, is_there: bool = False) -> Any:
    """Put the value into the document; in a list it goes before what is at its place, unless it replaces that."""
    if not path:
        return value
    *way, last = path
    parent = _at(document, way)
    if is_there:
        _at(parent, [last])
    if isinstance(parent, list) and not is_there:
        parent.insert(len(parent) if last == "-" else _index(last, len(parent)), value)
    else:
        parent[last if isinstance(parent, dict) else _index(last)] = value
    return document


def _removed(document: Any, path: list[str]) -> Any:
    if not path:
        raise ValueError("the whole event cannot be removed")
    *way, last = path
    parent = _at(document, way)
    del parent[last if isinstance(parent, dict) else _index(last)]
    return document


def _index(text: str, most: int | None = None) -> int:
    if not text.isdecimal():
        raise ValueError(f'"{text}" is no place in a list')
    if most is not None and int(text) > most:
        raise IndexError(f"the list has no place {text}")
    return int(text)
