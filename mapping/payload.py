"""An event to the payload of an action: mapped, without empty values, coerced and validated.

Compiled once per subscription. Most events have texts for the fields of type text and objects for those of type object.
Their payload is built in one pass over the mapping (quick). `coercion` builds the payload of all other events (full).
Both give the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mapping import javascript
from mapping.actions.action import Field
from mapping.coercion import coerce, without_empty, without_empty_texts
from mapping.directives import compile_mapping, compile_member, compile_root, directive_of, root_of, validate_mapping
from mapping.envelope import JsonObject
from mapping.errors import EngineFault, Rejected
from mapping.javascript import UNDEFINED
from mapping.liquid import at, holds_liquid
from mapping.paths import Resolver, member_of_event

# An event, and the time in Unix seconds, to the payload; raises Rejected.
PayloadOf = Callable[[Any, float], JsonObject]

_QUICK: Final = {"string": str, "object": dict}

# Values with which a field is absent from the payload, unless it is required.
ABSENCES: Final = (UNDEFINED, None, "")

# A field that depends on the event: its key, the member of the event that is its value (None: another one is), its
# value, the type that needs no coercion, the values that are absent.
_Member = tuple[str, str | None, Resolver, type, tuple[Any, ...]]


def compile_payload(fields: tuple[Field, ...], mapping: Any) -> PayloadOf:
    """Return the function from a single event to its payload."""
    full = _compile_full(fields, mapping)
    quick = _quick_members(fields, mapping)
    payload_of = full if quick is None else _compile_quick(*quick, full)
    return _timed(payload_of) if holds_liquid(mapping) else payload_of


def _timed(payload_of: PayloadOf) -> PayloadOf:
    def payload_at(event: Any, now_s: float) -> JsonObject:
        with at(now_s):
            return payload_of(event, now_s)

    return payload_at


def _compile_quick(constants: JsonObject, members: list[_Member], full: PayloadOf) -> PayloadOf:
    def payload_of(event: Any, now_s: float) -> JsonObject:
        if type(event) is not dict:
            return full(event, now_s)
        payload = constants.copy()
        for key, name, resolve, kind, absences in members:
            value = resolve(event) if name is None else event.get(name, UNDEFINED)
            if type(value) is kind and (value or kind is dict):
                payload[key] = value
            elif value not in absences:
                return full(event, now_s)
        context = event.get("context")
        if type(context) is not dict or "personas" in context:
            refuse_null_context(event)
        return payload

    return payload_of


def refuse_null_context(event: Any) -> None:
    """Raise EngineFault for a null context or null personas.

    Quirk of the reference: it looks for an audience in the context of every valid event.
    """
    context = event.get("context", UNDEFINED) if type(event) is dict else UNDEFINED
    if context is None or (type(context) is dict and context.get("personas", UNDEFINED) is None):
        raise EngineFault("the event's context, or its personas, is null")


def compile_batch_payload(fields: tuple[Field, ...], mapping: Any) -> PayloadOf:
    """Return the function from an event of a batch to its payload. The reference keeps empty texts in batches."""
    resolve = compile_root(mapping)

    def payload_of(event: Any, _now_s: float) -> JsonObject:
        return coerce(fields, without_empty(fields, resolve(event)))

    return _timed(payload_of) if holds_liquid(mapping) else payload_of


def _compile_full(fields: tuple[Field, ...], mapping: Any) -> PayloadOf:
    resolve = compile_mapping(mapping)

    def payload_of(event: Any, _now_s: float) -> JsonObject:
        payload = coerce(fields, without_empty_texts(without_empty(fields, resolve(event))))
        refuse_null_context(event)
        return payload

    return payload_of


def _member_of_event(value: Any) -> str | None:
    path = value["@path"] if directive_of(value) == "@path" else None
    return member_of_event(path) if type(path) is str else None


def _quick_members(fields: tuple[Field, ...], mapping: Any) -> tuple[JsonObject, list[_Member]] | None:
    """Return the constant part of the payload and the members to resolve; None when the mapping needs the full way."""
    try:
        root = root_of(mapping)
        validate_mapping(root)
    except Rejected:
        return None
    if type(root) is not dict or directive_of(root) is not None:
        return None
    known = {field.key: field for field in fields}
    constants: JsonObject = {}
    members: list[_Member] = []
    for key in javascript.keys(root):
        value, field = root[key], known.get(key)
        if type(value) is not dict and type(value) is not list:
            constants[key] = value
        elif field is not None and field.type in _QUICK and not field.choices:
            absences = () if field.required else ABSENCES
            members.append((key, _member_of_event(value), compile_member(value), _QUICK[field.type], absences))
        else:
            return None
    unresolved = tuple(
        field for field in fields if field.key in constants or (field.required and field.key not in root)
    )
    try:
        return coerce(unresolved, without_empty_texts(without_empty(unresolved, constants))), members
    except Rejected:
        return None
