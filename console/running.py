"""The `segue up` of a data directory, as others find it: which Redis and which Track API it uses, and its processes.

`up` writes the file and removes it; `status`, `lanes` and `worker` read it when REDIS_URL is not set, so that they
speak to the embedded Redis without being told.
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
    """A running `segue up`. `pids` by the child's name; `track_url` None: each destination's own region."""

    pid: int
    redis_url: str
    track_url: str | None
    ingest_port: int
    simulator_port: int | None
    pids: dict[str, int]


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
def sole(data_dir: Path) -> Iterator[None]:
    """Be the only `up` on the directory, which is made when absent; the file goes at the end.

    Raises CommandError when another one runs. The lock is the system's, so it ends with the process that has it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = read(data_dir)
            who = f" (process {other.pid})" if other else ""
            raise CommandError(f"another `segue up`{who} runs on {data_dir}: stop it, or set SEGUE_DATA_DIR") from None
        try:
            yield
        finally:
            _file(data_dir).unlink(missing_ok=True)


def redis_url(settings: Settings) -> str:
    """Return the Redis to speak to: the one that is set, else that of the `up` running here, else the default."""
    running = None if "redis_url" in settings.model_fields_set else read(settings.data_dir)
    return running.redis_url if running else settings.redis_url


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return this process's environment, joined to the `up` running here when REDIS_URL is not set."""
    running = None if "redis_url" in settings.model_fields_set else read(settings.data_dir)
    if running is None:
        return dict(os.environ)
    joined = {"REDIS_URL": running.redis_url}
    if running.track_url:
        joined["SEGUE_TRACK_URL"] = running.track_url
    return dict(os.environ) | joined


def _file(data_dir: Path) -> Path:
    return data_dir / "up.json"
