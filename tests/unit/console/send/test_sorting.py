"""The external sort against the sort of a list."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from console.send import sorting
from console.send.sorting import START, Buffer, Event, Position


def write_runs(folder: Path, events: list[Event], most_bytes: int) -> list[str]:
    buffer, names = Buffer(most_bytes), []
    for number, event in enumerate(events):
        buffer.add(event)
        if buffer.is_full or number == len(events) - 1:
            names.append(f"run-{len(names)}")
            buffer.write(folder / names[-1])
    return names


def sample(seed: int, count: int) -> list[Event]:
    chance = random.Random(seed)
    times = [chance.choice([-5, 0, 1, 1_704_067_200_000 + chance.randrange(50)]) for _ in range(count)]
    return [Event(Position(time, n // 100, n), chance.randbytes(chance.randrange(90))) for n, time in enumerate(times)]


@pytest.mark.parametrize("seed", range(5))
def test_a_sort_with_little_memory_is_that_of_a_list(tmp_path: Path, seed: int) -> None:
    events = sample(seed, 800)
    names = write_runs(tmp_path, events, most_bytes=5_000)

    found = list(sorting.merged([tmp_path / name for name in names], START))

    assert len(names) > 20
    assert found == sorted(events)


def test_events_of_equal_times_keep_the_order_of_their_files_and_lines(tmp_path: Path) -> None:
    events = [Event(Position(7, file, number), b"%d" % -number) for file in range(3) for number in range(50)]
    names = write_runs(tmp_path, events, most_bytes=3_000)

    assert list(sorting.merged([tmp_path / name for name in reversed(names)], START)) == events


def test_a_merge_goes_on_behind_any_event(tmp_path: Path) -> None:
    events = sorted(sample(1, 300))
    paths = [tmp_path / name for name in write_runs(tmp_path, sample(1, 300), most_bytes=5_000)]

    for index in range(0, 300, 37):
        assert list(sorting.merged(paths, events[index].position)) == events[index + 1 :]


def test_a_run_has_its_name_only_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="the disk is full"):
        sorting.write(tmp_path / "run-1", sample(3, 10))

    assert not (tmp_path / "run-1").exists()
