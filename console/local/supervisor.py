"""A supervisor of child processes: start, wait until ready, restart what ended, stop in order.

A child that ends soon after its start is restarted with an increasing delay. Each child has its own session: Ctrl-C
reaches only the supervisor, which then stops the children in its own order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import IO

from console.errors import CommandError

READY_S = 30.0
STOP_S = 20.0
POLL_S = 0.05
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 10.0
_RELOADING = ("ingest", "worker")  # roles whose processes load the configuration again on SIGHUP
# The delay is reset when a child ran for this long.
_STABLE_S = 20.0


@dataclass(frozen=True, slots=True)
class Program:
    """A command to run. `is_ready(pid)` returns whether the process is ready. Programs of one `role` stop together."""

    name: str
    role: str
    arguments: Sequence[str]
    environment: dict[str, str]
    is_ready: Callable[[int], bool]


class Child:
    """The process of a program, and the time of its next restart."""

    def __init__(self, program: Program, output: IO[bytes] | None, kept_open: Sequence[int]) -> None:
        self.program = program
        self.delay_s = _FIRST_DELAY_S
        self.due_at: float | None = None
        self._output = output
        self._kept_open = kept_open
        self.start()

    def start(self) -> None:
        """Start a new process of the program."""
        self.due_at = None
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.program.arguments,
            env=os.environ | {"SEGUE_PROCESS_NAME": self.program.name} | self.program.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
            pass_fds=self._kept_open,
        )

    @property
    def is_alive(self) -> bool:
        """Return whether the process is running."""
        return self.process.poll() is None


class Supervisor:
    """The children in the order of their start. The end of the `with` block stops all of them.

    `report` gets one line when a child ends and one when it is restarted. Children inherit the descriptors `kept_open`.
    """

    def __init__(
        self, report: Callable[[str], None], output: IO[bytes] | None = None, kept_open: Sequence[int] = ()
    ) -> None:
        self.stopping = threading.Event()
        self._children: list[Child] = []
        self._report = report
        self._output = output
        self._kept_open = kept_open

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of running children, by name."""
        return {child.program.name: child.process.pid for child in self._children if child.is_alive}

    def handle_signals(self) -> None:
        """Make SIGINT and SIGTERM set `stopping`. SIGHUP does too when a terminal was closed; else children get it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stopping.set())
        signal.signal(signal.SIGHUP, lambda *_: self.stopping.set() if sys.stdout.isatty() else self._hang_up())

    def _hang_up(self) -> None:
        for child in self._children:
            if child.is_alive and child.program.role in _RELOADING:
                child.process.send_signal(signal.SIGHUP)

    def start(self, *programs: Program) -> None:
        """Start the programs and wait until all of them are ready, or `stopping` is set.

        Raises CommandError: a program ends, or is not ready within READY_S.
        """
        started = [Child(program, self._output, self._kept_open) for program in programs]
        self._children += started
        until = time.monotonic() + READY_S
        for child in started:
            while not child.program.is_ready(child.process.pid) and not self.stopping.is_set():
                if not child.is_alive:
                    reason = _ending(child.process.returncode)
                    raise CommandError(f"{child.program.name} ended during its start ({reason})")
                if time.monotonic() > until:
                    raise CommandError(f"{child.program.name} is not ready after {READY_S:.0f} s")
                self.stopping.wait(POLL_S)

    def restart_ended(self) -> bool:
        """Restart the children that have ended, each after its delay. Return whether a child was restarted."""
        restarted = False
        for child in self._children:
            now = time.monotonic()
            if child.is_alive:
                continue
            if child.due_at is None:
                child.delay_s = _FIRST_DELAY_S if now - child.started_at > _STABLE_S else child.delay_s
                child.due_at = now + child.delay_s
                child.delay_s = min(2 * child.delay_s, _LONGEST_DELAY_S)
                self._report(f"{child.program.name} ended ({_ending(child.process.returncode)})")
            elif now >= child.due_at:
                child.start()
                self._report(f"{child.program.name} restarted")
                restarted = True
        return restarted

    def stop(self) -> None:
        """Terminate all children, the last started role first. Kill those that do not end within STOP_S."""
        for _, role in groupby(reversed(self._children), key=lambda child: child.program.role):
            children = list(role)
            for child in children:
                child.process.terminate()
            until = time.monotonic() + STOP_S
            for child in children:
                try:
                    child.process.wait(max(0.0, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self._report(f"{child.program.name} did not stop within {STOP_S:.0f} s, killing it")
                    child.process.kill()
                    child.process.wait()
        self._children.clear()


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
