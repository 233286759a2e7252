"""Charts: lines over time as SVG, each with a sentence and a table of the same figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from console.output import utc
from series.reading import Point

WIDTH, HEIGHT = 600.0, 100.0  # of the drawing, without its labels
RANGES: Final = {"1h": 3600, "24h": 86_400, "14d": 14 * 86_400}
_MOST: Final = 180  # points of a line
_GAP: Final = 3.5  # times as long as usual between two points: nothing was written meanwhile
_ROWS: Final = 12  # of a table

Value = Callable[[Point], float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name, its strokes as `x,y x,y …`, and its last and greatest value."""

    name: str
    strokes: tuple[str, ...]
    last: float | None
    most: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. `rows` are the figures of some moments: Unix ms, and a value for each line."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    top: float  # the value at the upper edge
    sentence: str
    begin_ms: int
    end_ms: int
    rows: tuple[tuple[int, tuple[float | None, ...]], ...]


# Title, unit, and the lines of each chart.
_CHARTS: Final[tuple[tuple[str, str, tuple[tuple[str, Value], ...]], ...]] = (
    (
        "Events per second",
        "/s",
        (
            ("accepted", lambda point: point.per_s["accepted"]),
            ("sent", lambda point: point.per_s["sent"]),
            ("filtered", lambda point: point.per_s["filtered"]),
            ("buried", lambda point: point.per_s["buried"]),
        ),
    ),
    (
        "Latency of delivered events",
        " s",
        (
            ("p50", lambda point: point.latency_s[0]),
            ("p95", lambda point: point.latency_s[1]),
            ("p99", lambda point: point.latency_s[2]),
        ),
    ),
    (
        "Events that wait",
        "",
        (
            ("waiting", lambda point: point.gauges["waiting"]),
            ("blocked", lambda point: point.gauges["blocked"]),
            ("dead letters", lambda point: point.gauges["dead"]),
        ),
    ),
    ("Age of the oldest event", " s", (("oldest", lambda point: point.gauges["oldest_age_s"]),)),
    (
        "Requests by response",
        "/s",
        (
            ("2xx", lambda point: point.per_s["2xx"]),
            ("429", lambda point: point.per_s["429"]),
            ("4xx", lambda point: point.per_s["4xx"]),
            ("5xx or none", lambda point: point.per_s["5xx"] + point.per_s["none"]),
        ),
    ),
    (
        "Rate",
        " requests/s",
        (
            ("allowed", lambda point: point.gauges["requests_per_s"]),
            ("limit", lambda point: point.gauges["limit_per_s"]),
        ),
    ),
)


def charts(points: Sequence[Point], most: int = len(_CHARTS)) -> list[Chart]:
    """Return the first charts of these points; none before there are two points."""
    if len(points) < 2:
        return []
    return [_chart(points, title, unit, lines) for title, unit, lines in _CHARTS[:most]]


def _chart(points: Sequence[Point], title: str, unit: str, lines: Sequence[tuple[str, Value]]) -> Chart:
    columns = [[value(point) for point in points] for _, value in lines]
    top = _rounded_up(max((value for column in columns for value in column if value is not None), default=0.0))
    times = [point.at_s for point in points]
    first = _values(columns[0], times)
    step = max(1, len(points) // _ROWS)
    moments = range(len(points) - 1, -1, -step)
    return Chart(
        title=title,
        unit=unit,
        lines=tuple(
            Line(name, _strokes(times, column, top), column[-1], max((each or 0.0 for each in column), default=0.0))
            for (name, _), column in zip(lines, columns, strict=True)
        ),
        top=top,
        sentence=_sentence(lines[0][0], unit, first),
        begin_ms=int(times[0] * 1000),
        end_ms=int(times[-1] * 1000),
        rows=tuple((int(times[at] * 1000), tuple(column[at] for column in columns)) for at in moments),
    )


def _values(column: Sequence[float | None], times: Sequence[float]) -> list[tuple[float, float]]:
    return [(value, at_s) for value, at_s in zip(column, times, strict=True) if value is not None]


def _sentence(name: str, unit: str, found: list[tuple[float, float]]) -> str:
    if not found:
        return f"{name}: nothing in this time."
    (least, _), (most, at_s) = min(found), max(found)
    if least == most:
        return f"{name}: {_short(most)}{unit} all the time."
    return f"{name}: between {_short(least)} and {_short(most)}{unit}; the highest at {utc(int(at_s * 1000))}."


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"


def _strokes(times: Sequence[float], column: Sequence[float | None], top: float) -> tuple[str, ...]:
    """Return the polylines of a line. It ends where a value is absent, or nothing was written for a while."""
    begin, length = times[0], (times[-1] - times[0]) or 1.0
    usual = length / max(1, len(times) - 1)
    strokes: list[list[str]] = [[]]
    before = begin
    for at_s, value in _thinned(times, column):
        if value is None or at_s - before > _GAP * max(usual, length / _MOST):
            strokes.append([])
        if value is not None:
            x, y = (at_s - begin) / length * WIDTH, HEIGHT - value / top * HEIGHT
            strokes[-1].append(f"{x:.1f},{y:.1f}")
        before = at_s
    return tuple(" ".join(stroke) for stroke in strokes if stroke)


def _thinned(times: Sequence[float], column: Sequence[float | None]) -> list[tuple[float, float | None]]:
    """Return at most _MOST points: of each part of the time the greatest value."""
    size = -(-len(times) // _MOST)
    thinned = []
    for at in range(0, len(times), size):
        values = [value for value in column[at : at + size] if value is not None]
        thinned.append((times[min(at + size, len(times)) - 1], max(values, default=None)))
    return thinned


def _rounded_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, … at or above the value; 1 for 0."""
    if value <= 0:
        return 1.0
    size = 10.0 ** len(str(int(value))) if value >= 1 else 1.0
    steps = [size / 100 * factor for factor in (1, 2, 5, 10, 20, 50, 100)]
    return next((step for step in steps if step >= value), size)
