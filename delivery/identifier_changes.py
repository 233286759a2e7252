"""Which identifiers an update gives a person: an id and an e-mail address that belong together, and the visitor that
the person was.

Identifiers have no timestamps. While an update that gives an identifier to a person is in progress, no other update may
give the same identifier to another person, or another identifier to this one. `register.lua` distinguishes such updates
from those that repeat the identifiers of the last ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lanes.records import digest
from mapping.coercion import text_of
from mapping.envelope import JsonObject

# How the partner of an identifier is remembered: see `partner_after` in register.lua.
_TOGETHER, _NAMED, _ALONE, _FIRST_COMES = b"=", b".", b"?", b"1"
_PARTNER_BYTES = 3  # of a digest: enough to tell partners apart, too few to find out whose they are


def updates_only(body: JsonObject) -> bool:
    """Whether the update has no effect on a person that does not exist (`_update`)."""
    return _attributes(body).get("_update") is True


def partners(body: JsonObject, keys: Collection[bytes]) -> Iterator[bytes]:
    """Yield for each identifier of the update two values: its digest, and how to remember the identifier that is given
    with it, its partner.

    Only identifiers that are among the event's ordering keys (digests) count. The others are ignored keys, which many
    people share.
    """
    person, email, visitor = (digest(key) if key else None for key in identifiers(body))
    person, email = (identifier if identifier in keys else None for identifier in (person, email))
    if person and email:
        yield from (person, _TOGETHER + email[:_PARTNER_BYTES], email, _TOGETHER + person[:_PARTNER_BYTES])
    elif person:
        yield from (person, _NAMED)
    elif email:
        yield from (email, _ALONE)
    if visitor and visitor in keys and (claimant := person or email):
        yield from (visitor, _FIRST_COMES + claimant[:_PARTNER_BYTES])


def identifiers(body: JsonObject) -> tuple[str | None, str | None, str | None]:
    """Return the ordering keys of the person, of their e-mail address, and of the visitor that they were."""
    named = _attributes(body) | body.get("identifiers", {})
    person = next((f"{kind}:{text}" for kind in ("cio_id", "id") if (text := text_of(named.get(kind)))), None)
    email, visitor = text_of(named.get("email")), text_of(named.get("anonymous_id"))
    return person, f"email:{email.lower()}" if email else None, f"anonymous_id:{visitor}" if visitor else None


def _attributes(body: JsonObject) -> JsonObject:
    attributes = body.get("attributes")
    return attributes if isinstance(attributes, dict) else {}
