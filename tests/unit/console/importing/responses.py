"""Responses of Segment's Public API, and runs of `segue import` with them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

import mapping
from console import cli
from mapping.subscription import presets


def subscriptions(destination: str = "d1") -> list[dict[str, Any]]:
    """Return the presets as List Subscriptions from Destination has them."""
    return [
        {
            "id": f"{destination}-{index}",
            "name": preset["name"],
            "actionId": f"a{index}",
            "actionSlug": preset["slug"],
            "destinationId": destination,
            "enabled": True,
            "trigger": preset["trigger"],
            "settings": dict(preset["mapping"]),
        }
        for index, preset in enumerate(presets())
    ]


def destination(key: str = "d1", name: str = "Customer.io (Actions)", **members: Any) -> dict[str, Any]:
    """Return a destination as Get Destination has it."""
    settings = {"accountRegion": "EU 🇪🇺", "siteId": "••••••••••7209", "apiKey": "••••••••••0d70"}
    common = {"id": key, "name": name, "enabled": True, "sourceId": "s1", "settings": settings}
    return common | {"metadata": {"id": "5f7dd78fe27ce7ff2b8bfa37"}} | members


def filter_of(condition: str, *actions: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Return a filter as List Filters from Destination has it."""
    common = {"id": "f", "sourceId": "s1", "destinationId": "d1", "title": "a filter", "enabled": True}
    filled = [{"fields": None, "path": None, "percent": None} | action for action in actions]
    return common | {"if": condition, "actions": filled} | members


def write(name: str, kind: str, value: Any) -> str:
    """Write a response to the working directory; return the name of the file."""
    pagination = {"current": "MA==", "totalEntries": 1}
    Path(name).write_text(json.dumps({"data": {kind: value, "pagination": pagination}}), encoding="utf-8")
    return name


def run(*arguments: str) -> Result:
    """Run `segue import`."""
    return CliRunner().invoke(cli.app, ["import", *arguments], env={"COLUMNS": "200"})


def compiled(text: str) -> dict[str, mapping.Destination]:
    """Return the destinations of a TOML text."""
    return mapping.destinations(tomllib.loads(re.sub(r"\$\{(\w+)\}", r"\1", text)))
