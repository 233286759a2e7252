"""The words that the glossary replaced: where code, documents and help texts still use them.

`docs/glossary.md` is a table of words, their meanings and, in the column *not*, what we no longer write for them:

- a plain word or phrase is refused anywhere, in any case and with any of the endings -s, -es, -d, -ed and -ing, as a
  whole word and as a part of a compound name (`put_back`, `putBack`, `put-back`);
- `a name in code type` is refused only as a whole identifier of Python or Lua, in exactly this case;
- an entry with a note in parentheses has other uses, which no search can distinguish, so it is skipped.

A word inside a term of the first column is no finding: "dead letter" is our term, "letter" alone is not.

Run `python -m tests.glossary [ROOT]` for a list of findings in any tree, grouped by package.
"""

from __future__ import annotations

import io
import keyword
import re
import sys
import tokenize
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tests.packages import PACKAGES, ROOT

FOLDERS = (*PACKAGES, "tests", "bench", "docs", "deploy", ".ci")
SUFFIXES = frozenset({".py", ".lua", ".md", ".toml", ".yaml", ""})

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_GAP = re.compile(r"[ \t_-]*|[ \t]*\n[ \t]*(?:#|--|>)?[ \t]*")  # between words of one phrase, also in a comment
_ENDINGS = ("", "s", "es", "d", "ed", "ing")
_NOTED = re.compile(r"[^,]*\([^)]*\)")
_LUA_TEXT = re.compile(r"--[^\n]*|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")

Phrase = tuple[frozenset[str], ...]  # for each of its words, the forms that it may have


@dataclass(frozen=True, slots=True)
class Glossary:
    """The table, as the search uses it."""

    terms: tuple[Phrase, ...]  # those of the first column that have several words
    phrases: Mapping[str, Phrase]  # what is refused, as the glossary writes it
    names: frozenset[str]  # refused identifiers


class Allowed(NamedTuple):
    """A use of a refused word that stays, and why."""

    word: str  # as the glossary writes it, `*` for all
    path: str  # of the file, with wildcards
    line: str  # a pattern that the line contains
    reason: str


class Finding(NamedTuple):
    """A refused word at a place."""

    path: str
    line: int
    word: str  # as the glossary writes it
    text: str  # the line


ALLOWED = (
    Allowed("*", "docs/glossary.md", "", "it is the list"),
    Allowed("*", "tests/glossary.py", "", "its examples"),
    Allowed("*", "tests/unit/test_glossary.py", "", "its examples"),
    Allowed("*", "docs/changelog.md", r"^\|", "its table of old names, for those who search for them"),
    Allowed("letter", "*.py", "ascii_letters", "a name of Python's library"),
    Allowed("letter", "mapping/*.py", "", "a letter of the alphabet, in the grammars of FQL and of dates"),
    Allowed("letter", "*.py", r"one-letter|letters, digits", "a letter of the alphabet"),
    Allowed("`places`", "mapping/liquid/filters.py", "", "decimal places"),
    Allowed("depart", "bench/support/bodies.py", "departsA", "a property in a made-up event"),
    Allowed("*", "bench/compare.py", '^"', "its table of old figures, so that it can compare them"),
    Allowed("neighbour", "tests/unit/bench/test_compare.py", "^old:", "an old figure"),
    Allowed("death", "tests/unit/console/test_dead.py", "failure.deaths", "a member that the import refuses"),
    Allowed("seat", "tests/*.py", r"\bseats\b", "a trait in a test's event"),
)


def read_glossary(page: str) -> Glossary:
    """Return what `docs/glossary.md` defines and refuses."""
    rows = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in page.splitlines() if line[:1] == "|"]
    terms, phrases, names = [], {}, set()
    for row in rows[2:]:
        if len(row) != 3:
            raise ValueError(f"the row of {row[0]!r} has {len(row)} cells, not 3")
        terms += [_phrase(term, ("", "s")) for term in row[0].split(",") if " " in term.strip()]
        for entry in filter(None, (entry.strip() for entry in _NOTED.sub("", row[2]).split(","))):
            if entry.startswith("`"):
                names.add(entry.strip("`"))
            else:
                phrases[entry] = _phrase(entry, _ENDINGS)
    return Glossary(tuple(terms), phrases, frozenset(names))


