"""The `segue up` of a data directory, as others find it: which Redis and which Track API it uses, and its processes.

`up` writes the file and removes it; the other commands read it when REDIS_URL is not set, so that they join in without
being told.
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
from settings import Settings


@dataclass(frozen=True, slots=True)
class Running:
    """A running `segue up`: its process, those of its children by name, the ports they listen on by name, and the
    variables that whoever joins in needs (REDIS_URL; SEGUE_TRACK_URL and SEGUE_CONFIG where they are set)."""

    pid: int
    pids: dict[str, int]
    ports: dict[str, int]
    environment: dict[str, str]


def read(data_dir: Path) -> Running | None:
    """Return what runs on the directory; None when nothing does."""
    try:
        return Running(**orjson.loads(_file(data_dir).read_bytes()))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None


def write(data_dir: Path, running: Running) -> None:
    """Say what runs on the directory, all at once for whoever reads meanwhile."""
    draft = data_dir / "up.json.new"
    draft.write_bytes(orjson.dumps(asdict(running), option=orjson.OPT_INDENT_2))
    draft.replace(_file(data_dir))


@contextmanager
def sole(data_dir: Path) -> Iterator[int]:
    """Be the only `up` on the directory, which is made when absent; yield the file that says so, for the children to
    keep open. `up.json` goes at the end.

    Raises CommandError when another one runs, or when one was killed and left processes behind.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
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
    """Return the variables that join a process to the `up` running here; none when REDIS_URL is set or none runs."""
    running = None if "redis_url" in settings.model_fields_set else read(settings.data_dir)
    return running.environment if running else {}


def _occupied(data_dir: Path) -> str:
    other = read(data_dir)
    if other is None:
        return f"another `segue up` starts or stops on {data_dir}; wait, or set SEGUE_DATA_DIR"
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        pids = " ".join(str(pid) for pid in other.pids.values())
        return f"a killed `segue up` left processes that use {data_dir}; end them with: kill {pids}"
    return f"another `segue up` (process {other.pid}) runs on {data_dir}; stop it, or set SEGUE_DATA_DIR"


def _file(data_dir: Path) -> Path:
    return data_dir / "up.json"
