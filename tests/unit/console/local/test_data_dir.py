"""The data directory: private when it is made, and made private when it exists."""

from __future__ import annotations

import os
from pathlib import Path

from console.local.data_dir import make_private, redis_socket
from console.local.running import Running, locked, write


def modes(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): f"{path.stat().st_mode & 0o777:o}" for path in directory.rglob("*")}


def test_a_new_directory_and_its_record_are_private(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "directory"

    with locked(data_dir):
        write(data_dir, Running(1, {}, {}, {"REDIS_URL": "redis://redis.example"}))
        assert modes(data_dir)["up.json"] == "600"

    assert f"{data_dir.stat().st_mode & 0o777:o}" == "700"


def test_what_an_earlier_version_left_becomes_private(tmp_path: Path) -> None:
    data_dir = tmp_path / "earlier"
    (data_dir / "redis" / "appendonlydir").mkdir(parents=True)
    (data_dir / "redis" / "appendonlydir" / "appendonly.aof.1.incr.aof").touch()
    for name in ("up.json", "default.toml", "notes.txt"):
        (data_dir / name).touch()

    with locked(data_dir):
        found = modes(data_dir)

    assert f"{data_dir.stat().st_mode & 0o777:o}" == "700"
    open_to_others = {name for name, mode in found.items() if mode not in ("600", "700")}
    assert open_to_others - {"up.lock"} == {"notes.txt"}, "nothing is in the lock file"


def test_a_directory_that_others_use_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "up.json").touch()

    make_private(shared)

    assert f"{shared.stat().st_mode & 0o7777:o}" == "1777"
    assert modes(shared) == {"up.json": "600"}


def test_a_socket_is_in_the_directory_unless_its_path_is_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)

    with redis_socket(tmp_path) as near, redis_socket(deep) as elsewhere:
        directory = elsewhere.parent
        assert near == tmp_path / "redis.sock"
        assert len(os.fsencode(elsewhere)) < 100
        assert f"{directory.stat().st_mode & 0o777:o}" == "700"
    assert not directory.exists()