def _phrase(text: str, endings: Iterable[str]) -> Phrase:
    *first, last = text.lower().split()
    forms = [frozenset({word, f"{word}s"}) for word in first]
    return (*forms, frozenset(last + ending for ending in endings))


def findings(root: Path, glossary: Glossary, allowed: Sequence[Allowed] = ALLOWED) -> Iterator[Finding]:
    """Yield the refused words of the tree at `root`, by file and line."""
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        for finding in findings_in(name, path.read_text(encoding="utf-8"), glossary):
            if not any(_allows(entry, finding) for entry in allowed):
                yield finding


def findings_in(name: str, text: str, glossary: Glossary) -> Iterator[Finding]:
    """Yield the refused words of one text, by line; its `name` says which language it is in."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    lines = text.split("\n")
    found = {(bisect_right(starts, at), word) for at, word in _phrases(text, glossary)}
    if name.endswith((".py", ".lua")):
        identifiers = _python_names(text) if name.endswith(".py") else _lua_names(text)
        found |= {(line, f"`{identifier}`") for line, identifier in identifiers if identifier in glossary.names}
    for line, word in sorted(found):
        yield Finding(name, line, word, lines[line - 1].strip())


def _files(root: Path) -> list[Path]:
    found = [path for path in root.iterdir() if path.is_file() and not path.name.startswith(".")]
    for folder in FOLDERS:
        found += (path for path in (root / folder).rglob("*") if path.is_file())
    return sorted(
        path for path in found if path.suffix in SUFFIXES and not {"vectors", "node_modules"} & set(path.parts)
    )


def _allows(entry: Allowed, finding: Finding) -> bool:
    return (
        entry.word in ("*", finding.word)
        and fnmatch(finding.path, entry.path)
        and re.search(entry.line, finding.text) is not None
    )


def _phrases(text: str, glossary: Glossary) -> Iterator[tuple[int, str]]:
    """Yield the refused phrases of a text that are no part of a term, with their offsets."""
    matches = list(_WORD.finditer(text))
    words = [match[0].lower() for match in matches]
    by_first_word = defaultdict(list)
    for name, phrase in glossary.phrases.items():
        for form in phrase[0]:
            by_first_word[form].append((name, phrase))

    def stands_at(index: int, phrase: Phrase) -> bool:
        last = index + len(phrase) - 1
        return (
            index >= 0
            and last < len(words)
            and all(word in forms for word, forms in zip(words[index:], phrase, strict=False))
            and all(_GAP.fullmatch(text, matches[at].end(), matches[at + 1].start()) for at in range(index, last))
        )

    def is_in_a_term(index: int) -> bool:
        return any(stands_at(index - before, term) for term in glossary.terms for before in range(len(term)))

    for index, word in enumerate(words):
        for name, phrase in by_first_word.get(word, ()):
            if stands_at(index, phrase) and not (len(phrase) == 1 and is_in_a_term(index)):
                yield matches[index].start(), name


def _python_names(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            yield token.start[0], token.string


def _lua_names(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        for match in _IDENTIFIER.finditer(_LUA_TEXT.sub(" ", line)):
            yield number, match[0]


def _report(found: Iterable[Finding]) -> Iterator[str]:
    def package(finding: Finding) -> str:
        parts = finding.path.split("/")
        return "/".join(parts[:-1][:2]) if parts[0] == "tests" else parts[0]

    for name, group in groupby(sorted(found, key=lambda one: (package(one), one)), key=package):
        rows = list(group)
        yield f"\n## {name}: {len(rows)}\n"
        yield from (f"{row.path}:{row.line}: {row.word}: {row.text[:110]}" for row in rows)


if __name__ == "__main__":
    tree = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    sys.stdout.writelines(f"{line}\n" for line in _report(findings(tree, read_glossary(page))))
