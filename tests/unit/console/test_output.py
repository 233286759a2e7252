"""Texts of events do nothing in the operator's terminal, whichever command prints them."""

from __future__ import annotations

import getpass
import io
import json
import re
import sys

import orjson
import pytest
import redis
from rich.console import Group
from rich.padding import Padding
from rich.text import Text

import lanes
from console.output import SafeConsole, safe, safe_line
from lanes import keys
from mapping.envelope import pack
from tests.queues import queue_of
from tests.unit.console.test_cli import main

pytestmark = pytest.mark.usefixtures("set_up")

# Markup of Rich, a title, a cleared screen, the same by one character of C1, reversed text, other ends of lines.
HOSTILE = (
    "[/x] [red]x[/red] [link=https://evil.example]y[/link] :apple: "
    "\x1b]0;t\x07 \x1b[2J \x9b2J \u202eabc\u2066 \u200f \r\x08 \x7f \u2028\u0085 end"
)
# Control characters but the line feed, those that change the direction of text, ends of lines.
ACTIVE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
PERSON = f"id:{HOSTILE}"
EVENT = {"type": "page", "name": HOSTILE, "userId": HOSTILE, "messageId": HOSTILE, "traits": {HOSTILE: HOSTILE}}
COMMANDS = [
    ["status"],
    ["status", "--json"],
    ["dead", "list"],
    ["dead", "list", "--json"],
    ["dead", "list", "--group"],
    ["dead", "list", "--group", "--json"],
    ["dead", "list", "--text", HOSTILE],
    ["dead", "list", "--person", HOSTILE],
    ["dead", "list", "--destination", HOSTILE],
    ["dead", "show", "1"],
    ["dead", "edit", "1", "--patch", json.dumps([{"op": "remove", "path": f"/{HOSTILE}"}])],
    ["dead", "export"],
    ["dead", "stats"],
    ["dead", "replay", "--detach", "--text", HOSTILE],
    ["dead", "replays"],
    ["dead", "replays", "--json"],
    ["dead", "cancel", HOSTILE],
    ["dead", "import", HOSTILE],
    ["dead", "import", "-"],
    ["lanes", "show", PERSON],
    ["lanes", "show", PERSON, "--json"],
    ["lanes", "verify"],
    ["lanes", "configure"],
    ["forget", "--user-id", HOSTILE],
    ["forget", "--user-id", HOSTILE, "--destination", HOSTILE],
    ["unsuppress", "--user-id", HOSTILE],
    ["receipts"],
    ["receipts", "--json"],
    ["test"],
    ["test", HOSTILE],
    ["translate"],
    ["import", HOSTILE],
    ["check"],
]


@pytest.fixture
def queue(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> lanes.Queue:
    """A queue that has the text wherever an event, an operator or Customer.io can put it."""
    monkeypatch.setattr(getpass, "getuser", lambda: HOSTILE)
    monkeypatch.setattr(store, "info", lambda *_: {"aof_enabled": 0})
    queue = queue_of(store, "demo", limit=1_000_000)
    failure = {"class": "invalid", "message": HOSTILE, "faults": [], "buried_at_ms": 1_700_000_000_000}
    failure["faults"] = [{"subscription": HOSTILE, "action": HOSTILE, "message": HOSTILE}]
    dead_letter = lanes.ImportedDeadLetter(None, 1, (PERSON,), pack(HOSTILE, EVENT), orjson.dumps(failure))
    lanes.import_dead_letters(queue, [dead_letter])
    lanes.append(queue, [lanes.NewEvent(pack(HOSTILE, EVENT), (PERSON, f"email:{HOSTILE}"), HOSTILE)])
    store.hset(keys.ADMISSION.of("demo"), mapping={"state": "paused", "reason": HOSTILE.encode()})
    return queue


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: " ".join(words).split("[")[0])
@pytest.mark.usefixtures("queue")
def test_no_text_acts_in_the_terminal(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if "replays" in arguments or "receipts" in arguments:
        first = ["dead", "replay", "--all", "--detach"] if "replays" in arguments else ["forget", "--user-id", HOSTILE]
        assert main(first, monkeypatch) == 0
    # As text, not as JSON: a line that is not valid comes back in the error.
    given = json.dumps({"id": HOSTILE, **EVENT} if arguments != ["dead", "import", "-"] else HOSTILE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))

    main(arguments, monkeypatch)

    printed = "".join(capfd.readouterr())
    assert printed
    assert "Traceback" not in printed
    assert ACTIVE.findall(printed) == []


@pytest.mark.usefixtures("queue")
def test_markup_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "2000")

    for arguments in (["status"], ["dead", "list"], ["dead", "list", "--group"], ["lanes", "show", PERSON]):
        main(arguments, monkeypatch)
        assert "[/x] [red]x[/red] [link=https://evil.example]y[/link] :apple:" in capfd.readouterr().out


@pytest.mark.usefixtures("queue")
def test_json_stays_equal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    main(["dead", "show", "1"], monkeypatch)

    assert json.loads(capfd.readouterr().out)["event"] == EVENT


def test_an_escape_is_that_of_json_and_half_a_character_can_be_printed() -> None:
    assert safe("a\x1b[2J\tb\n\x9b\u202e\ud83d😀é") == "a\\u001b[2J\tb\n\\u009b\\u202e\\ud83d😀é"
    assert safe_line("a\nb") == "a\\nb"


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("columns", ["0", "1", "20"])
def test_no_figure_is_cut_off_where_the_terminal_has_no_width(
    columns: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    main(["status"], monkeypatch)

    assert re.search(r"^ +dead letters +1\b", capfd.readouterr().out, re.MULTILINE)


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_utf8_is_read_and_written_in_every_locale(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    event = {"type": "track", "event": "Café → Ω", "userId": "ada"}
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(orjson.dumps({"event": event})), encoding=encoding))

    assert main(["check"], monkeypatch) == 0
    assert main(["translate"], monkeypatch) == 0
    sys.stdout.flush()

    assert "source demo (server) → demo" in written.getvalue().decode()
    assert '"Café → Ω"' in written.getvalue().decode()


@pytest.mark.usefixtures("queue")
def test_a_closed_stream_is_an_empty_one(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    assert main(["test"], monkeypatch) == 2
    assert capfd.readouterr().err.startswith("segue: the event is not JSON: Input is a zero-length, empty document")


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("arguments", [["lanes", "find"], ["pause", "demo", "--why"], ["lanes", "show"]])
def test_an_argument_that_is_no_text_is_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "id:\udcff"], monkeypatch) == 2

    assert capfd.readouterr().err == "segue: the argument id:\\udcff is not UTF-8\n"


@pytest.mark.parametrize("width", [40, 80])
def test_a_text_that_becomes_longer_is_not_cut_off(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = Text.assemble("x" * (width - 12), ("a\x1b[31mb", "bold"), "\x7fc\nd")

    for shown in (text, Padding(text, (0, 0, 0, 2)), Group(text), text.plain):
        SafeConsole(highlight=False, markup=False, emoji=False).print(shown)

        printed = "".join(capfd.readouterr().out.split())
        assert printed == f"{'x' * (width - 12)}a\\u001b[31mb\\u007fcd"
