"""Classes of differences, and those that docs/compatibility.md explains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mapping.directives import ROOT_DIRECTIVE
from mapping.javascript import length

Json = dict[str, Any]

# The classes that docs/compatibility.md explains, by their names there.
EXPLAINED = frozenset({"half a character"})


def class_of(case: Json, theirs: Json, ours: Json) -> str:
    """Return the class of a difference: the kind of case, the members that differ and, for mappings, the directives."""
    kind = case["id"].split("-")[0]
    if "raised" in ours:
        return f"{kind}: raises"
    directives = sorted(set(_directives(case.get("mapping"))))
    if _has_half_a_character(theirs) or _has_text_for_a_root(case.get("mapping")):
        return "half a character"
    if "@merge" in directives and any(character > "\uffff" for character in json.dumps(case, ensure_ascii=False)):
        return "half a character"  # whose halves the other text has overwritten
    members = [name for name in sorted(theirs.keys() | ours.keys()) if theirs.get(name) != ours.get(name)]
    return f"{kind}: {' '.join(members)} {' '.join(directives)}".strip()


def _has_half_a_character(result: Json) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in json.dumps(result, ensure_ascii=False))


def _has_text_for_a_root(mapping: Any) -> bool:
    """Whether the root directive is a text beyond the basic plane, whose halves the reference treats as members."""
    root = mapping.get(ROOT_DIRECTIVE) if isinstance(mapping, dict) else None
    return isinstance(root, str) and length(root) != len(root)


def _directives(mapping: Any) -> Iterator[str]:
    if isinstance(mapping, dict):
        for key, value in mapping.items():
            if key.startswith("@"):
                yield key
            yield from _directives(value)
    elif isinstance(mapping, list):
        for item in mapping:
            yield from _directives(item)
