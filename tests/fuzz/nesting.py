"""Events by number: most are plain, some are nested to any depth, refused by Customer.io, or raise in a worker.

The seed and the number of an event determine it. The levels of the nested ones go through all depths in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Literal

# The encoder takes 254 levels, of which a stored event has one around it.
MOST_LEVELS = 253
REFUSED = "property value cannot be longer than 1000 bytes"
ERRORS = (RuntimeError, KeyError, TypeError, RecursionError, MemoryError, OverflowError)

_LONG = "b" * 1001
_TRACK = {"type": "track", "event": "Order Placed", "properties": {"price": 5}}
_IDENTIFY = {"type": "identify", "traits": {"plan": "free"}}
_PAGE = {"type": "page", "name": "Home", "properties": {"url": "https://example.com/"}}
_GROUP = {"type": "group", "groupId": "g1", "traits": {"name": "Acme"}}
_HOLDERS = ("traits", "properties", "context", "integrations")
_MEMBERS = (
    "event", "name", "timestamp", "userId", "anonymousId", "previousId", "groupId", "traits", "properties", "context",
    "extra", "integrations", "receivedAt",
)  # fmt: skip

Fate = Literal["delivered", "refused", "raises", "any"]


@dataclass(frozen=True)
class Sent:
    """An event, what has to become of it, and its levels."""

    event: dict[str, Any]
    fate: Fate
    levels: int = 2

    @property
    def message_id(self) -> str:
        """The message id, which is the event's alone."""
        text: str = self.event["messageId"]
        return text


def event(seed: int, number: int) -> Sent:
    """Return the event with this number. One of four is odd; a plain one may be of the person of an odd one."""
    dice = Random(f"{seed}:{number}")
    if number % 4:
        user = f"odd{number - number % 4}" if dice.random() < 0.1 else f"u{number}"
        plain = dice.choice((_TRACK, _TRACK, _IDENTIFY, _PAGE))
        return Sent(plain | {"userId": user, "messageId": f"m{number}"}, "delivered")
    odd = {"userId": f"odd{number}", "messageId": f"m{number}"}
    match dice.random():
        case shape if shape < 0.05:
            return Sent(odd | _TRACK | {"raise": dice.randrange(len(ERRORS))}, "raises")
        case shape if shape < 0.4:
            return _refused(dice, odd, number)
    return _nested(dice, odd, number)


def _refused(dice: Random, odd: dict[str, Any], number: int) -> Sent:
    """Return an update with an attribute that is too long, and a nested value beside it."""
    depth = 1 + number // 4 % (MOST_LEVELS - 2)
    value, holder = _value(dice, depth), dice.choice(("traits", "context", None))
    traits: dict[str, Any] = {"bio": _LONG}
    if holder == "traits":
        return Sent(odd | {"type": "identify", "traits": traits | {"d": value}}, "refused", depth + 2)
    more = {"context": {"d": value}} if holder else {"extra": value}
    return Sent(odd | {"type": "identify", "traits": traits} | more, "refused", depth + (2 if holder else 1))


def _nested(dice: Random, odd: dict[str, Any], number: int) -> Sent:
    """Return an event with a nested value in any member, also where a text is expected."""
    depth = 1 + number // 4 % (MOST_LEVELS - 2)
    value, base = _value(dice, depth), odd | dice.choice((_TRACK, _IDENTIFY, _PAGE, _GROUP, _IDENTIFY | {"traits": {}}))
    if dice.random() < 0.5:
        holder = dice.choice(_HOLDERS)
        inner = base.get(holder, {})
        return Sent(base | {holder: {**inner, dice.choice(("d", "email", "device")): value}}, "any", depth + 2)
    return Sent(base | {dice.choice(_MEMBERS): value}, "any", max(depth + 1, 2))


def _value(dice: Random, levels: int) -> Any:
    """Return a value of so many levels: objects, arrays or both, alone or among other members."""
    value: Any = dice.choice(({}, []))
    shapes = dice.choice(((0,), (1,), (0, 1), (2,), (3,), (0, 1, 2, 3)))
    for _ in range(levels - 1):
        match dice.choice(shapes):
            case 0:
                value = {"a": value}
            case 1:
                value = [value]
            case 2:
                value = {"before": 1, "a": value, "b": "]}"}
            case _:
                value = ["before", value, 1e300, None]
    return value
