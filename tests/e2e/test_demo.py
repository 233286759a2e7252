"""`segue demo` as CI runs it: a process without a terminal, judged by its exit code and its table."""

from __future__ import annotations

import re

from tests.e2e.conftest import clean_environment, segue


def test_the_demo_delivers_everything_in_order_though_requests_overtake_and_a_worker_is_killed() -> None:
    shown = segue("demo", environment=clean_environment(COLUMNS="100"))

    assert shown.returncode == 0, shown.stdout + shown.stderr
    figures = {
        name: int(figure.replace(",", "")) for name, figure in re.findall(r"│ ([a-z ]+?) +│ +([\d,]+) │", shown.stdout)
    }
    assert figures["events sent"] >= 5000
    assert figures["events delivered"] + figures["merges found done"] == figures["events sent"]
    assert 0 < figures["requests made"] < figures["events sent"]
    assert figures["people"] > 300
    assert figures["events put before later ones"] > 0
    assert figures["workers killed"] == 1
    for nothing in ("people not as expected", "order violations", "dead letters", "lost"):
        assert figures[nothing] == 0
