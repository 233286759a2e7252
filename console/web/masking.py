"""Masking: what is left of identities and contents for those who may not see them.

An address keeps its first character and its domain, an id its last four characters. Values of traits and properties
become their type and length.
"""

from __future__ import annotations

import re
from typing import Any, Final

from dead_letters.quotations import without_numbers, without_values
from mapping.envelope import EVENT_TYPES, SAFE_LEVELS, has_more_levels

# Members of an event or a request that say nothing of a person.
_PLAIN: Final = frozenset({"action", "event", "channel"})
_TYPES: Final = EVENT_TYPES | {"person", "object", "delivery"}  # of events, and of requests
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-][\d:]+)?")
_KEPT: Final = 4


def key(ordering_key: str | None) -> str | None:
    """Return an ordering key with a masked value: `email:a…@example.com`, `id:…7731`."""
    if ordering_key is None:
        return None
    kind, colon, value = ordering_key.partition(":")
    return f"{kind}{colon}{identity(value)}" if colon else identity(ordering_key)


def identity(value: str) -> str:
    """Return an address as `a…@example.com`, another id as `…7731`."""
    if "@" in value:
        local, _, domain = value.rpartition("@")
        return f"{local[:1]}…@{domain}"
    return f"…{value[-_KEPT:]}" if len(value) > 2 * _KEPT else "…"


def text(message: str) -> str:
    """Return a text without quoted values, numbers, ids and addresses."""
    return without_values(message)


def content(value: Any) -> Any:
    """Return an event, a request or a part of one with the types and lengths of its values."""
    if has_more_levels(value, SAFE_LEVELS):
        return f"nested in more than {SAFE_LEVELS} levels"
    if isinstance(value, dict):
        return {_name(name): inner if _is_plain(name, inner) else _content(inner) for name, inner in value.items()}
    return _content(value)


def _is_plain(name: str, value: Any) -> bool:
    """Whether a member of an event or a request is shown to everyone: its type, its name, its times."""
    if not isinstance(value, str):
        return False
    return value in _TYPES if name == "type" else name in _PLAIN or _TIME.fullmatch(value) is not None


def _content(value: Any) -> Any:
    match value:
        case dict():
            return {_name(name): _content(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_content(inner) for inner in value]
        case str():
            return f"text, {len(value):,} characters"
        case bool() | None:
            return value
        case int() | float():
            return "number"
    return "value"


def _name(name: str) -> str:
    """Return the name of a member; a name with an address or a long number may be an identity."""
    return without_numbers(name) if "@" in name or len(re.findall(r"\d", name)) >= _KEPT else name
