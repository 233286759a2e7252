"""Look-up of paths such as `$.a.b[0]` in an event, compiled once per path.

The rules are those of `get` in the reference (segmentio/action-destinations, packages/core/src/get.ts). The first `$.`
is removed, wherever it is. A path is split at `.`, `[` and `]`; at brackets only beside a digit or a quote. Quotes are
removed. A falsy value on the way is the result: `$.a.x` is 0 when `a` is 0. Texts and lists have indices and `length`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mapping.javascript import UNDEFINED, is_array_index, length, truthy

Resolver = Callable[[Any], Any]

_SEPARATORS = re.compile(r"""\[(?=["'0-9])|\.|(?<=["'0-9])\]+""")


def compile_path(path: str) -> Resolver:
    """Return the look-up of a path as in `@path`, with or without the leading `$.`."""
    return compile_keys(path.replace("$.", "", 1))


@lru_cache(maxsize=4096)
def compile_keys(path: str) -> Resolver:
    """Return the look-up of a path as in `@template`, where `$.` has no meaning."""
    if path in ("", "."):
        return _whole
    names = _names(path)
    match names:
        case []:
            return _whole
        case [first]:
            return _member_of_event(first)
        case [first, second]:
            return _member_of_member(first, second)
    return _member_at(names)


def member_of_event(path: str) -> str | None:
    """Return the member of the event that a path as in `@path` names; None for a path to another place."""
    names = _names(path.replace("$.", "", 1))
    return names[0] if len(names) == 1 else None


def _names(path: str) -> list[str]:
    return [name.replace("'", "").replace('"', "") for name in _SEPARATORS.split(path) if name]


def member(value: Any, name: str) -> Any:
    """Return `value[name]` of a truthy value as in JavaScript; UNDEFINED if it has no such member."""
    if type(value) is dict:
        return value.get(name, UNDEFINED)
    if type(value) is str:
        if name == "length":
            return length(value)
    elif type(value) is not list:
        return UNDEFINED
    elif name == "length":
        return len(value)
    if is_array_index(name) and int(name) < len(value):
        return value[int(name)]
    return UNDEFINED


def _whole(event: Any) -> Any:
    return event


def _member_of_event(name: str) -> Resolver:
    def look_up(event: Any) -> Any:
        if type(event) is dict:
            return event.get(name, UNDEFINED)
        return member(event, name) if truthy(event) else event

    return look_up


def _member_of_member(first: str, second: str) -> Resolver:
    def look_up(event: Any) -> Any:
        if type(event) is dict:
            found = event.get(first, UNDEFINED)
            if type(found) is dict:
                return found.get(second, UNDEFINED)
        else:
            found = member(event, first) if truthy(event) else event
        return member(found, second) if truthy(found) else found

    return look_up


def _member_at(names: list[str]) -> Resolver:
    def look_up(event: Any) -> Any:
        found = event
        for name in names:
            if type(found) is dict:
                found = found.get(name, UNDEFINED)
            elif truthy(found):
                found = member(found, name)
            else:
                return found
        return found

    return look_up
