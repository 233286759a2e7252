"""`segue demo`: a process without a terminal, judged by its exit code and its table."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import clean_environment
from tests.pipeline import wait_until


def test_the_demo_delivers_everything_in_order_and_stays_with_a_live_console_until_it_is_interrupted(
    tmp_path: Path,
) -> None:
    """Requests overtake each other, and a worker is killed. `tests/e2e/test_wheel.py` has a demo that does not stay."""
    environment = clean_environment(COLUMNS="200", TMPDIR=str(tmp_path))
    command = [sys.executable, "-P", "-m", "console.cli", "demo", "--stay"]
    output = tmp_path / "output"
    with output.open("wb") as written:
        process = subprocess.Popen(command, env=environment, stdout=written, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "Ctrl-C ends" in output.read_text() or process.poll() is not None, "the demo stays", 180)
        found = re.search(r"the web console is at (\S+); Ctrl-C ends the demo", output.read_text())
        assert found is not None, output.read_text()
        figures = figures_in(output.read_text())
        wait_until(
            lambda: is_alive(found[1], figures["events delivered"]),
            "events arrive, one is a dead letter, and the ledger runs",
        )
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(60)

    assert code == 0, output.read_text()
    assert "every person is as expected" in output.read_text()
    assert list(tmp_path.glob("segue-demo-*")) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(found[1])
    assert figures["events sent"] >= 5000
    assert figures["events delivered"] + figures["merges found done"] == figures["events sent"]
    assert 0 < figures["requests made"] < figures["events sent"]
    assert figures["people"] > 300
    assert figures["events put before later ones"] > 0
    assert figures["workers killed"] == 1
    for nothing in ("people not as expected", "order violations", "dead letters", "lost"):
        assert figures[nothing] == 0


def figures_in(report: str) -> dict[str, int]:
    """Return the figures of the table of a demo by their names."""
    return {name: int(figure.replace(",", "")) for name, figure in re.findall(r"│ ([a-z ]+?) +│ +([\d,]+) │", report)}


def is_alive(url: str, delivered: int) -> bool:
    (row,) = httpx.get(url, headers={"Accept": "application/json"}, timeout=10).json()["destinations"]
    more = row["delivered_total"] > delivered + 20
    return more and row["dead"] > 0 and (row["ledger"] or {}).get("runs", False)
