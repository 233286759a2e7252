"""The Lua scripts: composed when they are loaded, run by their digest, sent whole when the server does not know them.

A script is one file, `lua/VERB.lua`. A line `-- uses clock, bulk` in its head puts these pieces in front, in order; a
head may have several such lines. A piece is a file in `lua/lib` of the package of the script, else in that of `lanes`.
What only one script needs is in a folder there, `VERB/PIECE`. A line `-- allow-oom` lets the script run when Redis has
reached `maxmemory`: it is for scripts without which nothing leaves the queue.

A piece becomes a function that is called at once. Its local variables are its own, except those that are named behind
it: these are local variables of the script. A function of a piece that nothing names is left out, since Redis would
create it in each call. Where such a line is indented, in a block of the script, its pieces are put there. A call that
does not enter the block does not pay for them.

In front of the pieces the loader writes what every script has: the base name of the queue and the string functions. It
also writes each key of `lanes.keys` that the script or a piece of it names. All that follows is one function, which
makes a script cheaper: see `_closed`. The loader replaces the names of numbers by the numbers. `delivery` and `workers`
load their scripts by the same code. docs/internals/lua.md explains how to write a script.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple, NoReturn

import redis
from redis.client import Pipeline
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError, TimeoutError

from lanes import keys
from lanes.queue import AsyncQueue, Queue

Argument = str | bytes | int | float

_PRELUDE = """\
local base, call, ARGV = KEYS[1], redis.call, ARGV
local sub, byte, char, find, format = string.sub, string.byte, string.char, string.find, string.format
"""
_ALLOW_OOM = re.compile(r"^-- allow-oom$", re.MULTILINE)
_USES = re.compile(r"^-- uses ([\w/, ]+)$", re.MULTILINE)
_USES_IN_BLOCK = re.compile(r"^( +)-- uses ([\w/, ]+)\n", re.MULTILINE)
_COMMENT, _NAME = re.compile(r"--.*"), re.compile(r"\b[A-Z][A-Z_]+\b")
_FUNCTION = re.compile(r"^local function (\w+)\(.*?^end\n", re.MULTILINE | re.DOTALL)
_WORD, _LOCALS = re.compile(r"\w+"), re.compile(r"^local (?:function )?(\w+(?:, \w+)*)", re.MULTILINE)
_LINE = re.compile(r"(?:user_script|\[string \"<python>\"\]):(\d+)")
# States of the server, not faults of a script. The client has no exception of its own for these.
_SERVER_STATES = ("BUSY ", "MISCONF ", "UNKILLABLE ")
# A replica is asked what its disk has at the beginning of each WAITAOF, and otherwise says so once a second. Its answer
# to the first question comes before its write.
_ASKED_AFTER_MS = (2, 5, 10, 20, 50, 100)
_QUEUE = re.compile(r"\{(.+?)\}")


class ScriptError(ResponseError):
    """A script failed. It names the verb, the queue and, where known, the line of the script's file.

    Nothing was written, unless a key of the queue has a wrong type: scripts read and decide before they write.
    """


class NoReplicas(ReadOnlyError):
    """The server takes no writes, because too few replicas follow it. After a failover that is the old primary."""


class NotReplicated(TimeoutError):
    """What a script wrote is not yet on the disks of the primary and of a replica. It may get there."""


class Part(NamedTuple):
    """Lines of a script's text, and where its file has them."""

    file: str
    text: str
    first_line: int = 1

    @property
    def length(self) -> int:
        """The number of lines."""
        return self.text.count("\n")


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it is sent, and the digest by which the server remembers it."""

    verb: str
    text: str
    sha: str
    parts: tuple[Part, ...]  # in the order of the text
    names: frozenset[str]  # of the keys and numbers of `lanes.keys` in it

    def position(self, line: int) -> str:
        """Return FILE:LINE for a line of the text."""
        for part in self.parts:
            if line <= part.length:
                return f"{part.file}:{part.first_line + line - 1}"
            line -= part.length
        return f"{self.verb}.lua"


@cache
def load(package: str, verb: str) -> Script:
    """Return the script in the folder `lua` of a package, with the pieces that it uses."""
    body = files(package).joinpath("lua", f"{verb}.lua").read_text(encoding="utf-8")
    head = [name for line in _USES.findall(body) for name in line.split(", ")]
    in_blocks = _in_blocks(package, body)
    pieces = _pieces(package, head, in_blocks + body)
    always = _names("".join(pieces.values()) + body)
    parts = [*_closed_pieces(pieces, in_blocks + body, always), *_body(package, verb, body, always)]
    parts = [part._replace(text=_NAME.sub(_literal, part.text)) for part in parts]
    flags = "#!lua flags=allow-oom\n" if _ALLOW_OOM.search(body) else ""
    parts.insert(0, Part("prelude", flags + _PRELUDE + "".join(_definitions(always)) + "return (function()\n"))
    text = "".join(part.text for part in parts) + "end)()\n"
    sha = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(verb, text, sha, tuple(parts), frozenset([*always, *_names(in_blocks)]))


def _body(package: str, verb: str, body: str, defined: Collection[str]) -> Iterator[Part]:
    """Yield the script itself, with the pieces that its blocks use where these begin."""
    start = 0
    for block in _USES_IN_BLOCK.finditer(body):
        yield Part(f"{verb}.lua", body[start : block.end()], body.count("\n", 0, start) + 1)
        start = block.end()
        inside = re.split(rf"^ {{0,{len(block[1]) - 1}}}\S", body[start:], maxsplit=1, flags=re.MULTILINE)[0]
        behind = _in_blocks(package, inside) + inside
        yield from _closed_pieces(_pieces(package, block[2].split(", "), behind), behind, defined)
    yield Part(f"{verb}.lua", body[start:], body.count("\n", 0, start) + 1)


def _in_blocks(package: str, text: str) -> str:
    """Return the pieces that blocks of a text use."""
    return "".join(_piece(package, name) for block in _USES_IN_BLOCK.finditer(text) for name in block[2].split(", "))


def _pieces(package: str, names: Sequence[str], behind: str) -> dict[str, str]:
    """Return the texts of these pieces by name. `behind`: the text that they are put before."""
    texts = dict.fromkeys(names, "")
    for name in reversed(names):
        texts[name] = _needed(_piece(package, name), behind)
        behind = texts[name] + behind
    return texts


def _needed(piece: str, behind: str) -> str:
    """Return a piece with empty lines in place of its functions that nothing names."""
    for function in reversed(list(_FUNCTION.finditer(piece))):
        if function[1] not in _words(piece[function.end() :] + behind):
            piece = piece[: function.start()] + "\n" * function[0].count("\n") + piece[function.end() :]
    return piece


def _closed_pieces(pieces: Mapping[str, str], behind: str, defined: Collection[str]) -> list[Part]:
    """Return these pieces, each with the keys that are not defined yet. `behind`: the text that they are put before."""
    texts, parts = list(pieces.values()), list[Part]()
    for at, (name, text) in enumerate(pieces.items(), start=1):
        own_keys = "".join(_definitions(key for key in _names(text) if key not in defined)).replace("\n", " ")
        parts.append(Part(f"lib/{name}.lua", _closed(own_keys + text, "".join(texts[at:]) + behind)))
    return parts


def _words(text: str) -> set[str]:
    """Return the words of a text without its comments."""
    return set(_WORD.findall(_COMMENT.sub("", text)))


def _names(text: str) -> dict[str, None]:
    """Return the names in capitals, in the order of their first use."""
    return dict.fromkeys(_NAME.findall(_COMMENT.sub("", text)))


def _piece(package: str, name: str) -> str:
    """Return the text of a piece: the package's own one, else that of the lanes."""
    own, shared = (files(owner).joinpath("lua", "lib", f"{name}.lua") for owner in (package, "lanes"))
    return (own if own.is_file() else shared).read_text(encoding="utf-8")


