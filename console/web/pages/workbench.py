"""The workbench: what changed subscriptions and filters of a destination make of events that it got. Nothing is saved.

It is `segue diff` with the recent events and the dead letters of the destination.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final

import mapping
from console import toml_text
from console.diff.report import Report, report
from console.errors import CommandError
from console.web.visit import Page, Result, Visit
from dead_letters import query
from mapping.envelope import JsonObject
from series import recent_events
from settings import SettingsError, toml_tables

_PARTS: Final = ("presets", "subscriptions", "filters")
_MOST_EVENTS: Final = 5000


def form(visit: Visit) -> Result:
    """Show the present subscriptions and filters as TOML, to be changed."""
    name = visit.named_destination()
    return _page(visit, name, _written(_table(visit, name)))


def run(visit: Visit) -> Result:
    """Show what the TOML of the form makes of the events."""
    name, text = visit.named_destination(), visit.given("toml")
    try:
        found = report(visit.session.destinations[name], _changed(visit, name, text), _events(visit, name), time.time())
    except (CommandError, SettingsError, mapping.ConfigurationError) as error:
        return _page(visit, name, text, fault=str(error))
    return _page(visit, name, text, found=found)


def _page(visit: Visit, name: str, text: str, *, fault: str = "", found: Report | None = None) -> Page:
    result = _masked(visit, found.json()) if found else None
    shown = {"name": name, "text": text, "fault": fault, "result": result}
    data = {"error": fault} if fault else {"toml": text} if result is None else result
    status = 400 if fault else 200
    command = f"segue diff segue.toml new.toml --destination {name}"
    title = f"Workbench of {name}"
    return Page(template="workbench.html", title=title, data=data, command=command, shown=shown, status=status)


def _masked(visit: Visit, result: JsonObject) -> JsonObject:
    """Return the JSON of a report as the user may see it."""
    for group in result["differences"]:
        group["reason"] = visit.shown_text(group["reason"])
        group["fields"] = [visit.shown_text(field) for field in group["fields"]]
        for example in group["examples"]:
            example["message_id"] = visit.shown_id(example["message_id"])
            for change in example["changes"]:
                change |= {side: visit.shown_content(change[side]) for side in ("before", "after")}
                change["field"] = visit.shown_text(change["field"])
    return result


def _events(visit: Visit, name: str) -> Iterator[Any]:
    queue = visit.session.queue(name)
    recent = (each.event for each in recent_events.read(queue))
    return islice(chain(recent, query.events(queue)), _MOST_EVENTS)


def _table(visit: Visit, name: str) -> dict[str, Any]:
    found: dict[str, Any] = visit.session.document["destinations"][name]
    return found


def _changed(visit: Visit, name: str, text: str) -> mapping.Destination:
    """Return the destination with other subscriptions and filters. Raises CommandError, SettingsError,
    mapping.ConfigurationError."""
    parts = toml_tables(text, "the text")
    unknown = [part for part in parts if part not in _PARTS]
    if unknown:
        raise CommandError(f"{unknown[0]}: the workbench takes {', '.join(_PARTS)}")
    rest = {key: value for key, value in _table(visit, name).items() if key not in _PARTS}
    return mapping.destinations({"destinations": {name: rest | parts}})[name]


def _written(table: dict[str, Any]) -> str:
    """Return the presets, subscriptions and filters of a table as TOML."""
    lines: list[str] = []
    if table.get("presets"):
        lines += ["[presets]", *_members(table["presets"]), ""]
    for part in ("subscriptions", "filters"):
        for row in table.get(part, []):
            lines += [f"[[{part}]]", *_members(row), ""]
    return "\n".join(lines)


def _members(table: dict[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        yield f"{toml_text.key(name)} = {toml_text.value(value, name)}"
