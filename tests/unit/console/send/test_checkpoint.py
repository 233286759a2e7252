"""The checkpoint: replaced in one step, read back whole, refused when it is damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from console.errors import CommandError
from console.send.checkpoint import Checkpoint, Folder
from console.send.rejects import Rejects
from console.send.sorting import Position
from console.send.tally import Tally


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_checkpoint_is_read_as_it_was_saved(folder: Folder) -> None:
    tally = Tally(events=2, types={"track": 2}, first_ms=-5, last_ms=7)
    saved = Checkpoint("i", "u", "sending", 1, 2, ["run-1"], 1, tally, 2, Position(-5, 1, 2), 1, 10)

    folder.save(saved)

    assert folder.load("i", "u") == saved


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_checkpoint_before_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    folder.save(Checkpoint("i", "u", acknowledged=1))

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os if fails == "fsync" else Path, fails, fail)
        with pytest.raises(OSError, match="the disk is full"):
            folder.save(Checkpoint("i", "u", acknowledged=2))

    assert folder.load("i", "u").acknowledged == 1


def test_a_damaged_checkpoint_is_refused(folder: Folder) -> None:
    (folder.path / "checkpoint.json").write_text('{"input": "i"')

    with pytest.raises(CommandError, match="is no checkpoint; name another directory with --work, or remove this one"):
        folder.load("i", "u")


def test_rejects_behind_the_checkpoint_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    with Rejects(path, 0) as rejects:
        rejects.add("a", 1, "type", "no")
        length = rejects.sync()
        rejects.add("a", 2, None, "lost with the process")
    with Rejects(path, length) as rejects:
        rejects.add("a", 2, None, "again")

    assert path.read_text().splitlines() == [
        '{"file":"a","number":1,"field":"type","reason":"no"}',
        '{"file":"a","number":2,"reason":"again"}',
    ]
    assert path.stat().st_mode & 0o077 == 0


def test_rejects_that_were_removed_do_not_come_back_as_zeros(tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    with Rejects(path, 1000) as rejects:
        rejects.add("a", 1, None, "no")

    assert path.read_bytes() == b'{"file":"a","number":1,"reason":"no"}\n'
