"""How a condition looks a value up in the event: `properties.items.0.sku`, compiled to a function.

The reference's rules (`destination-subscriptions`, `get`): a path is split at `.`, `[` and `]`; the first value that
JavaScript calls false is the result, whatever is left of the path (`properties.a.x` is 0 when `a` is 0); lists and
texts have `length` and members by index. Absent and null are both None: no condition tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

Lookup = Callable[[dict[str, Any]], Any]

_KEYS = re.compile(r"[^\[.\]]+")
_INDEX = re.compile(r"0|[1-9][0-9]*")


def keys_of(path: str) -> tuple[str, ...]:
    """Return the keys of a path below the root: `items.0.sku` is `("items", "0", "sku")`."""
    return tuple(_KEYS.findall(path))


def lookup(root: str, keys: Sequence[str]) -> Lookup:
    """Return the function that takes an event to the value at `keys` below its field `root`. It never raises."""
    if not keys:
        return lambda event: event.get(root)
    if len(keys) == 1:
        return _shallow(root, keys[0])
    return _deep(root, tuple(keys))


def _shallow(root: str, key: str) -> Lookup:
    def look(event: dict[str, Any]) -> Any:
        parent = event.get(root)
        return parent.get(key) if type(parent) is dict else _member(parent, key)

    return look


def _deep(root: str, keys: tuple[str, ...]) -> Lookup:
    def look(event: dict[str, Any]) -> Any:
        value = event.get(root)
        for key in keys:
            value = value.get(key) if type(value) is dict else _member(value, key)
        return value

    return look


def _member(value: Any, key: str) -> Any:
    """Return the member of something that is no object; a false value stays as it is, so nothing is found below it."""
    if isinstance(value, list) or (isinstance(value, str) and value):
        if key == "length":
            return len(value)
        return value[int(key)] if _INDEX.fullmatch(key) and len(key) < 10 and int(key) < len(value) else None
    return None if value else value
