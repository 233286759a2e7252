"""An ordering key as operators type it: the key, or its digest as the pages of people have it in their addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import lanes
from console.errors import CommandError
from mapping.ordering_keys import IdentifierScheme, key_fault

_DIGEST: Final = re.compile(r"(?:digest:)?([0-9a-f]{16})")


def digest(key: str) -> bytes:
    """Return the digest of a key, or the digest that the text is, with `digest:` in front of it or without."""
    typed = _DIGEST.fullmatch(key)
    return bytes.fromhex(typed[1]) if typed else lanes.digest(key)


def faults(name: str, key: str, schemes: Iterable[IdentifierScheme]) -> list[str | None]:
    """Return for each scheme why no event may have the key, None where one may.

    Raises CommandError: no event may have it with any of them. `name` is the argument that the key was given for.
    """
    found = [None if _DIGEST.fullmatch(key) else key_fault(key, scheme) for scheme in schemes]
    if found and None not in found:
        raise CommandError(f"{name}: {key} {found[0]}")
    return found
