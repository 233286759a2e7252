"""The data directory of `segue up`: only its user may read what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

# What `segue up` keeps there.
_ENTRIES = ("up.lock", "up.json", "up.json.new", "default.toml", "redis")
# Linux has room for 107 bytes in the address of a socket, macOS for 103.
_LONGEST_SOCKET_BYTES = 103


def make_private(data_dir: Path) -> None:
    """Create the directory, or take from other users the access to it and to the files of `segue up` in it.

    A directory that belongs to another user, or is shared as /tmp is, stays as it is; the files in it do not.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not data_dir.stat().st_mode & stat.S_ISVTX:
        with suppress(PermissionError):
            data_dir.chmod(0o700)
    for entry in (data_dir / name for name in _ENTRIES):
        for path in (entry, *entry.rglob("*")):
            if path.exists() and not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)


@contextmanager
def redis_socket(data_dir: Path) -> Iterator[Path]:
    """Yield the path of the Unix socket of Redis: in the directory, or in a temporary one if the path is too long."""
    path = data_dir.resolve() / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_BYTES:
        yield path
        return
    with TemporaryDirectory(prefix="segue-") as directory:
        yield Path(directory) / "redis.sock"
