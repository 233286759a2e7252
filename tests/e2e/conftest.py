"""`segue` commands as processes, as an operator starts them: with free ports, a new data directory, and no terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import orjson
import pytest

from console import status
from console.local.running import read
from console.session import Session
from tests.pipeline import free_port, wait_until

_NOT_INHERITED = ("REDIS_URL", "CUSTOMERIO_SITE_ID", "CUSTOMERIO_API_KEY")
# Modules of another project.
_FOREIGN = ("settings", "console", "simulator", "ingest", "lanes", "mapping", "celery", "redis", "uvicorn")
_STOP_S = 60.0
_COMMAND_S = 180.0


def clean_environment(**variables: str) -> dict[str, str]:
    """Return the environment of this process without variables that Segue reads, plus `variables`."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SEGUE_") and name not in _NOT_INHERITED
    }
    return inherited | variables


def segue(
    *arguments: str,
    environment: dict[str, str],
    given: str = "",
    stdout: Any = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with `given` on its stdin."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "console.cli", *arguments],
        env=environment,
        input=given,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=_COMMAND_S,
        check=False,
    )


def foreign_project(directory: Path) -> Path:
    """Make a directory with modules and a package that fail, and leave a trace, when they are imported."""
    (directory / "workers").mkdir(parents=True)
    for name in (*_FOREIGN, "workers/__init__", "workers/app"):
        (directory / f"{name}.py").write_text(f"open({str(directory / 'EXECUTED')!r}, 'a').write({name!r}); 1 / 0")
    return directory


class Up:
    """A running `segue up`, started in `working_directory`."""

    def __init__(self, directory: Path, working_directory: Path | None = None, **variables: str) -> None:
        self._working_directory = working_directory
        self.data_dir = directory / "data"
        self.ingest_url = f"http://127.0.0.1:{free_port()}"
        self.simulator_url = f"http://127.0.0.1:{free_port()}"
        self.environment = clean_environment(
            SEGUE_DATA_DIR=str(self.data_dir),
            SEGUE_INGEST_PORT=self.ingest_url.rpartition(":")[2],
            SEGUE_CONSOLE_PORT=str(free_port()),
            SEGUE_SIMULATOR_PORT=self.simulator_url.rpartition(":")[2],
            SEGUE_RETRY_BASE_S="0.05",
            SEGUE_SETTLE_S="0.05",
            SEGUE_LEASE_S="5",
            SEGUE_SWEEP_S="0.25",
            **variables,
        )
        self.console_url = f"http://127.0.0.1:{self.environment['SEGUE_CONSOLE_PORT']}"
        self._output = directory / "output"

    def __enter__(self) -> Self:
        with self._output.open("wb") as output:
            command = [sys.executable, "-P", "-m", "console.cli", "up"]
            self.process = subprocess.Popen(
                command,
                cwd=self._working_directory,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: "ready" in self.lines() or self.process.poll() is not None, "`segue up` is ready")
            assert self.process.poll() is None, self._output.read_text()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def lines(self) -> list[str]:
        """Return the lines of output so far."""
        return self._output.read_text().splitlines()

    def pids(self) -> dict[str, int]:
        """Return the process ids of the children, by name."""
        running = read(self.data_dir)
        assert running is not None
        return running.pids

    def shared(self) -> dict[str, str]:
        """Return the variables that its processes share."""
        running = read(self.data_dir)
        assert running is not None
        return running.environment

    def status(self) -> dict[str, Any]:
        """Return what `segue status --json` prints in the environment of this `segue up`, without a process."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            session = Session.join()
            with session.client:
                figures: dict[str, Any] = orjson.loads(orjson.dumps(status.gather(session)))
        return figures

    def people(self) -> dict[str, dict[str, Any]]:
        """Return the people at the simulator, by id."""
        people = httpx.get(f"{self.simulator_url}/_sim/people").json()["people"]
        return {person["id"]: person for person in people}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One `segue up` for the tests of a module: each uses people of its own and compares figures with those before."""
    with Up(tmp_path_factory.mktemp("up")) as running:
        yield running
