"""Charts of a destination's figures over time, as lines of an SVG. The templates draw them; a table has the values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, log10
from typing import Any, Final

from console.output import utc
from series.reading import PERCENTILES, Point
from series.row import RESPONSES

WIDTH: Final = 600
HEIGHT: Final = 120
_MOST_IN_TABLE: Final = 30
# Points that are further apart than so many times the usual time have no line between them.
_GAP: Final = 3

Value = Callable[[Point], float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart: its name, and the coordinates of its parts, as `points` of a polyline has them."""

    name: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: `top` is the value at its upper edge, `sentence` says what it shows."""

    title: str
    unit: str
    top: float
    lines: tuple[Line, ...]
    sentence: str
    rows: tuple[tuple[float, tuple[float | None, ...]], ...]  # of the table: Unix ms, and a value for each line

    @property
    def id(self) -> str:
        """Its name in addresses and labels."""
        return self.title.lower().replace(" ", "-")

    def json(self) -> dict[str, Any]:
        """Return `{"title", "unit", "names", "rows": [[Unix ms, value, …]]}`; the rows are those of the table."""
        names = [line.name for line in self.lines]
        return {"title": self.title, "unit": self.unit, "names": names, "rows": [[at, *row] for at, row in self.rows]}


def _per_s(total: str) -> Value:
    return lambda point: point.per_s[total]


def _gauge(name: str) -> Value:
    return lambda point: point.gauges[name]


def _percentile(index: int) -> Value:
    return lambda point: point.latency_s[index]


def _requests(point: Point) -> float:
    return sum(point.per_s[name] for name in RESPONSES)


# Title, unit, and the lines by name.
_CHARTS: Final[tuple[tuple[str, str, dict[str, Value]], ...]] = (
    (
        "Events",
        "events/s",
        {
            "accepted": _per_s("accepted"),
            "sent": _per_s("sent"),
            "filtered": _per_s("filtered"),
            "buried": _per_s("buried"),
        },
    ),
    ("Latency", "s", {f"p{share * 100:g}": _percentile(index) for index, share in enumerate(PERCENTILES)}),
    ("Waiting", "events", {name: _gauge(name) for name in ("ready", "delayed", "claimed", "blocked")}),
    ("Oldest event", "s", {"age": _gauge("oldest_age_s")}),
    (
        "Responses",
        "requests/s",
        {name: _per_s(name) for name in ("2xx", "429", "4xx", "5xx")} | {"no response": _per_s("none")},
    ),
    (
        "Rate",
        "requests/s",
        {"sent": _requests, "rate": _gauge("requests_per_s"), "limit": _gauge("limit_per_s")},
    ),
)


def charts(points: Sequence[Point]) -> list[Chart]:
    """Return the charts of these points, which are in their order; all have one time axis."""
    return [_chart(title, unit, lines, points) for title, unit, lines in _CHARTS] if points else []


def _chart(title: str, unit: str, lines: dict[str, Value], points: Sequence[Point]) -> Chart:
    top = _top(max((value_at(point) or 0.0 for value_at in lines.values() for point in points), default=0.0))
    found = _sampled(points)
    return Chart(
        title=title,
        unit=unit,
        top=top,
        lines=tuple(Line(name, _parts(points, value_at, top)) for name, value_at in lines.items()),
        sentence=_sentence(unit, lines, points),
        rows=tuple((point.at_s * 1000, tuple(value_at(point) for value_at in lines.values())) for point in found),
    )


def _sampled(points: Sequence[Point]) -> list[Point]:
    """Return at most as many points as a table shows, evenly, with the last one."""
    step = -(-len(points) // _MOST_IN_TABLE)
    return list(reversed(points[::-1][::step]))


def _top(greatest: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is not below a value."""
    if greatest <= 0:
        return 1.0
    power = 10.0 ** floor(log10(greatest))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= greatest)


def _parts(points: Sequence[Point], value_at: Value, top: float) -> tuple[str, ...]:
    """Return the coordinates of the points that have a value, divided where some are missing."""
    first, span = points[0].at_s, (points[-1].at_s - points[0].at_s) or 1.0
    usual = min((after.at_s - before.at_s for before, after in pairwise(points)), default=span)
    parts: list[list[str]] = [[]]
    before_s = first
    for point in points:
        value = value_at(point)
        if value is None or point.at_s - before_s > _GAP * usual:
            parts.append([])
        if value is not None:
            x, y = WIDTH * (point.at_s - first) / span, HEIGHT * (1 - min(value / top, 1.0))
            parts[-1].append(f"{x:.1f},{y:.1f}")
        before_s = point.at_s
    return tuple(" ".join(part if len(part) > 1 else part * 2) for part in parts if part)


def _sentence(unit: str, lines: dict[str, Value], points: Sequence[Point]) -> str:
    """Return what the first line says: its range, and when it was highest."""
    name, value_at = next(iter(lines.items()))
    found = [(value, point.at_s) for point in points if (value := value_at(point)) is not None]
    if not found:
        return f"{name}: no value"
    (least, _), (greatest, at_s) = min(found), max(found)
    if least == greatest:
        return f"{name}: always {least:,.1f} {unit}"
    return f"{name}: between {least:,.1f} and {greatest:,.1f} {unit}; the highest at {utc(int(at_s * 1000))}"
