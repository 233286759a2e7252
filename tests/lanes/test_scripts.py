"""How the scripts are composed, what a failing one says, and that each of them does all or nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from threading import Thread
from typing import Any

import fakeredis
import pytest
import redis
import redis.exceptions

import delivery
import lanes
from lanes import keys, scripts
from tests.lanes.driving import COOLDOWN_MS, QUEUE, append, bury, claim, event, expire, queue_of, sequences

FILES = [
    file for package in (lanes, delivery) for file in sorted(Path(package.__file__ or "").parent.glob("lua/**/*.lua"))
]
VERBS = [file for file in FILES if file.parent.name == "lua"]
PIECES = {
    f"{folder}{file.stem}": file
    for file in FILES
    if file not in VERBS
    for folder in ["" if file.parent.name == "lib" else f"{file.parent.name}/"]
}


def test_a_script_begins_with_the_pieces_and_the_names_that_it_uses() -> None:
    text = scripts.load("lanes", "extend").text

    assert text.startswith("#!lua flags=allow-oom\nlocal base, call, ARGV = KEYS[1], redis.call, ARGV\n")
    assert "local CLAIMS = base .. ':claims'\n" in text
    assert "local now = " in text
    assert "READY" not in text


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package with scripts, a piece of its own, and one of a name that the lanes have too."""
    folder = tmp_path / tmp_path.name
    (folder / "lua" / "lib").mkdir(parents=True)
    (folder / "__init__.py").touch()
    unused = "local function unused()\n  fail()\nend\n"
    (folder / "lua" / "lib" / "own.lua").write_text(f"{unused}local function fail()\n  call('NO', 1)\nend\n{unused}")
    (folder / "lua" / "lib" / "rank.lua").write_text("local rank = 'own'\n")
    (folder / "lua" / "inside.lua").write_text("-- uses clock, rank, own\n\nfail()\n")
    (folder / "lua" / "behind.lua").write_text("-- uses own, clock\n\ncall('NO', 1)\n")
    (folder / "lua" / "lib" / "late.lua").write_text("-- Reads.\nlocal function read()\n  call('GET', READY, 1)\nend\n")
    in_a_block = "if ARGV[1] == 'piece' then\n  -- uses late\n  read()\nelseif ARGV[1] then\n  call('NO')\nend\n"
    (folder / "lua" / "block.lua").write_text(f"-- Has a block.\n{in_a_block}return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_a_piece_is_that_of_the_package_else_that_of_the_lanes(package: str) -> None:
    script = scripts.load(package, "inside")

    pieces = ["lib/clock.lua", "lib/rank.lua", "lib/own.lua"]
    assert [part.file for part in script.parts] == ["prelude", *pieces, "inside.lua"]
    assert "local now = " in script.text
    assert "local rank = 'own'\n" in script.text
    assert "rank_keys" not in script.text


@pytest.mark.parametrize(("verb", "position"), [("inside", "lib/own.lua:5"), ("behind", "behind.lua:3")])
def test_an_error_has_its_line_in_the_file_of_the_package(
    redis_client: redis.Redis, package: str, verb: str, position: str
) -> None:
    script = scripts.load(package, verb)

    with pytest.raises(lanes.ScriptError, match=rf"^{verb} on queue {QUEUE}: {position}: "):
        scripts.run_script(redis_client, script, queue_of(redis_client).base, [])


def test_the_pieces_of_a_block_and_their_keys_are_defined_there(redis_client: redis.Redis, package: str) -> None:
    script = scripts.load(package, "block")

    assert [part.file for part in script.parts] == ["prelude", "block.lua", "lib/late.lua", "block.lua"]
    assert "READY" not in script.parts[0].text
    assert "local READY = " in script.parts[2].text
    assert scripts.run_script(redis_client, script, queue_of(redis_client).base, []) == 1


@pytest.mark.parametrize(("argument", "position"), [("piece", "lib/late.lua:3"), ("other", "block.lua:6")])
def test_an_error_has_its_line_in_a_script_with_a_block(
    redis_client: redis.Redis, package: str, argument: str, position: str
) -> None:
    script = scripts.load(package, "block")

    with pytest.raises(lanes.ScriptError, match=rf": {position}: "):
        scripts.run_script(redis_client, script, queue_of(redis_client).base, [argument])


def test_a_function_that_nothing_names_is_left_out(package: str) -> None:
    assert "function fail()" in scripts.load(package, "inside").text
    assert "function unused()" not in scripts.load(package, "inside").text
    assert "function fail()" not in scripts.load(package, "behind").text


@pytest.mark.parametrize("piece", PIECES)
def test_each_function_of_a_piece_is_in_a_script(piece: str) -> None:
    functions = set(re.findall(r"^local function (\w+)", PIECES[piece].read_text(), re.MULTILINE))

    texts = (scripts.load(verb.parts[-3], verb.stem).text for verb in VERBS)
    assert functions <= {name for text in texts for name in re.findall(r"local function (\w+)", text)}


def test_a_piece_has_one_name_in_all_packages() -> None:
    """An error names a piece without its package."""
    assert len(PIECES) == len(FILES) - len(VERBS)


@pytest.mark.parametrize("piece", PIECES)
def test_a_piece_comes_after_those_that_its_head_names(piece: str) -> None:
    lines = takewhile(lambda line: line.startswith("--"), PIECES[piece].read_text().splitlines())
    head = " ".join(line.removeprefix("--").strip() for line in lines)
    used = re.search(r"\bUses ([\w/, ]+)\.", head)
    assert used or "Uses" not in head
    needed = {f"lib/{name}.lua" for name in re.split(r", | and ", used[1])} if used else set()

    before: set[str] = set()
    for verb in VERBS:
        files = [part.file for part in scripts.load(verb.parts[-3], verb.stem).parts]
        if f"lib/{piece}.lua" in files:
            before = set(files[: files.index(f"lib/{piece}.lua")])
            assert needed <= before, verb
    assert before, "no script uses the piece"


def test_the_documentation_lists_every_piece() -> None:
    page = Path(lanes.__file__ or "").parents[1] / "docs" / "internals" / "lua.md"

    assert set(PIECES) == set(re.findall(r"^\| `([\w/]+)` \|", page.read_text(), re.MULTILINE))


@pytest.mark.parametrize("file", VERBS, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_every_name_of_a_script_is_known(file: Path) -> None:
    """A name in capitals is a key, a number of lanes.keys, an argument, or the script's own constant."""
    text = re.sub(r"--.*|'[^']*'", "", scripts.load(file.parts[-3], file.stem).text)

    defined = {name for names in re.findall(r"local ([\w, ]+?) =", text) for name in names.split(", ")}
    assert set(re.findall(r"\b[A-Z][A-Z_]+\b", text)) - defined <= {"KEYS", "ARGV"}


@pytest.mark.parametrize("file", VERBS, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_no_variable_that_a_piece_returns_changes(file: Path) -> None:
    """What is behind the piece has a copy."""
    script, returned = scripts.load(file.parts[-3], file.stem), set[str]()
    lines = iter(script.text.splitlines())
    for name, text, *_ in script.parts:
        part = [next(lines) for _ in text.splitlines()]
        closed = re.match(r"local ([\w, ]+) = \(function\(\) ", part[0])
        own = set(re.findall(r"\w+", " ".join(re.findall(r"local (?:function )?([\w, ]+)", "\n".join(part[1:])))))
        given = set(closed[1].split(", ")) if closed else set()
        for line in part[1:]:
            assigned = re.match(r"\s*(\w+(?:, \w+)*) = .*[^,]$", line)
            names = set(assigned[1].split(", ")) if assigned else set()
            assert not names & (given | returned - own), f"{name}: {line}"
        returned |= given


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_no_script_spells_a_key_or_repeats_a_shared_number(file: Path) -> None:
    code = re.sub(r"--.*", "", file.read_text())

    assert not re.findall(r"'(:\w[\w:]+)'", code), "keys are named as in lanes.keys"
    assert not re.findall(rf"local ({'|'.join(keys.NUMBERS)}) = \d", code)


@pytest.mark.parametrize("file", VERBS, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_a_script_says_what_it_takes_and_returns(file: Path) -> None:
    head = file.read_text().partition("\nlocal ")[0]

    assert "-- KEYS[1]" in head
    assert "-- Returns" in head


def append_by_asyncio(client: redis.Redis) -> None:
    connection = client.connection_pool.connection_kwargs

    async def scenario() -> None:
        async with redis.asyncio.Redis(host=connection["host"], port=connection["port"]) as asynchronous:
            await lanes.append_async(lanes.AsyncQueue(client=asynchronous, name=QUEUE), [event("a", "jo")])

    asyncio.run(scenario())


@pytest.mark.parametrize("run", [append_by_asyncio, lambda client: append(client, event("a", "jo"))])
def test_a_failing_script_names_verb_queue_and_line(
    redis_client: redis.Redis, run: Callable[[redis.Redis], Any]
) -> None:
    redis_client.set(keys.READY.of(QUEUE), "not a sorted set")

    text = rf"^append on queue {QUEUE}: (append|lib/bulk).lua:\d+: WRONGTYPE "
    with pytest.raises(lanes.ScriptError, match=text) as caught:
        run(redis_client)

    assert isinstance(caught.value, redis.exceptions.ResponseError)


def test_a_failing_script_names_verb_and_queue_on_the_imitation() -> None:
    client = fakeredis.FakeStrictRedis()
    client.set(keys.READY.of(QUEUE), "not a sorted set")

    with pytest.raises(lanes.ScriptError, match=rf"^claim on queue {QUEUE}: "):
        claim(client)


def test_a_transaction_that_fails_names_verb_and_queue(client: redis.Redis) -> None:
    append(client, event("a", "jo"))
    bury(client, claim(client), "a")
    client.delete(keys.CLAIMS.of(QUEUE))
    client.set(keys.CLAIMS.of(QUEUE), "not a sorted set")

    with pytest.raises(lanes.ScriptError, match=rf"^discard on queue {QUEUE}: "):
        lanes.discard(queue_of(client), [1])


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (
            redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
            redis.exceptions.ReadOnlyError,
        ),
        (redis.exceptions.OutOfMemoryError("command not allowed"), redis.exceptions.OutOfMemoryError),
        (redis.exceptions.BusyLoadingError("Redis is loading"), redis.exceptions.BusyLoadingError),
        (redis.exceptions.ResponseError("BUSY Redis is busy running a script."), redis.exceptions.ResponseError),
        (redis.exceptions.ResponseError("MISCONF Redis is configured to save"), redis.exceptions.ResponseError),
        (redis.exceptions.ConnectionError("gone"), redis.exceptions.ConnectionError),
    ],
    ids=lambda value: str(value).split(" ")[0] if isinstance(value, Exception) else "",
)
def test_what_the_server_itself_refuses_stays_of_its_kind(
    monkeypatch: pytest.MonkeyPatch, reply: Exception, error: type[Exception]
) -> None:
    """Retry logic tells these apart."""
    client = fakeredis.FakeStrictRedis()

    def refuse(*_arguments: Any) -> None:
        raise reply

    monkeypatch.setattr(client, "evalsha", refuse)
    with pytest.raises(error) as caught:
        append(client, event("a", "jo"))

    assert caught.value is reply


# All or nothing


def a_busy_queue(client: redis.Redis) -> tuple[lanes.Claim, lanes.Claim]:
    """A queue with every kind of state; return an open claim and one that has expired."""
    append(client, event("buried", "xx"), event("blocks", "yy"), event("behind", "yy"))
    first = claim(client, depth=0)
    blocking = lanes.Burial(sequences(first)["blocks"], b"failure", blocks=True)
    lanes.settle(queue_of(client), first.id, buried=[lanes.Burial(1, b"failure"), blocking])
    append(client, event("expired", "zz"))
    expired = claim(client, events=1)
    expire(client, expired)
    append(client, *(event(f"e{n}", "jo", f"page {n % 2}") for n in range(5)))
    append(client, event("cooling", "al", cooldown_ms=COOLDOWN_MS, join=("al", "bo")), event("late", "al"))
    mine = claim(client, events=4)
    client.persist(keys.WAKEUP.of(QUEUE))  # else it ends while a slow test compares
    return mine, expired


def verbs(client: redis.Redis, mine: lanes.Claim) -> dict[str, Callable[[], Any]]:
    """Every verb that writes, each with something to do."""
    queue = queue_of(client)
    lanes.open_spill(queue, "file")
    dead = {dead_letter.sequence: dead_letter for dead_letter in lanes.list_dead_letters(queue)}
    first, *others = [event.sequence for event in mine.events]

    def requeue() -> None:
        again = lanes.NewEvent(b"again", ("xx",), "", replaces=1)
        lanes.requeue(queue, blocking=[dead[2]], appended=[again], as_of=0, record=("note", {"n": 1}))

    def settle() -> None:
        released = [lanes.Release(sequence, 0, b"tried", COOLDOWN_MS) for sequence in others[:1]]
        burials = [lanes.Burial(sequence, b"failure", blocks=True) for sequence in others[1:2]]
        lanes.settle(queue, mine.id, delivered=[first], buried=burials, released=released)

    return {
        "append": lambda: append(client, event("new", "jo", "al", "bo"), event("new", "x"), event("newer", "jo")),
        "claim": lambda: claim(client),
        "settle": settle,
        "extend": lambda: lanes.extend(queue, mine.id, lease_ms=120_000),
        "reap": lambda: lanes.reap(queue),
        "erase": lambda: lanes.erase(queue, [lanes.digest("yy"), lanes.digest("jo")]),
        "erase_ids": lambda: lanes.erase_message_ids(queue, ["e1", "e2"]),
        "import": lambda: lanes.import_dead_letters(queue, [lanes.ImportedDeadLetter(None, 1, ("a",), b"b", b"f")]),
        "edit": lambda: lanes.edit_dead_letter(queue, dead[2], b"body", b"failure"),
        "spill": lambda: lanes.spill(queue, "file", [1], as_of=0),
        "requeue": requeue,
        "discard": lambda: lanes.discard(queue, [1, 2]),
        "unblock": lambda: lanes.unblock(queue, {2: b"failure"}, as_of=lanes.dead_letter_changes(queue)),
    }


REFUSED_WITHOUT_MEMORY = ["append", "import", "edit", "requeue", "discard", "unblock"]
DONE_WITHOUT_MEMORY = ["claim", "settle", "extend", "reap", "erase", "erase_ids", "spill"]


def contents(client: redis.Redis) -> dict[bytes, bytes | None]:
    return {key: client.dump(key) for key in client.scan_iter()}


@contextmanager
def no_memory(client: redis.Redis) -> Iterator[None]:
    client.config_set("maxmemory", 1)
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)


@pytest.mark.parametrize("verb", REFUSED_WITHOUT_MEMORY)
def test_a_verb_that_redis_has_no_memory_for_writes_nothing(redis_client: redis.Redis, verb: str) -> None:
    mine, _ = a_busy_queue(redis_client)
    run = verbs(redis_client, mine)[verb]
    before = contents(redis_client)

    with no_memory(redis_client), pytest.raises((redis.exceptions.OutOfMemoryError, redis.exceptions.ExecAbortError)):
        run()

    assert contents(redis_client) == before
    run()
    assert contents(redis_client) != before


@pytest.mark.parametrize("verb", DONE_WITHOUT_MEMORY)
def test_a_queue_is_worked_on_when_redis_has_no_memory(redis_client: redis.Redis, verb: str) -> None:
    """Else a Redis that is full would stay full: nothing could be claimed or settled."""
    mine, _ = a_busy_queue(redis_client)
    run = verbs(redis_client, mine)[verb]
    before = contents(redis_client)

    with no_memory(redis_client):
        run()
        idle = claim(redis_client)  # nothing is due, but for what `run` freed

    assert idle.id
    assert contents(redis_client) != before


@contextmanager
def commands_of_scripts(client: redis.Redis) -> Iterator[list[list[str]]]:
    """Yield what will be, for each script that ran, the names of the commands that it called, in order."""
    calls: list[list[str]] = []

    def listen() -> None:
        for command in monitor.listen():
            name = command["command"].split()[0].upper()
            if name == "ECHO":
                return
            if command["client_type"] == "lua":
                calls[-1].append(name)
            elif name in ("EVAL", "EVALSHA"):
                calls.append([])

    with client.monitor() as monitor:
        listener = Thread(target=listen)
        listener.start()
        yield calls
        client.echo("done")
        listener.join(timeout=10)


@pytest.mark.parametrize("verb", REFUSED_WITHOUT_MEMORY + DONE_WITHOUT_MEMORY)
def test_a_script_reads_and_decides_before_it_writes(redis_client: redis.Redis, verb: str) -> None:
    """What fails while it reads has written nothing; what writes has nothing left that may fail."""
    mine, _ = a_busy_queue(redis_client)
    run = verbs(redis_client, mine)[verb]
    flags = {name.upper(): found["flags"] for name, found in redis_client.command().items()}

    with commands_of_scripts(redis_client) as calls:
        run()

    assert any(calls)
    for commands in calls:
        writes = ["write" in flags[name] for name in commands]
        assert writes == sorted(writes), f"a read after a write: {commands}"
