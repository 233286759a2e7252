"""Writes the figures of docs/performance.md: the range of three runs of all benchmarks, with the commit.

    python -m bench.report                          # runs `python -m bench` three times, which takes an hour
    python -m bench.report --from FILE FILE FILE    # reads three outputs of `make bench`, or of some benchmarks

Only text between `<!-- figures: NAME -->` and `<!-- end -->` changes. A block gets the figures whose name is NAME or
begins with NAME and then a dot, comma, space or underscore. A figure goes into the block with the longest such name.
The block `sizing` is computed from other figures. Blocks without figures in these runs stay as they are. The output of
each run is kept in build/bench/run-N.jsonl.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.support.figures import Figure, by_name, range_text, read, text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
RUNS = 3
SIZING = "sizing"
_BLOCK = re.compile(r"(<!-- figures: (?P<name>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_IDS_S, _BACKLOG_S = 32 * 3_600, 3_600

Figures = Mapping[str, Sequence[Figure]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="Write the figures of the page.")
    parser.add_argument("--from", nargs="+", type=Path, dest="files", metavar="FILE", help="outputs of earlier runs")
    parser.add_argument("--commit", default=None, help="the commit that was measured (the present one)")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write (docs/performance.md)")
    asked = parser.parse_args(arguments)
    commit = asked.commit or present_commit()
    files = asked.files or [run(number) for number in range(1, RUNS + 1)]
    runs = [read(file.read_text().splitlines()) for file in files]
    figures = by_name(runs)
    page, unplaced = written(asked.page.read_text(), figures, f"{len(runs)} runs at commit {commit}, {machine()}.")
    asked.page.write_text(page)
    for name in unplaced:
        print(f"there is no block for the figure {name}", file=sys.stderr)
    return 0


def run(number: int) -> Path:
    """Run all benchmarks and return the file with their output; exit with 2 when one fails."""
    file = ROOT / "build" / "bench" / f"run-{number}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    print(f"run {number} of {RUNS}, written to {file.relative_to(ROOT)}", file=sys.stderr)
    with file.open("wb") as output:
        done = subprocess.run([sys.executable, "-m", "bench"], cwd=ROOT, stdout=output, check=False)
    if done.returncode:
        raise SystemExit(2)
    return file


def present_commit() -> str:
    """Return the short hash of the commit that is checked out, with `-dirty` when files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def machine() -> str:
    """Return the number of processors that this process may use."""
    return f"{len(os.sched_getaffinity(0))} processors"


def written(page: str, figures: Figures, origin: str) -> tuple[str, list[str]]:
    """Return the page with new blocks, and the names of figures that belong to none. `origin` ends each block."""
    names = [match["name"] for match in _BLOCK.finditer(page)]
    blocks = {name: block_of(name, names) for name in figures}

    def block(match: re.Match[str]) -> str:
        if match["name"] == SIZING:
            content = sizing(figures)
        else:
            content = table({name: figures[name] for name, target in blocks.items() if target == match["name"]})
        return f"{match[1]}{content}\n\n{origin}\n{match[3]}" if content else match[0]

    return _BLOCK.sub(block, page), [name for name, target in blocks.items() if target is None]


def block_of(figure: str, names: Iterable[str]) -> str | None:
    """Return the longest of the names of blocks to which the figure belongs."""
    fitting = [name for name in names if figure == name or re.match(re.escape(name) + "[., _]", figure)]
    return max(fitting, key=len, default=None)


def table(figures: Figures) -> str:
    """Return a table with a row for each figure; empty without figures."""
    if not figures:
        return ""
    has_baseline = any(figure.baseline for runs in figures.values() for figure in runs)
    head = ["figure", "value", "unit", *(["baseline", "ratio"] if has_baseline else [])]
    lines = [head, ["---"] * len(head)]
    for name, runs in figures.items():
        cells = [f"`{name}`", range_text(figure.value for figure in runs), runs[0].unit]
        if has_baseline:
            baselines = [figure.baseline for figure in runs if figure.baseline]
            ratios = [figure.ratio for figure in runs if figure.ratio is not None]
            cells += [range_text(baselines), range_text(ratios)] if baselines else ["", ""]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sizing(figures: Figures) -> str:
    """Return how many processes a rate needs, from the largest times and sizes; empty when some are absent.

    Half of each core is to spare. The memory of Redis has room for the message ids of 32 hours, which is the longest
    that they are kept with a window of 24, and for a backlog of one hour.
    """
    needed = {
        "batches": "throughput.segue.processor.ingest",
        "singles": "single.processor.ingest",
        "workers": "throughput.segue.processor.workers",
        "redis": "throughput.segue.processor.redis",
        "event": "lanes.server.memory.independent",
        "id": "lanes.message_id",
    }
    if any(name not in figures for name in needed.values()):
        return ""
    most = {key: max(figure.value for figure in figures[name]) for key, name in needed.items()}
    lines = ["| events/s | ingest, 100 a request | ingest, one a request | workers | Redis | memory of Redis |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for rate in (1_000, 10_000, 100_000):
        cores = [math.ceil(rate * most[part] / 1e6 / 0.5) for part in ("batches", "singles", "workers", "redis")]
        gigabytes = rate * (_IDS_S * most["id"] + _BACKLOG_S * most["event"]) / 1e9
        lines.append(f"| {rate:,} | {' | '.join(map(str, cores))} | {text(gigabytes)} GB |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
