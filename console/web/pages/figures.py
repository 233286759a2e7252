"""Figures over time: the charts of one destination, for an hour, a day or two weeks."""

from __future__ import annotations

from typing import Any, Final

from console.web import charts
from console.web.visit import NotFound, Page, Result, Visit
from series import reading

_SPANS: Final = {"1h": 3600, "24h": 86_400, "14d": 14 * 86_400}
_USUAL: Final = "1h"


def page(visit: Visit) -> Result:
    """Show the charts of the destination and the span that the address names. Raises NotFound."""
    name = visit.destination or next(iter(visit.session.destinations), None)
    span = visit.asked("span") or _USUAL
    if span not in _SPANS:
        raise NotFound(f"There is no span “{span}”; there are {', '.join(_SPANS)}.")
    points = [] if name is None else reading.points(visit.session.queue(name), _SPANS[span])
    data = {"destination": name, "span": span, "points": [point.json() for point in points]}
    shown: dict[str, Any] = {"name": name, "span": span, "spans": list(_SPANS), "has_all": False}
    shown["charts"] = charts.charts(points)
    if points:
        shown |= {"first_ms": points[0].at_s * 1000, "last_ms": points[-1].at_s * 1000}
    return Page(template="figures.html", title="Figures", data=data, command="segue status --watch", shown=shown)
