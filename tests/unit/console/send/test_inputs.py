"""The files of an input."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from console.errors import CommandError
from console.send import inputs
from console.send.inputs import CSV_SUFFIXES, JSON_SUFFIXES


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A directory as Segment's archive has it, with files of other programs."""
    root = tmp_path / "archive"
    for name in ("segment-logs/b/1704067200000/2.gz", "segment-logs/a/1704067200000/1.gz", "more.jsonl"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "README.txt").write_text("about")
    (root / ".state.json").write_text("{}")
    return root


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_files_of_a_tree_have_names_below_it_and_are_sorted_by_them(archive: Path, scheme: str) -> None:
    found = inputs.find(f"{scheme}{archive}", JSON_SUFFIXES)

    names = ["more.jsonl", "segment-logs/a/1704067200000/1.gz", "segment-logs/b/1704067200000/2.gz"]
    assert [each.name for each in found.inputs] == names
    assert found.skipped == ("README.txt",)
    with found.inputs[1].open() as file:
        assert file.read() == names[1].encode()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_file_that_is_named_itself_may_have_any_name(archive: Path, scheme: str) -> None:
    (found,) = inputs.find(f"{scheme}{archive}/README.txt", JSON_SUFFIXES).inputs

    assert (found.name, found.size) == ("README.txt", 5)
    assert abs(found.modified_ms - (archive / "README.txt").stat().st_mtime_ns // 1_000_000) < 1


def test_a_directory_without_events_says_which_names_are_read(archive: Path) -> None:
    (archive / "segment-logs").rename(archive.parent / "others")

    with pytest.raises(CommandError, match=r"there is no file whose name ends in \.csv, \.gz"):
        inputs.find(str(archive), CSV_SUFFIXES)
    with pytest.raises(FileNotFoundError):
        inputs.find(str(archive / "absent"), CSV_SUFFIXES)


def test_a_directory_that_cannot_be_read_is_no_empty_one(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def scanned(path: Any) -> Any:
        if str(path).endswith("segment-logs/b"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scanned)

    with pytest.raises(PermissionError, match="segment-logs/b"):
        inputs.find(str(archive), JSON_SUFFIXES)


def test_a_bucket_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(CommandError, match=r"needs the packages of the extra `ledger`"):
        inputs.find("s3://bucket/prefix", JSON_SUFFIXES)


def test_an_address_of_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        inputs.find("ftp9://bucket/prefix", JSON_SUFFIXES)


def test_the_digest_differs_when_a_file_was_written_again(archive: Path) -> None:
    before = inputs.digest(inputs.find(str(archive), JSON_SUFFIXES).inputs)
    (archive / "more.jsonl").write_text("other")

    assert inputs.digest(inputs.find(str(archive), JSON_SUFFIXES).inputs) != before
