"""How the figures of a destination changed, as `segue status` prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.text import Text

import lanes
from series import reading
from series.reading import Point

HOUR_S = 3600
_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 36
# What is drawn: its name, its value at a point, and its unit.
_DRAWN: tuple[tuple[str, Callable[[Point], float], str], ...] = (
    ("accepted", lambda point: point.per_s["accepted"], "/s"),
    ("sent", lambda point: point.per_s["sent"], "/s"),
    ("waiting", lambda point: point.gauges["waiting"], ""),
    ("oldest event", lambda point: point.gauges["oldest_age_s"], " s"),
    ("latency, p95", lambda point: point.latency_s[1] or 0.0, " s"),
)


def gather(queue: lanes.Queue) -> dict[str, Any] | None:
    """Return the last point, as `series.reading.Point.json` has it; None before workers have written two rows."""
    point = reading.latest(queue)
    return point.json() if point else None


def line(point: dict[str, Any]) -> str:
    """Return the rates and the latency of a point."""
    rates = ", ".join(f"{name} {point['per_s'][name]:,.1f}/s" for name in ("accepted", "sent"))
    latency = [f"{name} {value:,.2f} s" for name, value in point["latency_s"].items() if value is not None]
    return f"in the last {point['seconds']:.0f} s: {rates}{'; latency ' if latency else ''}{', '.join(latency)}"


def charts(queue: lanes.Queue) -> Iterator[Text]:
    """Yield a line for each figure of the last hour: its name, bars, its last and its greatest value."""
    points = reading.points(queue, HOUR_S)
    if not points:
        yield Text("no figures of the last hour: workers write them each 10 s", style="dim")
        return
    for name, value_at, unit in _DRAWN:
        values = [value_at(point) for point in points]
        figures = f"{values[-1]:,.1f}{unit}, at most {max(values):,.1f}{unit}"
        yield Text.assemble((f"{name:<14}", "bold"), _bars(values), f"  {figures}")


def _bars(values: Sequence[float]) -> str:
    """Return a bar for each of at most _COLUMNS parts of the values, by the greatest value of the part."""
    size = -(-len(values) // _COLUMNS)
    parts = [max(values[at : at + size]) for at in range(0, len(values), size)]
    most = max(parts) or 1.0
    return "".join(_BARS[round(part / most * (len(_BARS) - 1))] for part in parts)
