"""Whether a destination that never answers slows another one.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`: the rate of the healthy destination beside one
that never answers; the baseline is its rate alone, in the same run. Two workers of eight threads, 500 events/s, medians
of three rounds. Caveat: everything shares the cores of the machine, ingest's work for the other destination too.
"""

from __future__ import annotations

from statistics import median

import bench
from bench.support.embedded import pipeline
from tests.e2e.test_two_destinations import CONFIG, delivered_in
from tests.secrets import OTHER_CREDENTIALS

EVENTS = 2000
ROUNDS = 3


def main() -> None:
    """Measure the healthy destination alone and beside the other, in turns."""
    alone, beside = [], []
    with pipeline(CONFIG, workers=2, threads=8, SEGUE_LEASE_S="2") as running:
        delivered_in(running, "demo", "warm up", EVENTS // 10)
        for number in range(ROUNDS):
            running.faults()
            alone.append(EVENTS / delivered_in(running, "demo", f"alone {number}", EVENTS))
            running.faults(site_id=OTHER_CREDENTIALS["site_id"], timeout_before=1)
            beside.append(EVENTS / delivered_in(running, "both", f"beside {number}", EVENTS))
    bench.figure("two_destinations.beside_unresponsive", median(beside), "events/s", median(alone))


if __name__ == "__main__":
    main()
