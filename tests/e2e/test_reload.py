"""`segue reload` and SIGHUP have the processes of `segue up` load a changed file; a wrong one changes nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from tests.e2e.conftest import Up, segue
from tests.pipeline import configuration, wait_until


def test_running_processes_take_up_a_changed_file(tmp_path: Path) -> None:
    file = tmp_path / "segue.toml"
    document = configuration("demo")
    file.write_text(document)

    with Up(tmp_path, SEGUE_CONFIG=str(file)) as up:

        def status(write_key: str) -> int:
            event = {"userId": write_key, "writeKey": write_key, "event": "e"}
            return httpx.post(f"{up.ingest_url}/v1/track", json=event).status_code

        file.write_text(document.replace('write_key = "demo"', 'write_key = "second"'))
        result = segue("reload", environment=up.environment)
        assert (result.returncode, result.stderr) == (0, "")
        assert len(result.stdout.splitlines()) == 5, "an ingest, a ledger, a console and two workers"
        assert (status("demo"), status("second")) == (401, 200)
        wait_until(lambda: "second" in up.people(), "the event is delivered")

        pids = up.pids()
        file.write_text(document.replace('write_key = "demo"', 'write_key = ""'))
        result = segue("reload", environment=up.environment)
        assert result.returncode == 2
        assert "no process was asked to load it" in result.stderr
        os.kill(up.process.pid, signal.SIGHUP)
        wait_until(lambda: any("configuration_refused" in line for line in up.lines()), "the file is refused")
        assert status("second") == 200

        file.write_text(document.replace('write_key = "demo"', 'write_key = "third"'))
        os.kill(up.process.pid, signal.SIGHUP)
        wait_until(lambda: status("third") == 200, "the file is used")
        assert up.pids() == pids
