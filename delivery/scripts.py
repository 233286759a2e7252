"""The workers' own Lua scripts, one file each in `lua/`: what all workers of a destination have to agree on at once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import redis
from redis.commands.core import Script


def run(client: redis.Redis, name: str, key: str, *arguments: str | bytes | int | float) -> Any:
    """Return the raw reply of the script in `lua/NAME.lua`."""
    return _script(client, name)(keys=[key], args=list(arguments))


@cache
def _script(client: redis.Redis, name: str) -> Script:
    return client.register_script(files("delivery").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8"))
