"""The checkpoint of a transfer: how far its input was read, and how far its events were acknowledged.

The working directory of a transfer has the checkpoint, the sorted runs and the rejected records. Each new checkpoint
replaces the one before in one step, after what it names is durable. So a process that is killed at any moment leaves a
checkpoint that is true: the next one repeats what came after it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from console.errors import CommandError
from console.send.sorting import START, Position, sync_directory
from console.send.tally import Tally

_NAME: Final = "checkpoint.json"


@dataclass(slots=True)
class Checkpoint:
    """The state of a transfer."""

    input: str  # digest of the files, and of what the columns of a CSV mean
    url: str
    stage: Literal["reading", "sending", "done"] = "reading"
    file: int = 0  # index of the file that was read last
    number: int = 0  # of the last record of it that is in a run or among the rejected
    runs: list[str] = field(default_factory=list)  # names of files
    runs_made: int = 0
    tally: Tally = field(default_factory=Tally)
    acknowledged: int = 0  # events that the endpoint took or refused
    sent_until: Position = START  # the position of the last of them
    refused: int = 0  # events that the endpoint refused
    rejects_bytes: int = 0  # length of the file of rejected records

    @property
    def rejected(self) -> int:
        """How many records were not sent or not taken."""
        return self.tally.rejected + self.refused


_ADAPTER = TypeAdapter(Checkpoint)


class Folder:
    """The working directory of a transfer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rejects = path / "rejected.jsonl"
        self.runs = path / "sorted"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the directory, and use it alone. Raises CommandError: it cannot be made, or is in use."""
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            text = f"the working directory {self.path} cannot be written: {error.strerror}"
            raise CommandError(f"{text}; name another one with --work") from None
        try:
            _lock(descriptor, self.path)
            yield
        finally:
            os.close(descriptor)

    def load(self, input_digest: str, url: str) -> Checkpoint:
        """Return the checkpoint, a new one when there is none. Raises CommandError: it is that of another transfer.

        The address may differ until the first event is acknowledged.
        """
        try:
            found = _ADAPTER.validate_json((self.path / _NAME).read_bytes())
        except FileNotFoundError:
            return Checkpoint(input_digest, url)
        except ValidationError:
            raise CommandError(f"{self.path / _NAME} is no checkpoint; {self._remedy}") from None
        if found.input != input_digest:
            raise CommandError(f"the input or its columns changed since {self.path} was made; {self._remedy}")
        if found.url != url and found.acknowledged:
            raise CommandError(f"{self.path} belongs to a transfer to {found.url}; {self._remedy}")
        found.url = url
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint in one step, and make it durable."""
        unfinished = self.path / f"{_NAME}.tmp"
        with unfinished.open("wb") as file:
            file.write(_ADAPTER.dump_json(checkpoint, indent=2))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path / _NAME)
        sync_directory(self.path)

    def remove_other_runs(self, names: list[str]) -> None:
        """Remove the runs that the checkpoint does not name: they are merged, sent or incomplete."""
        for path in self.runs.iterdir():
            if path.name not in names:
                path.unlink()

    @property
    def _remedy(self) -> str:
        return "name another directory with --work, or remove this one to begin again"


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError(f"another `segue send` uses {path}; wait for its end") from None
