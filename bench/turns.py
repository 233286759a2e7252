"""Compares what an event costs Redis in two checkouts, round by round.

    python -m bench.turns OLD_CHECKOUT [--servers 20]

Where other load changes within seconds, two runs of the same benchmark differ by a third, and `bench.compare` cannot
tell 2 %. Here each checkout has a server at the same time, and rounds of 2,000 events take turns on the two. Where the
system places the memory of a server changes its speed by a tenth, so there are many pairs of servers.

Prints the rows of `bench.compare`. `ratio` is the median over the pairs of servers; its range has the true median with
a probability of 90 %, by resampling. `worse` and `better` are said only where all of the range is beyond 2 %.
Exit code 1 when a figure is worse, 2 when a side cannot run.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from bench import compare

KINDS = ("shared", "independent")
ROUNDS, EVENTS, WARM_UP_EVENTS = 6, 2_000, 4_000
SIDE = Path(__file__).parent / "support" / "rounds.py"

Round = tuple[float, float]  # us of Redis an event: to append, to claim and settle


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.turns", description="Compare the lanes of two checkouts.")
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("--servers", type=int, default=20, help="pairs of servers (20)")
    asked = parser.parse_args(arguments)
    if not python(asked.old).exists():
        parser.error(f"{asked.old} has no .venv/bin/python: run `make install` there")
    rows = []
    for kind in KINDS:
        pairs = []
        for number in range(asked.servers):
            print(f"{kind}: pair {number + 1} of {asked.servers}", file=sys.stderr)
            pairs.append(pair(asked.old.resolve(), compare.ROOT, kind, old_starts=number % 2 == 0))
        rows += compared(kind, pairs)
    for each in rows:
        print(json.dumps(each))
    print(compare.table(rows))
    return 1 if any(each["verdict"] == "worse" for each in rows) else 0


def pair(old: Path, new: Path, kind: str, *, old_starts: bool) -> tuple[Round, Round]:
    """Return the medians of both sides, each on a new server."""
    checkouts = [old, new] if old_starts else [new, old]
    with ExitStack() as stack:
        sides = [stack.enter_context(side(checkout)) for checkout in checkouts]
        found: list[list[Round]] = [[], []]
        for each in sides:
            run(each, kind, WARM_UP_EVENTS)
        for number in range(ROUNDS):
            for at in (0, 1) if number % 2 == 0 else (1, 0):
                found[at].append(run(sides[at], kind, EVENTS))
    first, second = ((median(a for a, _ in rounds), median(d for _, d in rounds)) for rounds in found)
    return (first, second) if old_starts else (second, first)


@contextmanager
def side(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a server with the lanes of this checkout, and stop it at the end."""
    command = [str(python(checkout)), "-c", SIDE.read_text()]
    process = subprocess.Popen(command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        yield process


def python(checkout: Path) -> Path:
    """Return the interpreter of a checkout."""
    return checkout / ".venv" / "bin" / "python"


def run(process: subprocess.Popen[str], kind: str, events: int) -> Round:
    """Run a round; exit with 2 when the process has ended."""
    assert process.stdin
    assert process.stdout
    with suppress(BrokenPipeError):
        process.stdin.write(f"{kind} {events}\n")
        process.stdin.flush()
    answer = process.stdout.readline().split()
    if not answer:
        raise SystemExit(2)
    append, drain = map(float, answer)
    return append, drain


def compared(kind: str, pairs: Sequence[tuple[Round, Round]]) -> Iterator[dict[str, Any]]:
    """Yield a row of `bench.compare` for the whole life of an event, and for its two parts."""
    for name, part in ((kind, slice(0, 2)), (f"{kind}.append", slice(0, 1)), (f"{kind}.claim_and_settle", slice(1, 2))):
        old, new = ([sum(of_sides[at][part], 0.0) for of_sides in pairs] for at in (0, 1))
        ratios = [after / before for before, after in zip(old, new, strict=True)]
        dice = random.Random(0)
        resampled = sorted(median(dice.choices(ratios, k=len(ratios))) for _ in range(1000))
        low, high = resampled[50], resampled[949]
        judged = {compare.verdict(low, "smaller"), compare.verdict(high, "smaller")}
        yield {
            "bench": f"turns.{name}",
            "unit": "redis_us/event",
            "better": "smaller",
            "old": median(old),
            "new": median(new),
            "ratio": round(median(ratios), 4),
            "ratio_range": [round(low, 4), round(high, 4)],
            "verdict": judged.pop() if len(judged) == 1 else "same",
        }


if __name__ == "__main__":
    sys.exit(main())