def _closed(text: str, behind: str) -> str:
    """Return a piece as a function that is called at once and returns those of its variables that `behind` names.

    So it captures each variable of the script once. Otherwise each function of the piece does so at each call of the
    script: an append of one event takes Redis 6 % more instructions then.
    """
    words = _words(behind)
    names = ", ".join(name for found in _LOCALS.findall(text) for name in found.split(", ") if name in words)
    return f"local {names} = (function() {text}return {names} end)()\n" if names else text


def _literal(name: re.Match[str]) -> str:
    """Return the number of `lanes.keys` that has this name, else the name."""
    return str(keys.NUMBERS.get(name[0], name[0]))


def _definitions(names: Iterable[str]) -> Iterator[str]:
    """Yield a line of Lua for each key of `lanes.keys` among the names."""
    for name in names:
        if name in keys.KEYS:
            yield f"local {name} = base .. '{keys.KEYS[name].prefix}'\n"


def run(queue: Queue, verb: str, arguments: Sequence[Argument]) -> Any:
    """Return the raw reply of the verb on `queue`; raise ScriptError when the script fails."""
    return run_script(queue.client, load("lanes", verb), queue.base, arguments)


def run_script(client: redis.Redis, script: Script, key: str, arguments: Sequence[Argument]) -> Any:
    """Return the raw reply of a script on one key; raise ScriptError when it fails."""
    try:
        try:
            return client.evalsha(script.sha, 1, key, *arguments)
        except NoScriptError:
            return client.eval(script.text, 1, key, *arguments)
    except ResponseError as error:
        raise_named(error, script.verb, key, script)


