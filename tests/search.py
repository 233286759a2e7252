"""A plugin of pytest: no secret of a test (`tests.secrets`) is where it must not be, in the whole run. No line of the
log has a personal value (`tests.people`).

| place | when it is searched |
| --- | --- |
| command lines of all processes, as `ps` shows them | twice a second |
| what commands, processes and endpoints answer to a test | when the test reads it |
| captured output and logs, of processes that inherit it too | at the end of each phase of a test |
| temporary directories that a test removes | before it does |
| files below pytest's directory, and those that processes left: of Segue, of Redis, output | at the end of the run |

Redis of a test appends every write to a file there (`tests.secrets.RECORDED`). The environment of a process is not
searched: secrets are there on purpose, and only its user and root read it.

What is found fails the run. Its summary names the places, and says how many were searched.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from typer.testing import CliRunner
from zstandard import FRAME_HEADER, ZstdCompressionDict, ZstdDecompressor, ZstdError

import mapping
from tests import people, secrets

_SAMPLE_S: Final = 0.5
_PART_BYTES: Final = 4096
_DICTIONARY: Final = ZstdCompressionDict(Path(mapping.__file__).with_name("event-32769.zdict").read_bytes())
_DECOMPRESSOR: Final = ZstdDecompressor(dict_data=_DICTIONARY)
_READ: Final[list[tuple[Any, str, Callable[[Any], Any]]]] = [
    (pytest.CaptureFixture, "readouterr", "".join),
    (CliRunner, "invoke", lambda result: result.output),
    (subprocess.Popen, "communicate", lambda outputs: b"".join(map(_encoded, outputs))),
    (httpx.Response, "read", bytes),
]


class Search:
    """What one process of pytest searched and found."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.searched: Counter[str] = Counter()

    def in_output(self, output: str | bytes, where: str) -> None:
        """Search what a process wrote."""
        data = _encoded(output)
        self.searched["outputs"] += 1
        self._add(secrets.found_in(data), "secret", where)
        self._in_log(data, where)

    def in_files(self, directory: Path) -> None:
        """Search the files of a directory, and the modes of what is in a `data`, the directory of a `segue up`.

        The configuration of a test, a `*.toml`, may have secrets.
        """
        for path in directory.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.suffix != ".toml" and path.stat().st_size:
                self._in_file(path, f"the file {path.relative_to(directory)}")
            if "data" in path.relative_to(directory).parts and path.lstat().st_mode & 0o77 and not path.is_symlink():
                self.found.add(f"mode {path.stat().st_mode & 0o777:o} of {path}")

    def in_command_lines(self) -> None:
        """Search the arguments of all processes."""
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = file.read_bytes()
            except OSError:
                continue  # it has ended
            self.searched["arguments"] += 1
            shown = arguments.replace(b"\0", b" ").replace(secrets.MARK.encode(), b"*").decode(errors="replace")
            self._add(secrets.found_in(arguments), "secret", f"the arguments of a process: {shown[:200]}")

    def _in_file(self, path: Path, where: str) -> None:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            self.searched.update(files=1, bytes=len(data))
            self._add(secrets.found_in(data), "secret", where)
            for text in _decompressed(data):
                self.searched["compressed texts"] += 1
                self._add(secrets.found_in(text), "secret", f"what is compressed in {where}")
            if path.suffix != ".aof":
                self._in_log(data, where)

    def _in_log(self, data: bytes | mmap.mmap, where: str) -> None:
        for line in people.lines_in(data):
            self.searched["lines of logs"] += 1
            self._add(people.found_in(line), "personal value", f"a line of the log, in {where}")

    def _add(self, names: set[str], kind: str, where: str) -> None:
        self.found.update(f"{kind} {name} in {where}" for name in names)


def _encoded(output: str | bytes | None) -> bytes:
    return output.encode(errors="replace") if isinstance(output, str) else output or b""


def _decompressed(data: mmap.mmap) -> Iterator[bytes]:
    """Yield the content of each frame of zstd: an event, an entry of the delivery log, a spill file."""
    offset = data.find(FRAME_HEADER)
    while offset >= 0:
        frame, parts, end = _DECOMPRESSOR.decompressobj(), [], offset
        try:
            while not frame.eof and end < len(data):
                parts.append(frame.decompress(data[end : end + _PART_BYTES]))
                end += _PART_BYTES
        except ZstdError:
            pass  # what only looks like a frame, or a file that a test damaged
        yield b"".join(parts)
        offset = data.find(FRAME_HEADER, offset + 1)


def _watch(search: Search, patch: pytest.MonkeyPatch) -> None:
    """Search what the methods of `_READ` return, and temporary directories before they are removed."""
    for owner, name, text_of in _READ:
        patch.setattr(owner, name, _searched(search, owner, name, text_of))
    cleanup = tempfile.TemporaryDirectory.cleanup

    def searched_cleanup(directory: tempfile.TemporaryDirectory[str]) -> None:
        search.in_files(Path(directory.name))
        cleanup(directory)

    patch.setattr(tempfile.TemporaryDirectory, "cleanup", searched_cleanup)


def _searched(search: Search, owner: Any, name: str, text_of: Callable[[Any], Any]) -> Callable[..., Any]:
    method = getattr(owner, name)

    @wraps(method)
    def searched(*given: Any, **named: Any) -> Any:
        result = method(*given, **named)
        test = os.environ.get("PYTEST_CURRENT_TEST", "").replace(secrets.MARK, "*")
        search.in_output(text_of(result), f"what {owner.__name__}.{name} returned to {test}")
        return result

    return searched


class _Process:
    """A process of pytest that runs tests. One of pytest-xdist gives what it found to the one that reports."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._patch = pytest.MonkeyPatch()

    def pytest_sessionstart(self) -> None:
        _watch(self._search, self._patch)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._patch.undo()
        if hasattr(session.config, "workeroutput"):
            result = {"found": [*self._search.found], "searched": dict(self._search.searched)}
            session.config.workeroutput["search"] = result | {"secrets": [*secrets.given]}


class _Run:
    """The process of pytest that gets all reports."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._others = _temporary_directories()
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def pytest_sessionstart(self) -> None:
        self._sampler.start()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for title, text in report.sections:
            self._search.in_output(text, f"the {title[:1].lower()}{title[1:]} of {report.nodeid}")

    @pytest.hookimpl(optionalhook=True)  # of pytest-xdist
    def pytest_testnodedown(self, node: Any) -> None:
        if given := getattr(node, "workeroutput", {}).get("search"):
            self._search.found.update(given["found"])
            self._search.searched.update(given["searched"])
            secrets.given.update(given["secrets"])

    @pytest.hookimpl(trylast=True)  # when the processes of pytest-xdist have ended
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._ended.set()
        self._sampler.join()
        self._search.in_files(session.config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
        for left in _temporary_directories() - self._others:
            with suppress(OSError):  # of another run, which may remove it now
                self._search.in_files(left)
        if self._search.found and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        searched = ", ".join(f"{count:,} {what}" for what, count in sorted(self._search.searched.items()))
        terminalreporter.section("secrets", red=bool(self._search.found))
        for each in sorted(self._search.found):
            terminalreporter.line(each)
        terminalreporter.line(f"{len(self._search.found)} found of {len(secrets.given)} secrets in {searched}")

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self._search.in_command_lines()
        self._search.in_command_lines()


def _temporary_directories() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("segue-*"))


def pytest_configure(config: pytest.Config) -> None:
    """Search in each process of pytest; report in the one that is not of pytest-xdist."""
    search = Search()
    config.pluginmanager.register(_Process(search))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Run(search))
