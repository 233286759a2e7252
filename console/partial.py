"""Partial comparison of JSON: what is named must be equal, what is not named may be anything.

Members of an object are named one by one. A list is compared with all of its elements. `{"@absent": true}` names a
member that must not be there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from mapping.envelope import encoded

ABSENT: Final = {"@absent": True}


class _Missing:
    """The type of MISSING."""


MISSING: Final = _Missing()


class Difference(NamedTuple):
    """A field that is not as expected; `found` is MISSING when it is not there."""

    field: str  # its path, such as requests[0].body
    expected: Any
    found: Any

    def __str__(self) -> str:
        expected = "no value" if self.expected in (MISSING, ABSENT) else _text(self.expected)
        found = "missing" if self.found is MISSING else _text(self.found)
        return f"{self.field}: expected {expected}, is {found}"


def differences(expected: Any, found: Any, field: str = "") -> Iterator[Difference]:
    """Yield where the JSON that was found is not as expected."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected != ABSENT:
        for name, value in expected.items():
            inner = f"{field}.{name}" if field else name
            if name in found:
                yield from differences(value, found[name], inner)
            elif value != ABSENT:
                yield Difference(inner, value, MISSING)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (value, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(value, other, f"{field}[{index}]")
    elif not _are_equal(expected, found):
        yield Difference(field, expected, found)


def updated(expected: Any, found: Any) -> Any:
    """Return what is expected with the values that were found. Only what was named is named."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected != ABSENT:
        return {
            name: updated(value, found[name]) if name in found else value
            for name, value in expected.items()
            if name in found or value == ABSENT
        }
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [updated(value, other) for value, other in zip(expected, found, strict=True)]
    return expected if _are_equal(expected, found) else found


def _are_equal(expected: Any, found: Any) -> bool:
    return bool(expected == found) and type(expected) is type(found)


def _text(value: Any) -> str:
    return encoded(value).decode()
