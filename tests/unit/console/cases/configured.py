"""A configuration with two destinations, and runs of `segue test` with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from console import cli

TOML = """
[sources.web]
write_key = "web"
trust = "public"
destinations = ["journeys", "archive"]
[sources.app]
write_key = "app"
trust = "server"
destinations = ["journeys"]
[destinations.journeys]
site_id = "s"
api_key = "k"
[[destinations.journeys.subscriptions]]
name = "Lead"
trigger = 'event = "Lead Captured"'
action = "Create or Update Person"
mapping.id = "$.properties.email"
[destinations.archive]
site_id = "s2"
api_key = "k2"
[[destinations.archive.filters]]
if = "event = 'Lead Captured' and properties.plan = 'trial'"
action = "drop"
"""
LEAD: dict[str, Any] = {
    "type": "track",
    "event": "Lead Captured",
    "userId": "u1",
    "properties": {"email": "jo@example.com", "plan": "trial"},
}
PERSON = {"identifiers": {"email": "jo@example.com"}}


def write(path: Path, value: Any) -> Path:
    """Write a case file; a text as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def run(*arguments: object) -> Result:
    """Run `segue test`."""
    return CliRunner().invoke(cli.app, ["test", *map(str, arguments)], env={"COLUMNS": "200"})


def expecting(expect: Any, event: Any = None, **members: Any) -> dict[str, Any]:
    """Return a case."""
    return {"event": LEAD if event is None else event, "expect": expect, **members}


def body(**members: Any) -> dict[str, Any]:
    """Return the body of a request with one operation, in part."""
    return {"body": {"batch": [members]}}
