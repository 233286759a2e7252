"""The supervisor, over real processes."""

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
IGNORES_SIGTERM = (
    "import signal, pathlib, sys; signal.signal(15, signal.SIG_IGN); pathlib.Path(sys.argv[1]).touch(); signal.pause()"
)


def program(
    name: str, code: str = IDLE, role: str = "role", is_ready: Callable[[int], bool] = lambda _: True
) -> Program:
    return Program(name, role, [sys.executable, "-c", code], {}, is_ready)


def restarted(supervisor: Supervisor) -> Callable[[], bool]:
    return supervisor.restart_ended


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_ends_is_restarted_and_reported() -> None:
    lines: list[str] = []
    with Supervisor(lines.append) as supervisor:
        supervisor.start(program("one"))
        first = supervisor.pids["one"]

        os.kill(first, signal.SIGKILL)
        wait_until(restarted(supervisor), "the child is restarted")

        assert supervisor.pids["one"] != first
    assert lines == ["one ended (killed by SIGKILL)", "one restarted"]


def test_the_delay_before_a_restart_grows() -> None:
    with Supervisor(lambda _: None) as supervisor:
        supervisor.start(program("one", "raise SystemExit(3)"))
        delays = []
        for _ in range(3):
            wait_until(restarted(supervisor), "the child is restarted")
            delays.append(supervisor._children[0].delay_s)

    assert delays == [0.4, 0.8, 1.6]


def test_the_end_of_the_block_stops_every_child() -> None:
    with Supervisor(lambda _: None) as supervisor:
        supervisor.start(program("one"), program("two"))
        pids = list(supervisor.pids.values())

    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


def test_a_child_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.3)
    lines: list[str] = []
    up = tmp_path / "up"
    child = Program("one", "role", [sys.executable, "-c", IGNORES_SIGTERM, str(up)], {}, lambda _: up.exists())
    with Supervisor(lines.append) as supervisor:
        supervisor.start(child)
        pid = supervisor.pids["one"]

    assert not is_alive(pid)
    assert any("killing it" in line for line in lines)


def test_roles_stop_in_reverse_order_of_their_start(tmp_path: Path) -> None:
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

    def logger(name: str) -> Program:
        arguments = [sys.executable, "-c", code, str(log), name]
        return Program(name, name, arguments, {}, lambda _: Path(f"{log}{name}").exists())

    with Supervisor(lambda _: None) as supervisor:
        supervisor.start(logger("redis"), logger("worker"), logger("ingest"))

    assert log.read_text().split() == ["ingest", "worker", "redis"]


def test_a_child_that_ends_during_its_start_is_an_error_at_once() -> None:
    with (
        Supervisor(lambda _: None) as supervisor,
        pytest.raises(CommandError, match=r"one ended during its start .*code 3"),
    ):
        supervisor.start(program("one", "raise SystemExit(3)", is_ready=lambda _: False))


def test_a_child_that_is_never_ready_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_S", 0.1)
    with Supervisor(lambda _: None) as supervisor, pytest.raises(CommandError, match="one is not ready"):
        supervisor.start(program("one", is_ready=lambda _: False))


def test_stopping_ends_the_wait_for_children() -> None:
    with Supervisor(lambda _: None) as supervisor:
        started_at = time.monotonic()
        supervisor.stopping.set()
        supervisor.start(program("one", is_ready=lambda _: False))

        assert time.monotonic() - started_at < module.READY_S
