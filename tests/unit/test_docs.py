"""What the documents name exists: pages and headings, modules, tests, commands, options, variables and make targets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import typer

from console.cli import app
from settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md"])
}
# The changelog has names that no longer exist.
PRESENT = {name: text for name, text in PAGES.items() if name != "docs/changelog.md"}

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_BLOCK = re.compile(r"^```.*?^```|^(?:    [^\n]*\n)+", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"(?<![\w/.-])((?:[a-z_]+/)+[\w.-]+\.(?:py|lua|toml|md))\b")
_COMMAND = re.compile(r"(?:^|[\s(=/`])segue((?: [a-z][a-z-]*)+)((?: +[^\s#|`]+)*)")
_OPTION = re.compile(r"(?<!\S)\[?(--[a-z-]+)")
_VARIABLE = re.compile(r"\bSEGUE_[A-Z_]+\b")
_TARGET = re.compile(r"\bmake ((?:[a-z]+ ?)+)")


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", re.sub(r"`", "", heading)).strip().lower() for heading in headings)
    return {re.sub(r"\s", "-", heading) for heading in plain}


def code(text: str) -> Iterator[str]:
    """Yield what a page has in code type: spans, and the lines of blocks."""
    for block in _BLOCK.findall(text):
        yield from block.splitlines()
    yield from _CODE.findall(_BLOCK.sub("", text))


@cache
def command(words: tuple[str, ...]) -> click.Command | None:
    """Return the command of these words; None when there is none."""
    found: click.Command | None = typer.main.get_command(app)
    for word in words:
        found = getattr(found, "commands", {}).get(word)
    return found


def used(text: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield each `segue` command of a page, as far as its words are commands, with the options behind it."""
    for line in code(text):
        for match in _COMMAND.finditer(line):
            words = tuple(match[1].split())
            while len(words) > 1 and command(words) is None and not hasattr(command(words[:-1]), "commands"):
                words = words[:-1]  # the last word is an argument
            yield words, _OPTION.findall(line[match.start() :])


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_page_and_a_heading(name: str) -> None:
    broken = []
    for target in _LINK.findall(PAGES[name]):
        page, _, anchor = target.partition("#")
        path = (ROOT / name).parent / page if page else ROOT / name
        is_there = path.exists() and (not anchor or anchor in anchors(path.read_text(encoding="utf-8")))
        broken += [] if is_there or page.startswith("http") else [target]

    assert not broken


def test_the_index_lists_every_page() -> None:
    linked = {(ROOT / "docs" / target.partition("#")[0]).resolve() for target in _LINK.findall(PAGES["docs/index.md"])}
    missing = [name for name in PAGES if name not in ("README.md", "docs/index.md") and ROOT / name not in linked]

    assert not missing


@pytest.mark.parametrize("name", PRESENT)
def test_every_file_that_is_named_exists(name: str) -> None:
    named = {path for span in code(PRESENT[name]) for path in _PATH.findall(span) if "VERB" not in path}

    assert not [path for path in sorted(named) if not (ROOT / path).exists() and "NNNN" not in path]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_and_option_that_is_named_exists(name: str) -> None:
    missing = []
    for words, options in used(PAGES[name]):
        found = command(words)
        known = {option for parameter in found.params for option in parameter.opts} if found else set()
        missing += [] if found else [" ".join(words)]
        missing += [f"{' '.join(words)} {option}" for option in options if found and option not in known | {"--json"}]

    assert not missing


@pytest.mark.parametrize("name", PAGES)
def test_every_variable_that_is_named_exists(name: str) -> None:
    known = {f"SEGUE_{field.upper()}" for field in Settings.model_fields}

    assert set(_VARIABLE.findall(PAGES[name])) <= known


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_that_is_named_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {word for span in code(PAGES[name]) for words in _TARGET.findall(span) for word in words.split()}

    assert named <= targets


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if "```python" in text])
def test_the_imports_and_functions_of_python_examples_exist(name: str) -> None:
    missing = []
    for example in re.findall(r"^```python\n(.*?)^```", PAGES[name], re.MULTILINE | re.DOTALL):
        tree = ast.parse(example)
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names: dict[str, Any] = {}
        exec(compile(ast.Module(body=list(imports), type_ignores=[]), name, "exec"), names)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = names.get(node.value.id)
                exists = not isinstance(module, ModuleType) or hasattr(module, node.attr)
                missing += [] if exists else [ast.unparse(node)]

    assert not missing


def test_a_page_with_names_that_do_not_exist_is_found() -> None:
    spans = "# A `b` – c\n`segue lanes nonsense KEY` `segue status --never` `segue dead show 42`\n"
    block = "    segue lanes show k\n"

    assert [(words, command(words) is not None, options) for words, options in used(spans + block)] == [
        (("lanes", "show"), True, []),
        (("lanes", "nonsense"), False, []),
        (("status",), True, ["--never"]),
        (("dead", "show"), True, []),
    ]
    assert anchors(spans) == {"a-b--c"}
