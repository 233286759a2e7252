"""The Lua scripts, one file a verb: run by their digest, and sent whole when the server does not know them yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

import redis.asyncio
from redis.client import Pipeline
from redis.exceptions import NoScriptError

from lanes import keys

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Script:
    """A verb's text, and the digest by which the server remembers it."""

    text: str
    sha: str


@cache
def script(verb: str) -> Script:
    """Return the script in `lua/VERB.lua`."""
    text = files("lanes").joinpath("lua", f"{verb}.lua").read_text(encoding="utf-8")
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def run(client: redis.Redis, verb: str, queue: str, arguments: Sequence[Argument]) -> Any:
    """Return the raw reply of the verb on `queue`."""
    wanted, name = script(verb), keys.base(queue)
    try:
        return client.evalsha(wanted.sha, 1, name, *arguments)
    except NoScriptError:
        return client.eval(wanted.text, 1, name, *arguments)


def queue_up(pipeline: Pipeline, verb: str, queue: str, arguments: Sequence[Argument]) -> None:
    """Add the verb on `queue` to a transaction; its raw reply is among those of the transaction."""
    pipeline.eval(script(verb).text, 1, keys.base(queue), *arguments)


async def run_async(client: redis.asyncio.Redis, verb: str, queue: str, arguments: Sequence[Argument]) -> Any:
    """Return the raw reply of the verb on `queue`, for an asyncio client."""
    wanted, name = script(verb), keys.base(queue)
    try:
        return await client.evalsha(wanted.sha, 1, name, *arguments)
    except NoScriptError:
        return await client.eval(wanted.text, 1, name, *arguments)
