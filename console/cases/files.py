"""Case files: found, read, and written again.

A file has one case as JSON, a list of them, or one in each line (`.jsonl`). A file of which no case changes keeps its
bytes. A changed file keeps the order of its members and its indentation.
"""

from __future__ import annotations

import json
import os
import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from console.cases import case
from console.cases.case import Case, Fault
from console.cases.positions import line_of
from console.errors import CommandError
from mapping.envelope import JsonObject

SUFFIXES: Final = (".json", ".jsonl")
_YAML: Final = (".yaml", ".yml")
_INDENT = re.compile(r"^[\[{]\s*\n([ \t]+)")


class Entry(NamedTuple):
    """A value of a file that is a case: its text, the line at which that begins, and its path in the text."""

    text: str
    line: int  # from 1
    path: case.Path
    value: Any

    def located(self, fault: Fault) -> str:
        """Return a fault with its line in the file."""
        there = fault._replace(path=(*self.path, *fault.path))
        return f"line {self.line + line_of(self.text, there.path) - 1}: {there}"


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A file that was read. `faults` are lines such as `cases/a.json, line 3: …`; a file with any has no cases."""

    path: Path
    entries: tuple[Entry, ...] = ()
    cases: tuple[Case, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The path as a text; what is no UTF-8 in it is replaced."""
        return os.fsencode(self.path).decode(errors="replace")


def found(paths: Iterable[Path]) -> list[Path]:
    """Return the files, and those of the directories, sorted, each once. Hidden files of directories are left out.

    YAML is among them, so that it is a fault and not left out. Raises CommandError: a directory has no case file.
    """
    files: dict[Path, None] = {}
    for path in paths:
        inner = _in_directory(path) if path.is_dir() else [path]
        if not inner:
            raise CommandError(f"{path}: has no case files; their names end with {' or '.join(SUFFIXES)}")
        files |= dict.fromkeys(inner)
    return list(files)


def _in_directory(root: Path) -> list[Path]:
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix in (*SUFFIXES, *_YAML)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )


def are_cases(path: Path) -> bool:
    """Whether the path is a directory or a file of cases, by its form. An event is an object with a text as `event`."""
    if path.is_dir() or path.suffix in (".jsonl", *_YAML):
        return True
    try:
        value = orjson.loads(path.read_bytes().removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError:
        return False
    if isinstance(value, list):
        return any(isinstance(item, dict) for item in value)
    return isinstance(value, dict) and ("expect" in value or isinstance(value.get("event"), dict))


def read(path: Path, destinations: Collection[str], sources: Collection[str]) -> CaseFile:
    """Return a file with its cases, or with its faults. The names are those of the configuration."""
    name = CaseFile(path).name
    if path.suffix in _YAML:
        return CaseFile(path, faults=(f"{name}: is YAML; a case file is JSON, and its name ends with .json or .jsonl",))
    try:
        entries = list(entries_of(path))
    except UnicodeDecodeError:
        return CaseFile(path, faults=(f"{name}: is not UTF-8",))
    except Unreadable as error:
        return CaseFile(path, faults=(f"{name}, line {error.line}: {error}",))
    faults = [
        f"{name}, {entry.located(fault)}"
        for entry in entries
        for fault in case.faults(entry.value, destinations, sources)
    ]
    if not entries:
        faults.append(f"{name}, line 1: has no case")
    if faults:
        return CaseFile(path, faults=tuple(faults))
    names = [Path(name).stem if len(entries) == 1 else f"case {number}" for number in range(1, len(entries) + 1)]
    cases = [case.read(entry.value, name) for entry, name in zip(entries, names, strict=True)]
    return CaseFile(path, tuple(entries), tuple(cases))


def write(file: CaseFile, expectations: Mapping[int, JsonObject]) -> None:
    """Write a file with new expectations, by the index of their case."""
    values = [
        entry.value | {"expect": expectations[index]} if index in expectations else entry.value
        for index, entry in enumerate(file.entries)
    ]
    text = file.path.read_bytes().decode()
    if file.path.suffix == ".jsonl":
        lines = text.split("\n")
        for index in expectations:
            lines[file.entries[index].line - 1] = _json(values[index])
        _replace("\n".join(lines).encode(), file.path)
        return
    match = _INDENT.match(text)
    is_list = bool(file.entries[0].path)
    content = _json(values if is_list else values[0], match[1] if match else "  ")
    _replace(f"{content}\n".encode(), file.path)


def write_new(path: Path, value: JsonObject) -> None:
    """Write a file with one case."""
    _replace(f"{_json(value, '  ')}\n".encode(), path)


def _replace(content: bytes, path: Path) -> None:
    """Write a file as a whole. Raises CommandError: it cannot be written, and stays as it was."""
    target = path.resolve()
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        try:
            unfinished.write_bytes(content)
            if target.exists():
                unfinished.chmod(target.stat().st_mode & 0o777)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror}; it is as it was") from None


class _Twice(Exception):
    """An object has two members of one name, which is the text of this."""


class Unreadable(Exception):
    """A file has no JSON at a line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def entries_of(path: Path) -> Iterator[Entry]:
    """Yield the values of a file: of one JSON text, or of each line. Raises Unreadable and UnicodeDecodeError."""
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield Entry(line, number, (), _parsed(line, number))
        return
    value = _parsed(text, 1)
    if isinstance(value, list):
        yield from (Entry(text, 1, (index,), item) for index, item in enumerate(value))
    else:
        yield Entry(text, 1, (), value)


def _parsed(text: str, first_line: int) -> Any:
    try:
        orjson.loads(text)  # stricter, and with the line of a fault
    except orjson.JSONDecodeError as error:
        raise Unreadable(first_line + error.lineno - 1, f"is not JSON: {error.msg.partition(': line ')[0]}") from None
    try:
        return json.loads(text, object_pairs_hook=_members_once)  # whole numbers of any length
    except _Twice as error:
        raise Unreadable(first_line, f'an object has the member "{error}" twice') from None


def _members_once(pairs: list[tuple[str, Any]]) -> JsonObject:
    """Return the object; raise _Twice when it would lose a member."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found


def _json(value: JsonObject | Sequence[JsonObject], indent: str | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)
