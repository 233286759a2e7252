"""The ids in an event: which are refused, which keep all their digits, and which are unlikely to identify a person.

The mapping follows JavaScript, where a number is a double: 9007199254740993 becomes 9007199254740992, another person.
A whole number whose digits would change is therefore stored as the text of its digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any, Final

from ingest.errors import Refusal, invalid
from mapping import DELETION
from mapping.envelope import JsonObject
from mapping.javascript import number_text
from mapping.ordering_keys import IdentifierScheme, person_key

_MEMBERS: Final = ("userId", "anonymousId", "previousId", "groupId")

_EXACT: Final = (*_MEMBERS, "messageId")  # two events whose ids are rounded to one would be taken for repetitions
_OBJECT_EVENTS: Final = frozenset(("Object Deleted", "Relationship Deleted"))  # `properties` has the id of the object
_SMALLEST_INEXACT: Final = 2**53
_NUMBERS: Final = frozenset((int, float))

_ALIAS: Final = "an alias needs both userId and previousId"
# The ids that an event of a type must have, and what the refusal says of them. Other events need a person only.
_REQUIRED: Final = {
    "alias": (("userId", _ALIAS), ("previousId", _ALIAS)),
    DELETION: (("userId", "a deletion request needs a userId"),),
    "group": (("groupId", "a group call needs a groupId"),),
}

# What a program writes in place of an id that it does not have. PostHog refuses the first three lines
# (PostHog/posthog, nodejs/src/common/persons/person-utils.ts); case, quotes and white space around are ignored.
_UNLIKELY: Final = frozenset(
    (
        *("", "anonymous", "guest", "distinctid", "distinct_id", "id", "not_authenticated", "email"),
        *("undefined", "true", "false"),
        *("[object object]", "nan", "none", "null", "0"),
        *("-1", "nil", "<nil>", "<null>", "(null)", "[object undefined]", "[object null]", "unknown", "n/a"),
        *("userid", "user_id", "anonymousid", "anonymous_id"),
        *("00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000"),
    )
)
_ZEROS: Final = "00000000"
_AROUND: Final = " \t\r\n\v\f\u00a0\ufeff'\"`"
# With what these texts end, so that the last character of most ids tells that they are none.
_LAST: Final = frozenset((*_AROUND, *(case(word[-1]) for word in _UNLIKELY if word for case in (str.lower, str.upper))))


def check(event: JsonObject, kind: str) -> bool:
    """Check the ids, and replace each number that JavaScript would round by the text of its digits.

    An empty value of another type, such as `false`, is no id, and is removed. Return whether one of them may be
    unlikely to identify a person or a group. Raises Refusal (400) for an id that is neither a text nor a finite number,
    and for a missing one.
    """
    may_be_unlikely = False
    for name in _EXACT:
        if name not in event:
            continue
        value = event[name]
        if type(value) is not str:
            if value or type(value) in _NUMBERS:
                event[name] = _checked(name, value)
                may_be_unlikely = True
            elif value is not None:
                del event[name]
        elif value and value[-1] in _LAST:
            may_be_unlikely = True
    if kind in _REQUIRED:
        _check_required(event, kind)
    elif not event.get("userId"):
        _check_person(event)
    return may_be_unlikely


def keep_digits(event: JsonObject, kind: str) -> None:
    """Do the same for the ids inside other members: those of people and objects in traits, of objects in properties."""
    names: tuple[str, ...]
    if kind == "identify":
        member, names = "traits", ("id", "objectId")
    elif kind == "track" and event["event"] in _OBJECT_EVENTS:
        member, names = "properties", ("objectId",)
    else:
        return
    values = event.get(member)
    if type(values) is dict:
        rounded = [name for name in names if type(values.get(name)) is int and _is_rounded(values[name])]
        if rounded:
            event[member] = values | {name: str(values[name]) for name in rounded}


def unlikely(event: JsonObject) -> str | None:
    """Return the name of the first member whose id is unlikely to identify a person or a group; None without one."""
    for name in _MEMBERS:
        if name not in event:
            continue
        value = event[name]
        text = value if type(value) is str else "" if value is None else number_text(value)
        # Most ids are long, and of the long ones only the UUID of zeros is unlikely.
        if text and (len(text) < 32 or _ZEROS in text) and text.strip(_AROUND).lower() in _UNLIKELY:
            return name
    return None


def id_text(value: Any) -> str:
    """Return an id, a text or a number, as the text that Customer.io gets."""
    return value if type(value) is str else number_text(value)


def names_one_person(alias: JsonObject, schemes: Iterable[IdentifierScheme]) -> bool:
    """Whether both ids of an alias are the same person: analytics.js writes such an alias of an identified person.

    `schemes`: what identifies people at the destinations.
    """
    user_id, previous_id = id_text(alias["userId"]), id_text(alias["previousId"])
    return all(person_key(user_id, scheme) == person_key(previous_id, scheme) for scheme in schemes)


def _check_required(event: JsonObject, kind: str) -> None:
    if kind == "group":
        _check_person(event)
    for name, need in _REQUIRED[kind]:
        if _is_missing(event, name):
            raise Refusal(400, f"{name}: is missing; {need}", name)


def _check_person(event: JsonObject) -> None:
    if _is_missing(event, "userId") and _is_missing(event, "anonymousId"):
        raise Refusal(400, "userId: is missing; an event needs a userId or an anonymousId", "userId")


def _is_missing(event: JsonObject, name: str) -> bool:
    value = event.get(name)
    return value is None or value == ""


def _checked(name: str, value: Any) -> str | int | float:
    if type(value) is int:
        return str(value) if _is_rounded(value) else value
    if type(value) is float and isfinite(value):
        return value
    raise invalid(name, "a string or a number", value)


def _is_rounded(number: int) -> bool:
    return abs(number) >= _SMALLEST_INEXACT and number_text(number) != str(number)
