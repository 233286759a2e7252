"""Compares a benchmark of two checkouts in turns: old, new, old, new, …

    python -m bench.compare OLD_CHECKOUT [--runs 5] NAME…

This checkout is the new one. Each runs its own benchmarks in its own directory with its own `.venv/bin/python`, so both
need `make install`. A NAME may have arguments: "lanes rates life". The environment (ROUNDS, EVENTS, …) is that of the
caller.

Prints one JSON line for each figure: `{"bench", "unit", "better", "old", "new", "ratio", "old_range", "new_range",
"ratio_range", "verdict"}`. `old` and `new` are medians of the runs, `ratio` is new over old; `ratio_range` has the
smallest and the largest ratio of a new run to the old run before it. `better` is "larger" or "smaller", by the unit; a
unit that says neither is not judged. At the end comes the same as a table.

Exit code 1 when any figure is more than 2 % worse, 2 when a benchmark cannot be run. A difference that is smaller than
the ranges may be noise: repeat it with more runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.support.figures import Figure, better, by_name, range_text, read, text

ROOT = Path(__file__).parents[1]
TOLERANCE = 0.02

# Parts of names that were renamed, so that an old checkout can be compared: old, new.
RENAMED = {
    "strangers": "independent",
    "neighbours": "shared",
    "beside_the_body": "overhead",
    "beside_a_dead_one": "beside_unresponsive",
    "letters": "dead_letters",
    "1_deliverer": "1_worker",
    "2_deliverers": "2_workers",
    "4_deliverers": "4_workers",
    "8_deliverers": "8_workers",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="Compare two checkouts in turns.")
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("names", nargs="+", metavar="NAME", help='a benchmark, with arguments: "lanes rates life"')
    parser.add_argument("--runs", type=int, default=5, help="runs of each side (5)")
    asked = parser.parse_args(arguments)
    old_runs: list[dict[str, Figure]] = [{} for _ in range(asked.runs)]
    new_runs: list[dict[str, Figure]] = [{} for _ in range(asked.runs)]
    for name in asked.names:
        for number in range(asked.runs):
            for checkout, runs in ((asked.old.resolve(), old_runs), (ROOT, new_runs)):
                print(f"{name}: run {number + 1} of {asked.runs} in {checkout}", file=sys.stderr)
                runs[number] |= run(checkout, name)
    rows = compared(old_runs, new_runs)
    for each in rows:
        print(json.dumps(each))
    print(table(rows))
    return 1 if any(each["verdict"] == "worse" for each in rows) else 0


def run(checkout: Path, name: str) -> dict[str, Figure]:
    """Run a benchmark of the checkout and return its figures by their present names; exit with 2 when it fails."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command(checkout, name), cwd=checkout, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        print(f"{name} in {checkout} ended with exit code {done.returncode}", file=sys.stderr)
        raise SystemExit(2)
    figures = read(done.stdout.decode().splitlines())
    return {renamed(old): figure for old, figure in figures.items()}


def command(checkout: Path, name: str) -> list[str]:
    """Return the command that runs a benchmark: as a module, or by path in a checkout where `bench` is no package."""
    module, *arguments = shlex.split(name)
    is_package = (checkout / "bench" / "__init__.py").exists()
    which = ["-m", f"bench.{module}"] if is_package else [f"bench/{module}.py"]
    return [str(checkout / ".venv" / "bin" / "python"), *which, *arguments]


def renamed(name: str) -> str:
    """Return the present name of a figure."""
    return ".".join(RENAMED.get(part, part) for part in name.split("."))


def compared(old_runs: Iterable[dict[str, Figure]], new_runs: Iterable[dict[str, Figure]]) -> list[dict[str, Any]]:
    """Return a row for each figure, as the head of this module describes it; run n of either side are a pair."""
    old, new = by_name(old_runs), by_name(new_runs)
    return [row(name, old.get(name, []), new.get(name, [])) for name in dict.fromkeys((*new, *old))]


def row(name: str, old: Sequence[Figure], new: Sequence[Figure]) -> dict[str, Any]:
    """Return the comparison of one figure; what only one side printed is `missing` on the other."""
    unit = (new or old)[0].unit
    result: dict[str, Any] = {"bench": name, "unit": unit, "better": better(unit)}
    for side, figures in (("old", old), ("new", new)):
        if figures:
            values = [figure.value for figure in figures]
            result |= {side: median(values), f"{side}_range": [min(values), max(values)]}
    if not old or not new:
        return result | {"verdict": f"missing in {'old' if new else 'new'}"}
    pairs = [after.value / before.value for before, after in zip(old, new, strict=False) if before.value]
    if not pairs or not result["old"]:
        return result | {"verdict": "not judged"}
    result |= {"ratio": round(result["new"] / result["old"], 4)}
    result |= {"ratio_range": [round(min(pairs), 4), round(max(pairs), 4)]}
    return result | {"verdict": verdict(result["ratio"], result["better"])}


def verdict(ratio: float, direction: str | None) -> str:
    """Return "worse" or "better" for a difference of more than TOLERANCE, else "same"."""
    if direction is None:
        return "not judged"
    change = ratio - 1 if direction == "larger" else 1 - ratio
    return "worse" if change < -TOLERANCE else "better" if change > TOLERANCE else "same"


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Return the rows as a table of text, one line for each figure."""
    lines = [("figure", "unit", "old", "new", "ratio", "range of ratios", "")]
    for each in rows:
        cells = [text(each[side]) if side in each else "" for side in ("old", "new")]
        ratio = [f"{each['ratio']:.3f}", range_text(each["ratio_range"])] if "ratio" in each else ["", ""]
        lines.append((each["bench"], each["unit"], *cells, *ratio, each["verdict"]))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
