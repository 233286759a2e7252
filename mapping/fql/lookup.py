"""Look-up of the value of a condition in an event: `properties.items.0.sku`, compiled to a function.

The rules are those of the reference (`destination-subscriptions`, `get`). A path is split at `.`, `[` and `]`. A falsy
value on the way is the result: `properties.a.x` is 0 when `a` is 0. Lists and texts have `length` and indices. Absent
values and null are both None: no condition distinguishes them.
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
    """Return the function from an event to the value at `keys` below its field `root`. It never raises."""
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
    """Return a member of a value that is not an object; a falsy value itself."""
    if isinstance(value, list) or (isinstance(value, str) and value):
        if key == "length":
            return len(value)
        return value[int(key)] if _INDEX.fullmatch(key) and len(key) < 10 and int(key) < len(value) else None
    return None if value else value
