"""Ordering keys: `id:42`, `email:jo@example.com`, `cio_id:af12`, `anonymous_id:x1`, `object:TYPE:ID`, `device:TOKEN`.

An identity has the same key in every member of every event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from mapping.actions.action import Field
from mapping.coercion import text_of
from mapping.directives import ROOT_DIRECTIVE, compile_mapping, compile_member
from mapping.envelope import JsonObject
from mapping.identifiers import CIO_PREFIX, DEFAULT_OBJECT_TYPE, is_email
from mapping.javascript import UNDEFINED
from mapping.liquid import at, holds_liquid
from mapping.paths import Resolver
from mapping.timestamps import attribute_seconds

IdentifierScheme = Literal["email_or_id", "id"]

# An event to a key, None if it has no such identity; raises what the mapping raises.
Identity = Callable[[Any, IdentifierScheme], str | None]

# The mappings of members that `own_keys` reads from every event.
_OWN_MEMBERS: Final = ({"@path": "$.userId"}, {"@path": "$.previousId"}, {"@path": "$.anonymousId"})


def person_key(text: str, scheme: IdentifierScheme) -> str:
    """Return the key of a person's id. E-mail addresses in it are lower-cased where e-mail is an identifier."""
    if CIO_PREFIX in text and text.startswith(CIO_PREFIX):
        return f"cio_id:{text[len(CIO_PREFIX) :]}"
    if "@" in text and scheme == "email_or_id" and is_email(text):
        return f"email:{text.lower()}"
    return f"id:{text}"


def email_key(text: str, scheme: IdentifierScheme) -> str | None:
    """Return the key of an e-mail trait; None where e-mail is not an identifier."""
    return f"email:{text.lower()}" if scheme == "email_or_id" else None


def anonymous_key(text: str, _scheme: IdentifierScheme) -> str:
    """Return the key of an anonymous id."""
    return f"anonymous_id:{text}"


def device_key(text: str, _scheme: IdentifierScheme) -> str:
    """Return the key of a device token."""
    return f"device:{text}"


_KINDS: Final = ("id", "email", "cio_id", "anonymous_id", "object", "device")


def key_fault(key: str, scheme: IdentifierScheme) -> str | None:
    """Return why no event has this ordering key, None when an event may have it."""
    kind, _, value = key.partition(":")
    if kind not in _KINDS:
        return f"is no ordering key; it must begin with one of {', '.join(f'{each}:' for each in _KINDS)}"
    if not value or value != value.strip():
        return f"has no value after {kind}:" if not value.strip() else "begins or ends with a space"
    if kind == "email" and scheme == "id":
        return 'is no ordering key with identifiers = "id"'
    if kind == "email" and value != value.lower():
        return f"must be in lower case, {kind}:{value.lower()}"
    if kind == "object" and ":" not in value:
        return f"must have a type and an id, such as object:{DEFAULT_OBJECT_TYPE}:{value}"
    return None


_KEYS: Final = {"person": person_key, "email": email_key, "anonymous": anonymous_key, "device": device_key}


def own_keys(event: JsonObject, scheme: IdentifierScheme) -> list[str]:
    """Return the distinct keys, in order, of the members that name a person in every event, whatever its mappings."""
    keys: list[str] = []
    if "userId" in event and (user_id := text_of(event["userId"])):
        keys.append(person_key(user_id, scheme))
    if "previousId" in event and (previous_id := text_of(event["previousId"])):
        add_key(keys, person_key(previous_id, scheme))
    if "anonymousId" in event and (anonymous_id := text_of(event["anonymousId"])):
        keys.append(f"anonymous_id:{anonymous_id}")
    if "traits" in event and event.get("type") == "identify" and type(traits := event["traits"]) is dict:
        email = text_of(traits.get("email"))
        if email:
            add_key(keys, email_key(email, scheme))
        new_id = text_of(traits.get("id"))
        if new_id:
            add_key(keys, f"id:{new_id}")
    return keys


def add_key(keys: list[str], key: str | None) -> None:
    """Add a key to the distinct keys of an event, if there is one."""
    if key is not None and key not in keys:
        keys.append(key)


def compile_identities(fields: tuple[Field, ...], mapping: Any) -> tuple[Identity, ...]:
    """Return the keys that the mapping of identifying fields resolves to, except those that `own_keys` returns."""
    if not isinstance(mapping, Mapping):
        return ()
    has_root = ROOT_DIRECTIVE in mapping  # it may give each field the value of any member
    resolvers = _resolvers(mapping, [field.key for field in fields if field.names])
    identities = [
        _identity(_KEYS[field.names], resolvers[field.key])
        for field in fields
        if field.names in _KEYS and field.key in resolvers and (has_root or mapping[field.key] not in _OWN_MEMBERS)
    ]
    named = {field.names: resolvers[field.key] for field in fields if field.key in resolvers}
    if "object" in named:
        identities.append(_object(named["object"], named.get("object type", compile_member(UNDEFINED))))
    return tuple(identities)


def _resolvers(mapping: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Resolver]:
    """Return the resolvers of these fields, by key. Fields that the mapping does not have are left out."""
    if ROOT_DIRECTIVE not in mapping:
        return {key: _at_reception(compile_member(mapping[key]), mapping[key]) for key in keys if key in mapping}
    resolve = _at_reception(compile_mapping(mapping), mapping)
    return {key: _member(resolve, key) for key in keys}


def _member(resolve: Resolver, key: str) -> Resolver:
    def member(event: Any) -> Any:
        resolved = resolve(event)
        return resolved.get(key, UNDEFINED) if type(resolved) is dict else UNDEFINED

    return member


def received_at_s(event: JsonObject) -> float:
    """Return the `receivedAt` of the event in Unix seconds; 0 without one.

    Templates in identifying fields are rendered at this time, so that the keys of an event never change.
    """
    received_at = event.get("receivedAt")
    return (type(received_at) is str and attribute_seconds(received_at)) or 0.0


def _at_reception(resolve: Resolver, mapping: Any) -> Resolver:
    """Return the resolver with the templates of the mapping rendered at the time of receipt."""
    if not holds_liquid(mapping):
        return resolve

    def resolve_at_reception(event: Any) -> Any:
        with at(received_at_s(event)):
            return resolve(event)

    return resolve_at_reception


def _identity(key: Callable[[str, IdentifierScheme], str | None], resolve: Resolver) -> Identity:
    def identity(event: Any, scheme: IdentifierScheme) -> str | None:
        text = text_of(resolve(event))
        return key(text, scheme) if text else None

    return identity


def _object(resolve_id: Resolver, resolve_type: Resolver) -> Identity:
    def identity(event: Any, _scheme: IdentifierScheme) -> str | None:
        object_id = text_of(resolve_id(event))
        return f"object:{text_of(resolve_type(event)) or DEFAULT_OBJECT_TYPE}:{object_id}" if object_id else None

    return identity
