"""The words that the glossary replaced are in no code, no document and no help text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from console.cli import app
from tests.glossary import ALLOWED, ROOT, Allowed, Finding, Glossary, findings, findings_in, read_glossary

GLOSSARY = read_glossary((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
PAGE = """
| word | meaning | not |
| --- | --- | --- |
| dead letter, failure | an event that was set aside; the record of it | letter, why (as a name) |
| requeue | append again | put back |
| row | a line of a table | somebody, `one`, `Told` |
"""


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and every group of commands."""

    def below(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, (*words, name))

    yield from below(typer.main.get_command(app), ())


def words(name: str, text: str) -> list[str]:
    return [finding.word for finding in findings_in(name, text, read_glossary(PAGE))]


def test_no_refused_word_is_in_code_or_documents() -> None:
    found = [f"{row.path}:{row.line}: {row.word}: {row.text[:100]}" for row in findings(ROOT, GLOSSARY)]

    assert not found, "\n".join(["docs/glossary.md refuses these words:", *found])


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: " ".join(command) or "segue")
def test_no_refused_word_is_in_a_help_text(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})

    assert result.exit_code == 0, result.output
    assert not list(findings_in("help", result.output, GLOSSARY))


def test_every_allowed_use_has_a_reason_and_a_word_of_the_glossary() -> None:
    refused = {"*", *GLOSSARY.phrases, *(f"`{name}`" for name in GLOSSARY.names)}

    assert not [entry for entry in ALLOWED if entry.word not in refused or not entry.reason]


def test_a_tree_with_a_refused_word_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lanes" / "lua").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "lanes" / "append.py").write_text('"""Append."""\n\ndef put_back_letters():\n    one = 1\n')
    (tmp_path / "lanes" / "lua" / "append.lua").write_text("-- Somebody waits.\nlocal one = 1\n")
    (tmp_path / "docs" / "lanes.md").write_text("Every dead\nletter has a letter.\n")

    found = [(row.path, row.line, row.word) for row in findings(tmp_path, read_glossary(PAGE))]

    assert found == [
        ("docs/lanes.md", 2, "letter"),
        ("lanes/append.py", 3, "letter"),
        ("lanes/append.py", 3, "put back"),
        ("lanes/append.py", 4, "`one`"),
        ("lanes/lua/append.lua", 1, "somebody"),
        ("lanes/lua/append.lua", 2, "`one`"),
    ]


def test_an_allowed_use_is_no_finding(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("the letter A\nthe letter B\n")
    allowed = (Allowed("letter", "docs/*.md", "letter A", "a letter of the alphabet"),)

    found = list(findings(tmp_path, read_glossary(PAGE), allowed))

    assert found == [Finding("docs/a.md", 2, "letter", "the letter B")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("letter", ["letter"]),
        ("LETTERS", ["letter"]),
        ("class OpenLetter:", ["letter"]),
        ("letter_of = lettering", ["letter"]),
        ("putBack", ["put back"]),
        ("puts back", ["put back"]),
        ("it is put\n# back", ["put back"]),
        ("put: back", []),
        ("put it back", []),
        ("newsletter", []),
        ("dead letters, DeadLetter, dead_letter, dead-letter, DEAD_LETTERS", []),
        ("dead: letter", ["letter"]),
        ("why", []),
    ],
)
def test_a_word_is_found_in_any_case_and_in_compounds_but_not_within_a_word(text: str, found: list[str]) -> None:
    assert words("a.md", text) == found


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.py", "one = told", ["`one`"]),
        ("a.py", "class Told: pass", ["`Told`"]),
        ("a.py", "one_event = 1  # one\nx = 'one'", []),
        ("a.lua", "local one = 'one' -- one", ["`one`"]),
        ("a.lua", 'local x = "one" -- it\'s one', []),
        ("a.md", "one", []),
    ],
)
def test_a_name_in_code_type_is_found_as_an_identifier_only(name: str, text: str, found: list[str]) -> None:
    assert words(name, text) == found


def test_a_table_with_another_number_of_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="'lane' has 2 cells"):
        read_glossary("| word | meaning | not |\n| --- | --- | --- |\n| lane | a queue |\n")


def test_every_word_of_the_glossary_is_defined_once() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ")][2:]
    defined = [word.strip() for row in rows for word in row[0].split(",")]

    assert len(defined) == len(set(defined))
    assert isinstance(GLOSSARY, Glossary)
