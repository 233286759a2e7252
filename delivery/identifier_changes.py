"""Which identifiers an update gives a person: an id and an e-mail address that belong together, and the visitor that
the person was.

Identifiers have no timestamps. An update that gives an identifier to a person may be in progress. Until it ends, no
other update may give the same identifier to another person, or another identifier to this one. `register.lua`
distinguishes such updates from those that repeat the identifiers of the last ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from lanes.records import digest
from mapping.coercion import text_of
from mapping.envelope import JsonObject
from mapping.ordering_keys import IdentifierScheme

# How the partner of an identifier is remembered: see lua/lib/identifier_changes.lua.
_TOGETHER, _NAMED, _ALONE, _FIRST_COMES = b"=", b".", b"?", b"1"
_KINDS: Final = ("cio_id", "id", "email", "anonymous_id")
_PARTNER_BYTES = 3  # of a digest: enough to tell partners apart, too few to find out whose they are


def updates_only(body: JsonObject) -> bool:
    """Whether the update has no effect on a person that does not exist (`_update`)."""
    return _attributes(body).get("_update") is True


class Identifiers(NamedTuple):
    """The digests of the identifiers that an update gives to one person, None for those that it does not name."""

    person: bytes | None  # by id or cio_id
    email: bytes | None
    visitor: bytes | None


def partners(named: Identifiers, keys: Collection[bytes]) -> Iterator[bytes]:
    """Yield for each identifier of an update two values: its digest, and how to remember the identifier that is given
    with it, its partner.

    Only identifiers that are among the event's ordering keys (digests) count. The others are ignored keys, which many
    people share.
    """
    person = named.person if named.person in keys else None
    email = named.email if named.email in keys else None
    if person and email:
        yield from (person, _TOGETHER + email[:_PARTNER_BYTES], email, _TOGETHER + person[:_PARTNER_BYTES])
    elif person:
        yield from (person, _NAMED)
    elif email:
        yield from (email, _ALONE)
    visitor = named.visitor
    if visitor and visitor in keys and (claimant := person or email):
        yield from (visitor, _FIRST_COMES + claimant[:_PARTNER_BYTES])


def identifiers(body: JsonObject, scheme: IdentifierScheme) -> Identifiers:
    """Return the identifiers that the update gives, by the digests of their ordering keys."""
    attributes, named = _attributes(body), body.get("identifiers", {})
    cio_id, own_id, email, visitor = [text_of(named.get(kind, attributes.get(kind))) for kind in _KINDS]
    if scheme == "id":  # an address is an id
        own_id, email = text_of(named.get("id", named.get("email", attributes.get("id")))), None
    person = f"cio_id:{cio_id}" if cio_id else f"id:{own_id}" if own_id else None
    return Identifiers(
        digest(person) if person else None,
        digest(f"email:{email.lower()}") if email else None,
        digest(f"anonymous_id:{visitor}") if visitor else None,
    )


def _attributes(body: JsonObject) -> JsonObject:
    attributes = body.get("attributes")
    return attributes if isinstance(attributes, dict) else {}
