"""JSON patches as operators type them: an object is a merge patch (RFC 7396), a list a JSON patch (RFC 6902)."""

from __future__ import annotations

from typing import Any

import orjson
from jsonpatch import JsonPatch, JsonPatchException, JsonPatchTestFailed, JsonPointerException

from console.errors import CommandError
from mapping.envelope import JsonObject

_EXAMPLES = '{"properties": {"url": "https://example.com"}} or [{"op": "remove", "path": "/traits/bio"}]'


def patched(event: JsonObject, patch: str) -> JsonObject:
    """Return a copy of `event` with the JSON text `patch` applied.

    Raises CommandError: the patch is not JSON or is neither an object nor a list, a step fails (the message has its
    number, from 1), or the result is not an object.
    """
    changes = read_patch(patch)
    if isinstance(changes, dict):
        result = _merged(event, changes)
    else:
        result = event
        for number, step in enumerate(changes, start=1):
            result = _stepped(result, step, number)
    if not isinstance(result, dict):
        raise CommandError("an event must be a JSON object; nothing was changed")
    return result


def read_patch(patch: str) -> JsonObject | list[Any]:
    """Return the patch of a text. Raises CommandError: it is not JSON, or neither an object nor a list of steps."""
    try:
        changes = orjson.loads(patch)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"the patch is not JSON: {error}; nothing was changed") from None
    if isinstance(changes, dict) or (isinstance(changes, list) and changes):
        return changes
    raise CommandError(f"the patch must be an object or a list of steps, such as {_EXAMPLES}")


def _merged(target: Any, changes: JsonObject) -> JsonObject:
    # MergePatch of RFC 7396, section 2. jsonpatch has none.
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value) if isinstance(value, dict) else value
    return result


def _stepped(document: Any, step: Any, number: int) -> Any:
    # One step at a time: the library does not tell the number of the step that failed.
    try:
        return JsonPatch([step]).apply(document)
    except JsonPatchTestFailed:
        reason = "the test failed"
    except (JsonPatchException, JsonPointerException) as error:
        reason = str(error).partition(" in {")[0]  # some texts end with the whole document
    named = f" ({step.get('op')} {step.get('path')})" if isinstance(step, dict) else ""
    raise CommandError(f"step {number} of the patch{named}: {reason}; nothing was changed")
