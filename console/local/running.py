"""The record `up.json` of a running `segue up` in its data directory: its processes, ports and shared variables.

`segue up` writes and removes it. Other commands read it, and so use the same Redis and the same simulator. They do not
when REDIS_URL names another Redis.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from console.errors import CommandError
from console.local.data_dir import make_private
from lanes.server.redis_url import without_credentials
from settings import Settings


@dataclass(frozen=True, slots=True)
class Running:
    """A running `segue up`: its process id, those of its children by name, their ports by name, and the variables that
    other commands need to use the same queues."""

    pid: int
    pids: dict[str, int]
    ports: dict[str, int]
    environment: dict[str, str]


def read(data_dir: Path) -> Running | None:
    """Return the `segue up` that runs on the directory, None when there is none."""
    try:
        return Running(**orjson.loads(_file(data_dir).read_bytes()))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None


def write(data_dir: Path, running: Running) -> None:
    """Write the record atomically: a reader sees the old one or the new one."""
    draft = data_dir / "up.json.new"
    draft.touch(mode=0o600)
    draft.write_bytes(orjson.dumps(asdict(running), option=orjson.OPT_INDENT_2))
    draft.replace(_file(data_dir))


@contextmanager
def locked(data_dir: Path) -> Iterator[int]:
    """Make the directory private and lock it for one `segue up`; remove `up.json` at the end.

    Yields the descriptor of the lock file. Children inherit it, so that the lock lasts until all of them have ended.

    Raises CommandError: another `segue up` has the lock, or the children of a killed one have.
    """
    make_private(data_dir)
    with (data_dir / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(_occupied(data_dir)) from None
        try:
            yield lock.fileno()
        finally:
            _file(data_dir).unlink(missing_ok=True)


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables of the `segue up` on the data directory; none when none is running there, or REDIS_URL names
    another Redis. The URL is recorded without the password, which REDIS_URL must then give."""
    running = read(settings.data_dir)
    if running is None:
        return {}
    is_other = without_credentials(settings.redis_url) != running.environment.get("REDIS_URL")
    return {} if "redis_url" in settings.model_fields_set and is_other else running.environment


def _occupied(data_dir: Path) -> str:
    other = read(data_dir)
    if other is None:
        return f"another `segue up` is starting or stopping on {data_dir}; wait, or set SEGUE_DATA_DIR"
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        pids = " ".join(str(pid) for pid in other.pids.values())
        return f"processes of a killed `segue up` still use {data_dir}; end them with: kill {pids}"
    return f"another `segue up` (process {other.pid}) runs on {data_dir}; stop it, or set SEGUE_DATA_DIR"


def _file(data_dir: Path) -> Path:
    return data_dir / "up.json"
