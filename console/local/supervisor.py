"""Child processes kept alive: started, asked whether they answer, started again when they die, stopped in order.

A child that dies soon after its start waits longer each time before it is started again. Children are in sessions of
their own, so that Ctrl-C reaches the supervisor alone and the order of stopping is its own; `kept_open` are files that
they inherit.
"""

from __future__ import annotations

import os
import signal
import subprocess
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
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
# A child that lived this long had nothing wrong with its start.
_SETTLED_S = 20.0


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `answers(pid)` says whether the process does its work; those of one `role` stop together."""

    name: str
    role: str
    arguments: Sequence[str]
    environment: dict[str, str]
    answers: Callable[[int], bool]


class Child:
    """A program's process, and when it may be started again."""

    def __init__(self, program: Program, output: IO[bytes] | None, kept_open: Sequence[int]) -> None:
        self.program = program
        self.wait_s = _FIRST_WAIT_S
        self.due_at: float | None = None
        self._output = output
        self._kept_open = kept_open
        self.start()

    def start(self) -> None:
        self.due_at = None
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.program.arguments,
            env=os.environ | self.program.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
            pass_fds=self._kept_open,
        )

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None


class Supervisor:
    """The children, in the order in which they were started; leaving the `with` stops them all.

    `say` is told, in one line each, when a child dies and when it is started again.
    """

    def __init__(
        self, say: Callable[[str], None], output: IO[bytes] | None = None, kept_open: Sequence[int] = ()
    ) -> None:
        self.stopping = threading.Event()
        self._children: list[Child] = []
        self._say = say
        self._output = output
        self._kept_open = kept_open

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of those that live, by name."""
        return {child.program.name: child.process.pid for child in self._children if child.is_alive}

    def obey_signals(self) -> None:
        """Make SIGINT and SIGTERM set `stopping`."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stopping.set())

    def start(self, *programs: Program) -> None:
        """Start the programs and return when all of them answer, or when it is time to stop.

        Raises CommandError when one ends instead, or does not answer in time.
        """
        started = [Child(program, self._output, self._kept_open) for program in programs]
        self._children += started
        until = time.monotonic() + READY_S
        for child in started:
            while not child.program.answers(child.process.pid) and not self.stopping.is_set():
                if not child.is_alive:
                    raise CommandError(f"{child.program.name} ended at its start ({_ending(child.process.returncode)})")
                if time.monotonic() > until:
                    raise CommandError(f"{child.program.name} does not answer within {READY_S:.0f} s")
                self.stopping.wait(POLL_S)

    def mend(self) -> bool:
        """Start again whoever died, each after its wait; return whether any process is new."""
        restarted = False
        for child in self._children:
            now = time.monotonic()
            if child.is_alive:
                continue
            if child.due_at is None:
                child.wait_s = _FIRST_WAIT_S if now - child.started_at > _SETTLED_S else child.wait_s
                child.due_at = now + child.wait_s
                child.wait_s = min(2 * child.wait_s, _LONGEST_WAIT_S)
                self._say(f"{child.program.name} ended ({_ending(child.process.returncode)})")
            elif now >= child.due_at:
                child.start()
                self._say(f"{child.program.name} started again")
                restarted = True
        return restarted

    def stop(self) -> None:
        """End all children, the last started role first; kill those that do not end in time."""
        for _, role in groupby(reversed(self._children), key=lambda child: child.program.role):
            children = list(role)
            for child in children:
                child.process.terminate()
            until = time.monotonic() + STOP_S
            for child in children:
                try:
                    child.process.wait(max(0.0, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self._say(f"{child.program.name} did not stop within {STOP_S:.0f} s and is killed")
                    child.process.kill()
                    child.process.wait()
        self._children.clear()


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
