"""The audit log of the console: who did what, with which filter, and to how many.

It has no data of people: of a filter by person or by text it says that there was one.
"""

from __future__ import annotations

from typing import Any, Final, cast

import orjson
import redis

from console.web.access import User
from lanes import keys
from lanes.clock import machine_ms

KEPT: Final = 10_000
_PERSONAL: Final = ("person", "text")
# KEYS[1]: the list; ARGV: an entry, how many are kept. A full Redis runs it: else no user could sign in to see why.
_ADD: Final = """#!lua flags=allow-oom
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 1)
"""


def write(client: redis.Redis, user: User, act: str, destination: str | None = None, **facts: Any) -> None:
    """Add an entry. `act` is a verb such as "pause"; `facts` are JSON."""
    entry = {
        "at_ms": machine_ms(),
        "who": user.name,
        "role": user.role,
        "act": act,
        "destination": destination,
        "facts": facts,
    }
    client.eval(_ADD, 1, keys.CONSOLE_AUDIT.name, orjson.dumps(entry), KEPT)


def read(client: redis.Redis, first: int, most: int) -> list[dict[str, Any]]:
    """Return entries, the newest first: `{"at_ms", "who", "role", "act", "destination", "facts"}`."""
    found = cast(list[bytes], client.lrange(keys.CONSOLE_AUDIT.name, first, first + most - 1))
    return [orjson.loads(entry) for entry in found]


def conditions(texts: dict[str, Any]) -> dict[str, Any]:
    """Return the conditions of a filter as they are recorded."""
    return {name: "…" if name in _PERSONAL else value for name, value in texts.items()}