def queue_up(pipeline: Pipeline, verb: str, queue: Queue, arguments: Sequence[Argument]) -> None:
    """Add the verb on `queue` to a transaction; its raw reply is among those of the transaction."""
    pipeline.eval(load("lanes", verb).text, 1, queue.base, *arguments)


async def run_async(queue: AsyncQueue, verb: str, arguments: Sequence[Argument]) -> Any:
    """Return the raw reply of the verb on `queue`, for an asyncio client; raise ScriptError when the script fails."""
    script = load("lanes", verb)
    try:
        try:
            return await queue.client.evalsha(script.sha, 1, queue.base, *arguments)
        except NoScriptError:
            return await queue.client.eval(script.text, 1, queue.base, *arguments)
    except ResponseError as error:
        raise_named(error, verb, queue.base, script)


async def run_replicated(queue: AsyncQueue, verb: str, arguments: Sequence[Argument], patience_ms: int) -> Any:
    """Do what `run_async` does, and wait until the writes are on the disks of the primary and of a replica.

    Raises NotReplicated after `patience_ms`.
    """
    script = load("lanes", verb)
    reply: Any = None
    disks: Any = None
    for command, text in (("EVALSHA", script.sha), ("EVAL", script.text)):
        async with queue.client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command(command, text, 1, queue.base, *arguments)
            for wait_ms in (*_ASKED_AFTER_MS, patience_ms):
                pipeline.execute_command("WAITAOF", 1, 1, wait_ms)  # for the writes of this connection
            reply, *_, disks = await pipeline.execute(raise_on_error=False)
        if not isinstance(reply, NoScriptError):
            break
    if isinstance(reply, ResponseError):
        raise_named(reply, verb, queue.base, script)
    if isinstance(disks, Exception):
        raise disks
    if min(disks) < 1:
        raise NotReplicated(f"the append to {queue.name} is not on the disk of a replica")
    return reply


def raise_named(error: ResponseError, verb: str, key: str, script: Script | None = None) -> NoReturn:
    """Raise ScriptError in place of the reply to a script that failed; what the server itself refuses is raised as it
    is.
    """
    text = str(error)
    if text.startswith("NOREPLICAS "):
        raise NoReplicas(text) from error
    if type(error) is not ResponseError or text.startswith(_SERVER_STATES):
        raise error
    line, queue = _LINE.search(text), _QUEUE.search(key)
    position = f"{script.position(int(line[1]))}: " if script and line else ""
    raise ScriptError(f"{verb} on queue {queue[1] if queue else key}: {position}{text}") from error
