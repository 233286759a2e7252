"""Files replace one another as a whole, wherever a process is killed; small ones are merged, old ones are removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ledger import compaction
from ledger.files import Files, Hour
from tests.ledgers import HOUR_MS, NOON_MS, QUEUE, all_rows, row, table_of


class Killed(BaseException):
    """The process is killed here."""


def hour_with_files(files: Files, *groups: list[int], at_ms: int = NOON_MS) -> Hour:
    hour = files.hour_of(at_ms)
    for numbers in groups:
        files.add(hour, table_of(row(number, at_ms) for number in numbers))
    return hour


def sequences(directory: Path) -> list[int]:
    return sorted(each.sequence for each in all_rows(directory))


def test_the_rows_of_a_file_are_in_the_order_of_their_digests(tmp_path: Path) -> None:
    files = Files(tmp_path, QUEUE)
    (file,) = hour_with_files(files, list(range(100))).files()

    digests = file.table().column("digest").to_pylist()

    assert digests == sorted(digests)
    assert len(file.ids()) == 100
    assert file.path.parent == tmp_path / "destination=q" / "day=2026-11-29" / "hour=12"


@pytest.mark.parametrize("step", range(12))
def test_a_process_that_is_killed_while_files_are_replaced_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    files = Files(tmp_path, QUEUE)
    hour = hour_with_files(files, [1, 2], [3, 4], [5])
    steps = iter(range(100))

    def counted(function: object) -> object:
        def run(*arguments: object, **options: object) -> object:
            if next(steps) == step:
                raise Killed
            return function(*arguments, **options)  # type: ignore[operator]

        return run

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted(os.replace))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        try:
            compaction.compact(files, hour)
        except Killed:
            Files(tmp_path, QUEUE).recover()

    assert sequences(tmp_path) == [1, 2, 3, 4, 5]
    assert len(hour.files()) in (1, 3)
    assert len(list(hour.path.iterdir())) == 2 * len(hour.files()), "each file has its index, and there is no other"
    assert not (files.root / "replacing.json").exists()
    compaction.compact(files, hour)
    assert len(hour.files()) == 1


@pytest.mark.parametrize("step", range(4))
def test_a_process_that_is_killed_while_a_file_is_added_leaves_the_whole_file_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    files, steps, replace = Files(tmp_path, QUEUE), iter(range(100)), os.replace

    def killed(*paths: Path) -> None:
        if next(steps) == step:
            raise Killed
        replace(*paths)

    monkeypatch.setattr(os, "replace", killed)
    try:
        hour_with_files(files, [1, 2])
    except Killed:
        Files(tmp_path, QUEUE).recover()

    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert (sequences(tmp_path), len(found)) in (([], 0), ([1, 2], 2))


def test_past_hours_are_merged_and_the_present_one_is_not(tmp_path: Path) -> None:
    files = Files(tmp_path, QUEUE)
    for number in range(4):
        hour_with_files(files, [10 * number], [10 * number + 1], at_ms=NOON_MS + number * HOUR_MS)
    now_ms = NOON_MS + 3 * HOUR_MS + 60_000  # the hour before ended a minute ago: entries of it may still be written

    due = compaction.due(files, now_ms, 80)
    merged = [compaction.compact(files, hour) for hour in due]

    assert [hour.starts_ms for hour in due] == [NOON_MS + HOUR_MS, NOON_MS]
    assert merged == [1, 1]
    assert sequences(tmp_path) == [0, 1, 10, 11, 20, 21, 30, 31]
    assert compaction.due(files, now_ms, 80) == []


def test_a_merged_file_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MOST_ROWS", 5)
    files = Files(tmp_path, QUEUE)
    hour = hour_with_files(files, [1, 2], [3, 4], [5, 6], [7, 8], [9, 10])

    compaction.compact(files, hour)

    assert sorted(file.table().num_rows for file in hour.files()) == [2, 4, 4]
    assert sequences(tmp_path) == list(range(1, 11))


def test_days_that_are_over_their_age_are_removed(tmp_path: Path) -> None:
    files = Files(tmp_path, QUEUE)
    for number in range(3):
        hour_with_files(files, [number], at_ms=NOON_MS + number * HOUR_MS)

    assert files.remove_before(NOON_MS + 2 * HOUR_MS) == 2

    assert sequences(tmp_path) == [2]
    files.remove_before(NOON_MS + 24 * HOUR_MS)
    assert list(files.root.iterdir()) == []


def test_a_name_of_a_destination_is_one_directory(tmp_path: Path) -> None:
    files = Files(tmp_path, "../a/b c")
    files.add(files.hour_of(NOON_MS), table_of([row(1)]))

    assert [path.name for path in tmp_path.iterdir() if path.name != "unfinished"] == ["destination=..%2Fa%2Fb%20c"]
