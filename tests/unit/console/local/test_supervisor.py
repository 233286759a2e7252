"""The supervisor, over real processes that do next to nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from console.errors import CommandError
from console.local import supervisor as module
from console.local.supervisor import Program, Supervisor
from tests.pipeline import wait_until

IDLE = "import signal; signal.pause()"
STUBBORN = (
    "import signal, pathlib, sys; signal.signal(15, signal.SIG_IGN); pathlib.Path(sys.argv[1]).touch(); signal.pause()"
)


def program(
    name: str, code: str = IDLE, role: str = "role", answers: Callable[[int], bool] = lambda _: True
) -> Program:
    return Program(name, role, [sys.executable, "-c", code], {}, answers)


def mended(supervisor: Supervisor) -> Callable[[], bool]:
    return supervisor.mend


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_dies_is_started_again_and_that_is_said() -> None:
    said: list[str] = []
    with Supervisor(said.append) as supervisor:
        supervisor.start(program("one"))
        first = supervisor.pids["one"]

        os.kill(first, signal.SIGKILL)
        wait_until(mended(supervisor), "the child is started again")

        assert supervisor.pids["one"] != first
    assert said == ["one ended (killed by SIGKILL)", "one started again"]


def test_a_child_that_keeps_dying_is_started_ever_more_rarely() -> None:
    with Supervisor(lambda _: None) as supervisor:
        supervisor.start(program("one", "raise SystemExit(3)"))
        waits = []
        for _ in range(3):
            wait_until(mended(supervisor), "the child is started again")
            waits.append(supervisor._children[0].wait_s)

    assert waits == [0.4, 0.8, 1.6]


def test_leaving_stops_every_child() -> None:
    with Supervisor(lambda _: None) as supervisor:
        supervisor.start(program("one"), program("two"))
        pids = list(supervisor.pids.values())

    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


def test_a_child_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.3)
    said: list[str] = []
    up = tmp_path / "up"
    stubborn = Program("one", "role", [sys.executable, "-c", STUBBORN, str(up)], {}, lambda _: up.exists())
    with Supervisor(said.append) as supervisor:
        supervisor.start(stubborn)
        pid = supervisor.pids["one"]

    assert not is_alive(pid)
    assert any("is killed" in line for line in said)


def test_roles_stop_one_after_the_other_the_last_first(tmp_path: Path) -> None:
    code = (
        "import signal, sys, pathlib\n"
        "def stop(*_):\n"
        "    with open(sys.argv[1], 'a') as log: log.write(sys.argv[2] + '\\n')\n"
        "    sys.exit()\n"
        "signal.signal(15, stop)\n"
        "pathlib.Path(sys.argv[1] + sys.argv[2]).touch()\n"
        "while True: signal.pause()\n"
    )
    log = tmp_path / "log"

    def teller(name: str) -> Program:
        arguments = [sys.executable, "-c", code, str(log), name]
        return Program(name, name, arguments, {}, lambda _: Path(f"{log}{name}").exists())

    with Supervisor(lambda _: None) as supervisor:
        supervisor.start(teller("redis"), teller("worker"), teller("ingest"))

    assert log.read_text().split() == ["ingest", "worker", "redis"]


def test_a_child_that_ends_instead_of_answering_is_told_at_once() -> None:
    with (
        Supervisor(lambda _: None) as supervisor,
        pytest.raises(CommandError, match=r"one ended at its start .*code 3"),
    ):
        supervisor.start(program("one", "raise SystemExit(3)", answers=lambda _: False))


def test_a_child_that_never_answers_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_S", 0.1)
    with Supervisor(lambda _: None) as supervisor, pytest.raises(CommandError, match="one does not answer"):
        supervisor.start(program("one", answers=lambda _: False))


def test_a_stop_while_children_start_ends_the_wait() -> None:
    with Supervisor(lambda _: None) as supervisor:
        started_at = time.monotonic()
        supervisor.stopping.set()
        supervisor.start(program("one", answers=lambda _: False))

        assert time.monotonic() - started_at < module.READY_S
