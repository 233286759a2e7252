"""Benchmarks. Each module answers one question and prints its figures as JSON lines; bench/README.md lists them.

`python -m bench.lanes`, from the root of the repository, runs one of them, and `python -m bench` runs all.
"""

from __future__ import annotations

import json
from typing import Any


def figure(name: str, value: float, unit: str, baseline: float | None = None) -> None:
    """Print a figure as `{"bench", "value", "unit", "baseline"?, "ratio"?}`; the ratio is value over baseline."""
    line: dict[str, Any] = {"bench": name, "value": round(value, 3), "unit": unit}
    if baseline:
        line |= {"baseline": round(baseline, 3), "ratio": round(value / baseline, 3)}
    print(json.dumps(line), flush=True)
