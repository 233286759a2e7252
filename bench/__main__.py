"""`python -m bench [NAME…]` runs all benchmarks, or those that are named, one after the other; so does `make bench`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMES = (
    "throughput",
    "single",
    "latency",
    "reorder",
    "drain",
    "keys",
    "scale",
    "lanes",
    "instructions",
    "packing",
    "mapping",
    "replay",
    "replay_plan",
    "history",
    "rate",
    "two_destinations",
    "hot_lane",
    "connections",
    "metrics",
    "ledger",
    "ledger_cost",
    "console",
    "merges",
    "sigkill",
    "cluster",
    "soak",
)


def run(names: Iterable[str]) -> int:
    """Run the benchmarks and return 0, or the exit code of the first one that fails."""
    for name in names:
        code = subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    unknown = sorted(set(sys.argv[1:]) - set(NAMES))
    if unknown:
        raise SystemExit(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    sys.exit(run(sys.argv[1:] or NAMES))
