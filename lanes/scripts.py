"""The Lua scripts, one file a verb: run by their digest, and sent whole when the server does not know them yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.client import Pipeline
from redis.exceptions import NoScriptError

from lanes.queue import AsyncQueue, Queue

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


def run(queue: Queue, verb: str, arguments: Sequence[Argument]) -> Any:
    """Return the raw reply of the verb on `queue`."""
    wanted = script(verb)
    try:
        return queue.client.evalsha(wanted.sha, 1, queue.base, *arguments)
    except NoScriptError:
        return queue.client.eval(wanted.text, 1, queue.base, *arguments)


def queue_up(pipeline: Pipeline, verb: str, queue: Queue, arguments: Sequence[Argument]) -> None:
    """Add the verb on `queue` to a transaction; its raw reply is among those of the transaction."""
    pipeline.eval(script(verb).text, 1, queue.base, *arguments)


async def run_async(queue: AsyncQueue, verb: str, arguments: Sequence[Argument]) -> Any:
    """Return the raw reply of the verb on `queue`, for an asyncio client."""
    wanted = script(verb)
    try:
        return await queue.client.evalsha(wanted.sha, 1, queue.base, *arguments)
    except NoScriptError:
        return await queue.client.eval(wanted.text, 1, queue.base, *arguments)
