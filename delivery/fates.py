"""The fates of the events that a worker finishes, as `lanes.fates` names them."""

from __future__ import annotations

from typing import Final

from lanes import fates
from mapping import Translation
from mapping.envelope import readable_source

MERGED_ALREADY: Final = "merged already"
_WITH_ITEMS: Final = frozenset({"sent", "shadowed"})


def mapped(source: str, translation: Translation) -> str:
    """Return the fate of an event whose operations are delivered, or that has none."""
    if translation.operations:
        return fates.name("sent", source)
    if translation.filtered is not None:
        return fates.name("filtered", source, translation.filtered)
    return fates.name("unmatched", source, ", ".join(translation.not_applicable))


def shadowed(source: str, reason: str = "") -> str:
    """Return the fate of a shadow event with operations. `reason`: why it would become a dead letter, if it would."""
    return fates.name("shadowed", source, reason)


def has_items(counted_as: str) -> bool:
    """Whether this is the name of the fate of an event whose operations all count as delivered."""
    return fates.parts(counted_as)[0] in _WITH_ITEMS


def nothing_left(source: str, *, late: bool) -> str:
    """Return the fate of an event none of whose operations is left. It is older than the deletion of its person, or the
    people that it merges are the same already.
    """
    return fates.name("dropped", source, "late for a deleted person" if late else MERGED_ALREADY)


def buried(body: bytes, reason: str) -> str:
    """Return the fate of an event that becomes a dead letter. A body that cannot be read names no source."""
    return fates.name("dead", readable_source(body), reason)
