"""The figures that a benchmark prints, read again: by name, with what is better for each unit, and as text."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

Better = Literal["larger", "smaller"]

# Events and operations are counted where they are delayed or repeated.
_SMALLER = frozenset({"us", "redis_us", "ms", "redis_ms", "s", "bytes", "MB", "events", "operations", "instructions"})


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one run. `baseline` is what it was measured against in the same run."""

    name: str
    value: float
    unit: str
    baseline: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value over the baseline."""
        return self.value / self.baseline if self.baseline else None


def better(unit: str) -> Better | None:
    """Return what is better for figures of this unit: rates larger; times, sizes and counts of events smaller.

    None for a unit that says neither, as the number of dead letters that were replayed.
    """
    if unit.endswith("/s") or unit == "operations/request":
        return "larger"
    return "smaller" if unit.partition("/")[0] in _SMALLER else None


def read(lines: Iterable[str]) -> dict[str, Figure]:
    """Return the figures among the lines of one run by name; other lines are ignored.

    A figure that was printed several times is the median of these.
    """
    found: dict[str, list[Figure]] = defaultdict(list)
    for line in lines:
        if line.startswith('{"bench"'):
            row = json.loads(line)
            found[row["bench"]].append(Figure(row["bench"], row["value"], row["unit"], row.get("baseline")))
    return {name: _median(figures) for name, figures in found.items()}


def _median(figures: list[Figure]) -> Figure:
    baselines = [figure.baseline for figure in figures if figure.baseline is not None]
    value, baseline = median(figure.value for figure in figures), median(baselines) if baselines else None
    return Figure(figures[0].name, value, figures[0].unit, baseline)


def by_name(runs: Iterable[Mapping[str, Figure]]) -> dict[str, list[Figure]]:
    """Return the figures of several runs by name, in the order in which they were printed."""
    found: dict[str, list[Figure]] = defaultdict(list)
    for run in runs:
        for name, figure in run.items():
            found[name].append(figure)
    return dict(found)


def text(value: float) -> str:
    """Return the value with three significant digits: 0.123, 1.23, 12.3, 123, 1,230, 12,300."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def range_text(values: Iterable[float]) -> str:
    """Return the smallest and the largest value as text; one of them where they are the same text."""
    ordered = sorted(values)
    least, most = text(ordered[0]), text(ordered[-1])
    return least if least == most else f"{least} to {most}"
