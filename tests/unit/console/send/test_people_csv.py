"""Exports of people: what a row becomes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from console.errors import CommandError
from console.send.people_csv import Columns
from console.send.preparing import Rejected, Source, found
from tests.unit.console.send.conftest import Send
from tests.unit.console.send.receiver import Receiver
from tests.unit.console.send.samples import file_of


def events(path: Path, content: bytes, *columns: str) -> list[Any]:
    """Return the event of each row without its message id, or why it is rejected with its line."""
    path.write_bytes(content)
    results = []
    for each in found(Source([file_of(path)], Columns(columns))):
        if isinstance(each.result, Rejected):
            results.append(f"{each.number}: {each.result.reason}")
        else:
            event = json.loads(each.result.body)
            assert event.pop("messageId").startswith("segue-history-")
            results.append(event)
    return results


def person(user_id: str, time: str = "2023-11-14T22:13:20.000Z", **traits: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": user_id, "timestamp": time, **({"traits": traits} if traits else {})}


def test_columns_go_where_they_are_mapped_and_the_others_become_traits(tmp_path: Path) -> None:
    content = b"id,mail,plan,seen,notes\n1,ada@example.com,free,2024-02-03T00:00:00Z,x\n007,,,,\n"
    columns = ("id=userId", "mail=traits.email", "seen=timestamp", "notes=")

    assert events(tmp_path / "a.csv", content, *columns) == [
        person("1", "2024-02-03T00:00:00Z", email="ada@example.com", plan="free"),
        person("007"),
    ]


def test_a_path_makes_objects_and_known_names_need_no_mapping(tmp_path: Path) -> None:
    content = b"userId,traits.size,town\n1,2,Turin\n"

    assert events(tmp_path / "a.csv", content, "town=traits.address.city") == [
        person("1", size="2", address={"city": "Turin"})
    ]


@pytest.mark.parametrize("delimiter", [b";", b"\t", b"|"])
def test_semicolons_tabs_quotes_and_a_byte_order_mark_are_read(tmp_path: Path, delimiter: bytes) -> None:
    content = b'\xef\xbb\xbf"userId";note;city\r\n1;"two\r\n\r\nlines; ""quoted""";Z\xc3\xbcrich\r\n'.replace(
        b";", delimiter
    )
    note = 'two\r\n\r\nlines; "quoted"'.replace(";", delimiter.decode())

    assert events(tmp_path / "a.csv", gzip.compress(content)) == [person("1", note=note, city="Zürich")]


def test_a_row_that_cannot_be_sent_is_rejected_with_its_line(tmp_path: Path) -> None:
    content = b"userId,name\n1\n2,\xff\n,none\n\n3," + b"x" * 140_000 + b"\n4,Bo\n"

    assert events(tmp_path / "a.csv", content) == [
        "2: the row has 1 cell, and the first row has 2",
        "3: the row is not UTF-8",
        "4: userId: is missing; an event needs a userId or an anonymousId",
        "6: the row is no CSV: field larger than field limit (131072)",
        person("4", name="Bo"),
    ]


def test_a_quote_that_is_not_closed_loses_no_row_without_a_word(tmp_path: Path) -> None:
    content = b'userId,name\n1,Al\n2,"Bo\n3,Cy\n4,Di\n'

    assert events(tmp_path / "a.csv", content) == [
        person("1", name="Al"),
        "5: the row from line 3 on is no CSV: a quote is not closed",
    ]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b'userId;"a, b, c"\n1;x\n', [{"a, b, c": "x"}]),
        (b"\r\n\nuserId,name\n1,x\n", [{"name": "x"}]),
    ],
    ids=["separators-in-a-name", "blank-lines-before"],
)
def test_the_first_row_is_found_with_its_separator(tmp_path: Path, content: bytes, wanted: list[Any]) -> None:
    assert [each["traits"] for each in events(tmp_path / "a.csv", content)] == wanted


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("userId,name\n1,x\n".encode("utf-16"), "a.jsonl: the file is UTF-16, and must be text in UTF-8"),
        (b"PK\x03\x04\x14\0\n", "a.jsonl: the file is a ZIP archive, as xlsx files are, and must be text in UTF-8"),
        (b"userId,n\xe9\n1,x\n", "line 1, which has the names of the columns: the row is not UTF-8"),
        (b"userId,name\r1,x\r", "a carriage return is outside of quotes; lines must end in a line feed"),
        (b'userId,"name\n1,x\n', "line 2, which has the names of the columns: the row from line 1 on is no CSV"),
    ],
    ids=["utf-16", "xlsx", "latin-1", "carriage-returns", "quote"],
)
def test_a_first_row_that_cannot_be_read_ends_the_command(tmp_path: Path, content: bytes, text: str) -> None:
    with pytest.raises(CommandError, match=text):
        events(tmp_path / "a.csv", content)


def test_a_column_that_is_given_twice_is_refused() -> None:
    with pytest.raises(CommandError, match="--column id=…: is given twice; a column goes to one place"):
        Columns(["id=userId", "id=traits.number"])


@pytest.mark.parametrize(
    ("header", "columns", "text"),
    [
        ("id,name", ["mail=traits.email"], "there is no column mail; there are id, name"),
        ("id,name", [], "no column is the userId; map one, such as --column id=userId"),
        ("userId,a,b", ["a=traits.x", "b=traits.x"], "two columns are mapped to traits.x"),
        ("userId,a,b", ["a=traits.x", "b=traits.x.y"], "two columns are mapped to a value and to a member of it"),
    ],
)
def test_columns_that_make_no_event_are_refused(header: str, columns: list[str], text: str) -> None:
    with pytest.raises(CommandError, match=text):
        Columns(columns).of("a.csv", header.split(","))


def test_people_are_sent_and_a_dry_run_shows_the_first_ones(send: Send, receiver: Receiver, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("id,email\n" + "".join(f"{number},p{number}@example.com\n" for number in range(5)))
    options = ["--type", "identify", "--column", "id=userId"]

    code, output, _ = send(file, *options, "--dry-run")
    assert (code, [json.loads(line)["userId"] for line in output.splitlines()[:3]]) == (0, ["0", "1", "2"])
    assert send(file, *options)[0] == 0

    assert [event["traits"]["email"] for event in receiver.taken] == [f"p{number}@example.com" for number in range(5)]
