"""Bodies that are not JSON: the events of a batch are read one by one, so that a broken one costs only itself.

The structure of the body is read from its tokens: brackets, commas and strings. Its values are read by the usual
parser. The time is proportional to the number of tokens, which is bounded.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from ingest.errors import Refusal
from ingest.events import MAX_BATCH_EVENTS

_BLANK = b" \t\r\n\0"  # NUL is not JSON's; some clients send it between events, or behind the body
# A string, which may lack its end, or a mark of the structure. The quantifiers are possessive: nothing is read twice.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_NAME = re.compile(rb'[ \t\r\n\0]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n\0]*+:[ \t\r\n\0]*+', re.DOTALL)
_EXCERPT_CHARACTERS = 20
# The most tokens of a body: brackets, commas and strings.
MOST_TOKENS = 100_000
_REST = "the rest of the body is not JSON"


class Unreadable:
    """Takes the position of an event that is not JSON. `message` says what is wrong with it."""

    def __init__(self, message: str) -> None:
        self.message = message


def read(body: bytes) -> Any:
    """Return what can be read of a body: a batch, `{"batch": [event, …], …}`, or an array of events.

    Events that are not JSON are Unreadable, and so is what follows the last event when the structure ends too early or
    too late. Raises ValueError when nothing can be kept. Then the body has another form or more than MOST_TOKENS
    tokens, or another member of it is not JSON. Raises Refusal (413) when there are more than MAX_BATCH_EVENTS events.
    """
    if sum(map(body.count, (b"[", b"]", b"{", b"}", b","))) + body.count(b'"') // 2 > MOST_TOKENS:
        raise ValueError("the body has too many brackets, commas and strings")
    start = len(body) - len(body.lstrip(_BLANK))
    match body[start : start + 1]:
        case b"{":
            return _batch(body, start + 1)
        case b"[":
            events, end = _events(body, start + 1)
            if all(isinstance(event, Unreadable) for event in events):
                raise ValueError("no event of the array is JSON")
            return events + _remainder(body, end, b"]")
    raise ValueError("the body is neither an object nor an array")


def _batch(body: bytes, position: int) -> dict[str, Any]:
    """Return the members of the object whose content begins at `position`."""
    members: dict[str, Any] = {}
    events: list[Any] | None = None
    while named := _NAME.match(body, position):
        name, position = orjson.loads(named[1]), named.end()
        if name == "batch" and body.startswith(b"[", position):
            events, closing = _events(body, position + 1)
            members[name] = events
            position = closing + 1
            end = _end(body, position, b"}")
            if body[position:end].strip(_BLANK):
                events.append(Unreadable(_REST))
        else:
            end = _end(body, position, b"}")
            members[name] = orjson.loads(body[position:end].strip(_BLANK))
        position = end + 1
        if not body.startswith(b",", end):
            break
    if events is None:
        raise ValueError("the body has no batch")
    events += _remainder(body, position - 1, b"}")
    return members


def _events(body: bytes, position: int) -> tuple[list[Any], int]:
    """Return the events of the array whose content begins at `position`, and the index of its closing bracket.

    The index is the length of the body when there is no such bracket. A comma between two events may be missing.
    """
    events: list[Any] = []
    while True:
        end = _end(body, position, b"]")
        if events or body[position:end].strip(_BLANK) or not body.startswith(b"]", end):
            events.append(_event(body[position:end].strip(_BLANK)))
        if len(events) > MAX_BATCH_EVENTS:
            raise Refusal(413, f"batch: must have at most {MAX_BATCH_EVENTS:,} events", "batch")
        if end == len(body) or body.startswith(b"]", end):
            return events, end
        position = end + body.startswith(b",", end)


def _event(raw: bytes) -> Any:
    if not raw:
        return Unreadable("the event is empty")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Unreadable(_described(raw, error))


def _described(raw: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as broken:
        return f"the event is not UTF-8: byte {broken.start} is {raw[broken.start]:#04x}"
    excerpt = text[error.pos : error.pos + _EXCERPT_CHARACTERS]
    return f"the event is not JSON: {error.msg} at character {error.pos}{f': {excerpt}' if excerpt else ''}"


def _remainder(body: bytes, end: int, closing: bytes) -> list[Unreadable]:
    """Return what stands for the rest of the body when its last bracket is not at `end`, or is not its end."""
    if body.startswith(closing, end) and not body[end + 1 :].strip(_BLANK):
        return []
    return [Unreadable(_REST)]


def _end(body: bytes, start: int, closing: bytes) -> int:
    """Return the index where the value that begins at `start` ends: a comma, the closing bracket, or the next value.

    Brackets inside the value count in pairs of any kind. Without an end the index is the length of the body.
    """
    depth, is_complete = 0, False
    for token in _TOKEN.finditer(body, start):
        match token[0]:
            case b"[" | b"{":
                if is_complete and not depth:
                    return token.start()
                depth += 1
            case b"]" | b"}" if depth:
                depth -= 1
                is_complete = not depth
            case b"," if not depth:
                return token.start()
            case mark if mark == closing and not depth:
                return token.start()
    return len(body)
