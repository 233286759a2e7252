"""What kind of difference it is, and which kinds docs/compatibility.md explains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

# A class to where in docs/compatibility.md it is explained.
EXPLAINED: dict[str, str] = {}


def class_of(case: Json, theirs: Json, ours: Json) -> str:
    """Return the kind of case, the members of the answer that differ and, for mappings, the directives involved."""
    kind = case["id"].split("-")[0]
    if "raised" in ours:
        return f"{kind}: raises"
    members = [name for name in sorted(theirs.keys() | ours.keys()) if theirs.get(name) != ours.get(name)]
    directives = sorted(set(_directives(case.get("mapping"))))
    return f"{kind}: {' '.join(members)} {' '.join(directives)}".strip()


def _directives(mapping: Any) -> Iterator[str]:
    if isinstance(mapping, dict):
        for key, value in mapping.items():
            if key.startswith("@"):
                yield key
            yield from _directives(value)
    elif isinstance(mapping, list):
        for item in mapping:
            yield from _directives(item)
