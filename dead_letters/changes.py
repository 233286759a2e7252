"""Where two JSON values differ, member by member."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

_MISSING = object()


class Change(NamedTuple):
    """A field whose value differs. A missing value is None."""

    field: str  # its path, such as attributes.plan
    before: Any
    after: Any


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Yield the fields that differ, in the order of their names. Objects are compared member by member."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            old, new = before.get(name, _MISSING), after.get(name, _MISSING)
            if old is not new:  # most values are the same object, of the event
                yield from changes(old, new, f"{path}.{name}" if path else name)
    elif before != after or isinstance(before, bool) is not isinstance(after, bool):
        yield Change(path, *(None if value is _MISSING else value for value in (before, after)))
