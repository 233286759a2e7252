"""JSON values that clients should not send, and JSON text that is made of them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.differential.generator import DATES, IDS, NUMBERS, TEXTS

MEMBERS = (
    "type", "event", "messageId", "userId", "anonymousId", "previousId", "groupId", "name", "properties", "traits",
    "context", "integrations", "timestamp", "originalTimestamp", "sentAt", "receivedAt", "version", "projectId",
    "channel", "writeKey", "batch", "source", "again", "library", "device", "token", "app", "ip", "personas", "email",
    "id", "objectId", "object_type_id", "objectAttributes", "relationshipAttributes", "createdAt", "url", "deliveryId",
    "metric", "recipient", "cio_relationships", "__proto__", "", "$.a", "a.b",
)  # fmt: skip
_RAW = (
    "0e-99999999999999999", "0e-00000000000012345", "-0e-99999999999999999", "1e400", "-1e400", "1e-400", "-0", "00",
    "1.", "NaN", "Infinity", "-Infinity", "12345678901234567890", "9007199254740993", "18446744073709551616", "1e63",
    "100000000000000000000e20", "1" * 64, "1" * 70, "1" * 5000, "0." + "0" * 30, "1.5000000000000000000", "True",
    "nul", "'x'", '"\\ud83d"', '"\\udc00\\ud83d"', '"\\u0000"', '"\\x"', '"a\tb"', "{", "[1,", "}", "",
)  # fmt: skip
_DEPTHS = (200, 255, 500, 990, 1020, 1030, 5000)
_STRINGS = (
    "\x00", "\u2028", "\uffff", "𝕏" * 20, "e\u0301", "\u202eabc", "constructor", "undefined", "null", "[object Object]",
    "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00+14:00", "+275760-09-13T00:00:00.000Z", "2016-12-31T23:59:60Z",
    "3000-01-01T00:00:00.000Z", "/Date(99999999999999999)/", "/Date(-1)/", "1e400", "253402300799999",
    "20240229T120000Z",
    "2024-03-05T10:20:30+02:00[Europe/Paris]", "2024-03-05 10:20:30.5 +0200 CEST m=+0.1", "Mon Jan 01 2024 GMT+99999",
    "cio_" + "f" * 300, "a@b.c" * 60, "x" * 33_000, "{{ userId | append: userId }}", "01HQ000000000000000000000000",
    "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
)  # fmt: skip
_NUMBERS = (
    2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63), 1e308, -1e308, 5e-324, 1764367200, 1764367200000, 1764367200000000,
    1764367200000000000, 253402300799, 253402300799999, -62135596800, -62135596801, 1e14, 1e17, 32503680000000, 1e11,
)  # fmt: skip


class Raw(str):
    """JSON text that no Python value has, such as `1e400` or a thousand brackets."""

    __slots__ = ()


def odd(dice: Random, depth: int = 2) -> Any:
    """Return an unusual value, a plain one in half of the cases."""
    shape = dice.random()
    if shape < 0.5:
        return dice.choice(dice.choice((DATES, IDS, TEXTS, NUMBERS, (None, True, False, [], {}))))
    if shape < 0.8:
        return dice.choice(dice.choice((_STRINGS, _NUMBERS)))
    if shape < 0.9 and depth:
        values = [odd(dice, depth - 1) for _ in range(dice.randint(0, 3))]
        return values if dice.random() < 0.5 else {dice.choice(MEMBERS): value for value in values}
    if shape < 0.97:
        return Raw(dice.choice(_RAW))
    return Raw(nested(dice))


def nested(dice: Random) -> str:
    """Return the JSON of arrays or objects in one another."""
    depth = dice.choice(_DEPTHS)
    opening, closing = dice.choice((("[", "]"), ('{"a":', "}")))
    return opening * depth + dice.choice(("1", '"x"', "{}")) + closing * depth


def mutated(dice: Random, value: Any) -> Any:
    """Return the value with one of its parts changed, removed, wrapped or added."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        name = dice.choice(sorted(value))
        others = {other: part for other, part in value.items() if other != name}
        shape = dice.random()
        if shape < 0.5:
            return value | {name: mutated(dice, value[name])}
        if shape < 0.65:
            return others
        if shape < 0.8:
            return others | {dice.choice(MEMBERS): value[name]}
        return value | {dice.choice(MEMBERS): odd(dice)}
    if isinstance(value, list) and value and dice.random() < 0.8:
        index = dice.randrange(len(value))
        return [*value[:index], mutated(dice, value[index]), *value[index + dice.randrange(2) :]]
    return [value] if dice.random() < 0.1 else odd(dice)


def as_json(dice: Random, value: Any) -> bytes:
    """Return the JSON text of a value, with or without escapes and white space."""
    comma, colon = dice.choice(((",", ":"), (", ", ": "), (" ,\n", "\t: ")))
    is_ascii = dice.random() < 0.5

    def text(part: Any) -> str:
        if isinstance(part, Raw):
            return part
        if isinstance(part, dict):
            members = (f"{text(name)}{colon}{text(member)}" for name, member in part.items())
            return f"{{{comma.join(members)}}}"
        if isinstance(part, list):
            return f"[{comma.join(map(text, part))}]"
        return json.dumps(part, ensure_ascii=is_ascii)

    return text(value).encode()
