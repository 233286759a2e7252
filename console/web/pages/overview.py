"""The first page: is it well, and if not, why; a row for each destination; the workers."""

from __future__ import annotations

from typing import Any

from console.web import charts, layout
from console.web.visit import Page, Result, Visit
from series import reading
from series.reading import Point
from workers import heartbeat


def page(visit: Visit) -> Result:
    """Show the causes of the present state, and the figures of `segue status`."""
    causes, figures = layout.now(visit.state), visit.state.figures()
    shown = {
        "causes": causes,
        "rows": [row(visit, figure) for figure in figures["destinations"]],
        "charts": {name: charts.charts(_points(visit, name), 1) for name in visit.session.destinations},
        "workers": heartbeat.names(visit.session.client),
        "processes": {process["name"]: process for process in figures["processes"]},
        "is_empty": not any(source["accepted_total"] for source in figures["sources"]),
        "ingest": _ingest(visit),
        "source": next(iter(figures["sources"]), None),
    }
    data = {"causes": [cause.json() for cause in causes], **masked(visit, figures)}
    return Page(template="overview.html", title="Overview", data=data, command="segue status", shown=shown)


def masked(visit: Visit, figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of `segue status --json`, with the keys of hot lanes as the user may see them."""
    rows = [{**row, "hot": hot(visit, row)} for row in figures["destinations"]]
    return {**figures, "destinations": rows}


def hot(visit: Visit, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the hot lanes of a destination, with their keys as the user may see them."""
    return [{**lane, "key": visit.shown_key(lane["key"])} for lane in row["hot"]]


def row(visit: Visit, figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a destination, with the rates and the time in which it drains (s)."""
    now = figures["now"]
    per_s: dict[str, Any] = now["per_s"] if now else {"accepted": None, "sent": None}
    drains_s = None
    if now and figures["waiting"] and per_s["sent"] > per_s["accepted"]:
        drains_s = figures["waiting"] / (per_s["sent"] - per_s["accepted"])
    rates = {"in_per_s": per_s["accepted"], "out_per_s": per_s["sent"], "drains_s": drains_s}
    return {**figures, **rates, "hot": hot(visit, figures)}


def _points(visit: Visit, name: str) -> list[Point]:
    """Return the points of the last hour."""
    return reading.points(visit.session.queue(name), charts.RANGES["1h"])


def _ingest(visit: Visit) -> str:
    """Return the address to which a first event can be sent."""
    settings = visit.session.settings
    return (settings.public_url or f"http://localhost:{settings.ingest_port}").rstrip("/")
