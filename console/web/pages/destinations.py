"""Destinations: state, pause, rate, subscriptions, filters and settings."""

from __future__ import annotations

from typing import Any

import mapping
from console import times
from console.errors import CommandError
from console.web import audit_log, charts, choice
from console.web.pages import overview
from console.web.visit import Page, Redirect, Result, Visit, number_of
from delivery import overrides, unapplied
from lanes import fates
from mapping.subscription import Subscription
from series import reading

_LONGEST_REASON = 300


def table(visit: Visit) -> Result:
    """Show a row for each destination."""
    figures = visit.state.figures()
    rows = [overview.row(visit, row) for row in figures["destinations"]]
    data = overview.masked(visit, figures)["destinations"]
    shown = {"rows": rows}
    return Page(template="destinations.html", title="Destinations", data=data, command="segue status", shown=shown)


def page(visit: Visit) -> Result:
    """Show one destination."""
    name = visit.named_destination()
    destination = visit.session.destinations[name]
    figures = next(row for row in visit.state.figures()["destinations"] if row["name"] == name)
    row = overview.row(visit, figures)
    subscriptions = [_subscription(each, row) for each in destination.subscriptions]
    filters = [_filter(each.name, row) for each in destination.filters]
    delivery = destination.delivery.model_dump()
    facts = {"region": destination.region, "url": visit.session.settings.track_url or destination.url}
    data = row | facts | {"subscriptions": subscriptions, "filters": filters, "delivery": delivery}
    span = visit.asked("range") or "1h"
    if span not in charts.RANGES:
        raise CommandError(f"range: must be one of {', '.join(charts.RANGES)}")
    points = reading.points(visit.session.queue(name), charts.RANGES[span])
    shown = {
        "row": row,
        "charts": charts.charts(points),
        "ranges": list(charts.RANGES),
        "range": span,
        "facts": facts,
        "subscriptions": subscriptions,
        "warnings": mapping.lint_warnings(destination),
        "filters": filters,
        "unapplied": [(unapplied.REASONS.get(name, name), count) for name, count in row["unapplied"].items()],
        "unsent": [fate for fate in row["fates"] if fate["fate"] not in ("sent", "dead")],
        "settings": _settings(destination),
        "sources": [each for each in visit.state.figures()["sources"] if name in each["destinations"]],
    }
    return Page(template="destination.html", title=name, data=data, command="segue status", shown=shown)


def pause(visit: Visit) -> Result:
    """Pause the destination, for the reason that is given."""
    name, why = visit.named_destination(), visit.given("why")[:_LONGEST_REASON]
    if not why:
        raise CommandError("Give the reason of the pause: others see it.")
    until = choice.moment("until", visit.given("until"), times.future)
    overrides.pause(visit.session.new_queue(name), by=visit.user.name, why=why, until_ms=until)
    audit_log.write(visit.session.client, visit.user, "pause", name, why=why, until_ms=until)
    return _back(name, "paused")


def resume(visit: Visit) -> Result:
    """End the pause by an operator."""
    name = visit.named_destination()
    if overrides.resume(visit.session.queue(name)):
        audit_log.write(visit.session.client, visit.user, "resume", name)
    return _back(name, "resumed")


def rate(visit: Visit) -> Result:
    """Set the most requests per second, or let the configured rate apply again when none is given."""
    name, text = visit.named_destination(), visit.given("requests_per_s").replace(",", "")
    if not text:
        if overrides.end_rate(visit.session.queue(name)):
            audit_log.write(visit.session.client, visit.user, "end rate", name)
        return _back(name, "configured")
    limit = visit.session.destinations[name].delivery.requests_per_s
    number = number_of(text, limit)
    if not number:
        raise CommandError(f"The rate must be a number from 1 to {limit:,}, the configured requests_per_s.")
    until = choice.moment("for", visit.given("for"), times.after)
    overrides.set_rate(visit.session.new_queue(name), number, by=visit.user.name, until_ms=until)
    audit_log.write(visit.session.client, visit.user, "rate", name, requests_per_s=number, until_ms=until)
    return _back(name, "rate")


def _back(name: str, notice: str) -> Redirect:
    return Redirect(f"/destinations/{name}?done={notice}")


def _subscription(subscription: Subscription, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": subscription.name,
        "action": subscription.slug,
        "trigger": subscription.trigger,
        "enabled": subscription.enabled,
        "not_applicable": row["not_applicable"].get(subscription.name, 0),
    }


def _filter(name: str, row: dict[str, Any]) -> dict[str, Any]:
    reason = fates.cut(f"filter: {name}")  # as `mapping.translation` has it
    dropped = sum(fate["events"] for fate in row["fates"] if fate["fate"] == "filtered" and fate["reason"] == reason)
    return {"name": name, "dropped": dropped}


def _settings(destination: mapping.Destination) -> list[dict[str, Any]]:
    """Return each key of the `delivery` table with its value, and whether the file sets it."""
    delivery = destination.delivery
    return [
        {"name": name, "value": value, "is_set": name in delivery.model_fields_set}
        for name, value in delivery.model_dump().items()
    ]
