"""Which names an update gives: an id and an e-mail address that are one's, a visitor and who they turn out to be.

Identifiers have no timestamps. While an update that gives somebody a name is under way, another one that gives the name
to somebody else, or somebody another name, must not be: `look_up.lua` tells such updates from those that say again what
the last ones said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lanes.records import digest
from mapping.coercion import text_of
from mapping.envelope import JsonObject

# How the partner of a name is remembered: see `partner_after` in look_up.lua.
_TOGETHER, _NAMED, _ALONE, _FIRST_COMES = b"=", b".", b"?", b"1"
_ENOUGH = 3  # bytes of a digest, to tell it from others; too few to tell who it is


def updates_only(body: JsonObject) -> bool:
    """Whether the update makes nobody who is not there."""
    return _attributes(body).get("_update") is True


def given(body: JsonObject, lanes: Collection[bytes]) -> Iterator[bytes]:
    """Yield by twos the digest of a name, and how to remember with which other name it is given.

    Only the names that the event is ordered by: the others are known by nobody, or asked for by everybody.
    """
    person, email, visitor = (digest(key) if key else None for key in _names(body))
    person, email = (name if name in lanes else None for name in (person, email))
    if person and email:
        yield from (person, _TOGETHER + email[:_ENOUGH], email, _TOGETHER + person[:_ENOUGH])
    elif person:
        yield from (person, _NAMED)
    elif email:
        yield from (email, _ALONE)
    if visitor and visitor in lanes and (claimant := person or email):
        yield from (visitor, _FIRST_COMES + claimant[:_ENOUGH])


def _names(body: JsonObject) -> tuple[str | None, str | None, str | None]:
    """Return the ordering keys of the person, of their address, and of the visitor they were."""
    named = _attributes(body) | body.get("identifiers", {})
    person = next((f"{kind}:{text}" for kind in ("cio_id", "id") if (text := text_of(named.get(kind)))), None)
    email, visitor = text_of(named.get("email")), text_of(named.get("anonymous_id"))
    return person, f"email:{email.lower()}" if email else None, f"anonymous_id:{visitor}" if visitor else None


def _attributes(body: JsonObject) -> JsonObject:
    attributes = body.get("attributes")
    return attributes if isinstance(attributes, dict) else {}
