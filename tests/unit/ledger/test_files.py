"""Files replace one another as a whole, wherever a process is killed; small ones are merged, old ones are removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ledger import compaction
from ledger.files import Files, Hour
from ledger.storage import Storage, storage_of
from tests.ledgers import HOUR_MS, NOON_MS, all_rows, files_in, row, table_of


class Killed(BaseException):
    """The process is killed here."""


def hour_with_files(files: Files, *groups: list[int], at_ms: int = NOON_MS) -> Hour:
    hour = files.hour_of(at_ms)
    for numbers in groups:
        files.add(hour, table_of(row(number, at_ms) for number in numbers))
    return files.hour_of(at_ms)


@contextmanager
def killed_at(storage: Storage, step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kill the process at a step: before it writes or removes the file with this number."""
    steps = iter(range(100))

    def counted(function: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: object) -> None:
            if next(steps) == step:
                raise Killed
            function(*arguments)

        return run

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(storage, "write", counted(storage.write))
        patch.setattr(storage, "remove", counted(storage.remove))
        yield


def sequences(location: str) -> list[int]:
    return sorted(each.sequence for each in all_rows(location))


def test_the_rows_of_a_file_are_in_the_order_of_their_digests(location: str) -> None:
    files = files_in(location)
    (file,) = hour_with_files(files, list(range(100))).files

    digests = files.table(file).column("digest").to_pylist()

    assert digests == sorted(digests)
    assert len(files.ids(file)) == 100
    assert file.name.startswith("destination=q/day=2026-11-29/hour=12/")
    assert files.storage.directories("destination=q/day=2026-11-29") == ["destination=q/day=2026-11-29/hour=12"]


@pytest.mark.parametrize("step", range(12))
def test_a_process_that_is_killed_while_files_are_replaced_loses_nothing(
    location: str, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    files = files_in(location)
    hour = hour_with_files(files, [1, 2], [3, 4], [5])
    with killed_at(files.storage, step, monkeypatch):
        compaction.compact(files, hour)
    files_in(location).recover()

    assert sequences(location) == [1, 2, 3, 4, 5]
    hour = files.hour_of(NOON_MS)
    assert len(hour.files) in (1, 3)
    stored = files.storage.files("")
    assert len(stored) == 2 * len(hour.files), "each file has its index, and there is no other"
    compaction.compact(files, hour)
    assert len(files.hour_of(NOON_MS).files) == 1


@pytest.mark.parametrize("step", range(3))
def test_a_process_that_is_killed_while_a_file_is_added_leaves_the_whole_file_or_none(
    location: str, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    files = files_in(location)

    with killed_at(files.storage, step, monkeypatch):
        hour_with_files(files, [1, 2])
    files_in(location).recover()

    assert (sequences(location), len(files.storage.files(""))) in (([], 0), ([1, 2], 2))


def test_a_directory_has_no_part_of_a_file_that_was_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_of(str(tmp_path))

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            storage.write("destination=q/a", b"content")

    assert storage.files("destination=q") == []
    files_in(tmp_path).recover()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_past_hours_are_merged_and_the_present_one_is_not(location: str) -> None:
    files = files_in(location)
    for number in range(4):
        hour_with_files(files, [10 * number], [10 * number + 1], at_ms=NOON_MS + number * HOUR_MS)
    now_ms = NOON_MS + 3 * HOUR_MS + 60_000  # the hour before ended a minute ago: entries of it may still be written

    due = compaction.due(files, now_ms, 80)
    merged = [compaction.compact(files, hour) for hour in due]

    assert [hour.starts_ms for hour in due] == [NOON_MS + HOUR_MS, NOON_MS]
    assert merged == [1, 1]
    assert sequences(location) == [0, 1, 10, 11, 20, 21, 30, 31]
    assert compaction.due(files, now_ms, 80) == []


def test_a_merged_file_has_a_limit(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MOST_KEYS", 10)
    files = files_in(location)
    hour = hour_with_files(files, [1, 2], [3, 4], [5, 6], [7, 8], [9, 10])

    compaction.compact(files, hour)

    assert sorted(files.table(file).num_rows for file in files.hour_of(NOON_MS).files) == [2, 4, 4]
    assert sequences(location) == list(range(1, 11))


def test_days_that_are_over_their_age_are_removed(location: str) -> None:
    files = files_in(location)
    for number in range(3):
        hour_with_files(files, [number], at_ms=NOON_MS + number * HOUR_MS)

    files.remove_before(NOON_MS + 2 * HOUR_MS)

    assert sequences(location) == [2]
    files.remove_before(NOON_MS + 24 * HOUR_MS)
    assert files.storage.directories(files.root) == []


def test_an_id_that_is_in_two_files_is_merged_into_one(location: str) -> None:
    """A process that stalls longer than it owns the ledger may write entries that the next one has written."""
    files = files_in(location)
    hour = hour_with_files(files, [1, 2], [1, 2, 3])

    compaction.compact(files, hour)

    assert sequences(location) == [1, 2, 3]


def test_a_name_of_a_destination_is_one_directory(location: str) -> None:
    files = files_in(location, "../a/b c")
    files.add(files.hour_of(NOON_MS), table_of([row(1)]))

    assert set(files.storage.directories("")) - {"unfinished"} == {"destination=..%2Fa%2Fb%20c"}
    assert [each.sequence for each in all_rows(location, "../a/b c")] == [1]
