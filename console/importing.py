"""`segue import`: Segment's JSON with the subscriptions of a destination, converted to the TOML of Segue.

The input is a list of `{name, trigger|subscribe, partnerAction|actionSlug, settings|mapping, enabled}`, or the response
`{"data": {"subscriptions": [...]}}` of the Public API. A mapping in Segue is merged with the default mapping of its
action; one in Segment is complete. So a field that Segment does not map is written as an empty text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from console import toml_text
from console.errors import CommandError
from mapping.actions import ACTIONS

_PRESETS = tuple(action.title for action in ACTIONS.values())
_HEAD = """\
# Imported from Segment. Add a source that feeds it: see docs/configuration.md.
[destinations.{name}]
site_id = "${{CUSTOMERIO_SITE_ID}}"
api_key = "${{CUSTOMERIO_API_KEY}}"
region = "us"  # or "eu": Segment's list of subscriptions does not contain it
"""


def toml(text: bytes, destination: str) -> str:
    """Return the configuration of the destination as TOML. Raises CommandError: the input is invalid; the message names
    the subscription and the fault."""
    if not toml_text.is_bare_key(destination):
        raise CommandError(f'"{destination}" is not a valid name of a destination; use letters, digits, - and _')
    rows = [_Row(position, row) for position, row in enumerate(_subscriptions(text))]
    taken: set[str] = set()
    parts = [_HEAD.format(name=destination)]
    tables = []
    for row in rows:
        name = _unique(row.name, taken)
        tables.append("\n".join(row.lines(destination, name)))
    absent = [title for title in _PRESETS if title not in taken]
    if absent:
        off = "\n".join(f"{toml_text.key(title)} = false" for title in absent)
        parts.append(f"[destinations.{destination}.presets]\n{off}\n")
    return "\n".join([*parts, *tables])


def _subscriptions(text: bytes) -> list[Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"the file is not JSON: {error}") from None
    rows = document
    if isinstance(document, dict):
        inner = document.get("data", document)
        rows = inner.get("subscriptions") if isinstance(inner, dict) else None
    if not isinstance(rows, list) or not rows:
        raise CommandError("the file must be a list of subscriptions, or have one at data.subscriptions")
    return rows


class _Row:
    """One subscription of Segment."""

    def __init__(self, position: int, row: Any) -> None:
        self.where = f"subscriptions[{position}]"
        if not isinstance(row, dict):
            raise CommandError(f"{self.where}: must be an object, not {row!r}")
        self.slug = self._member(row, ("partnerAction", "actionSlug"), str)
        if self.slug not in ACTIONS:
            raise CommandError(f'{self.where}: there is no action "{self.slug}"; there are {", ".join(ACTIONS)}')
        self.action = ACTIONS[self.slug]
        self.trigger = self._member(row, ("trigger", "subscribe"), str)
        self.mapping = self._member(row, ("settings", "mapping"), dict)
        self.name = str(row.get("name") or self.action.title)
        self.enabled = row.get("enabled", True)
        if not isinstance(self.enabled, bool):
            raise CommandError(f"{self.where}.enabled: must be true or false, not {self.enabled!r}")

    def _member(self, row: dict[str, Any], names: tuple[str, str], kind: type[Any]) -> Any:
        found = next((row[name] for name in names if row.get(name) is not None), None)
        if not isinstance(found, kind):
            what = "a text" if kind is str else "an object"
            raise CommandError(f"{self.where}: needs {' or '.join(names)}, {what}")
        return found

    def lines(self, destination: str, name: str) -> Iterator[str]:
        yield f"[[destinations.{destination}.subscriptions]]"
        yield f"name = {toml_text.text(name)}"
        yield f"action = {toml_text.text(self.slug)}"
        yield f"trigger = {toml_text.text(self.trigger)}"
        if not self.enabled:
            yield "enabled = false"
        mapped = {key: value for key, value in self.mapping.items() if value is not None}
        unmapped = {key: "" for key in self.action.default_mapping if key not in mapped}
        for key, value in (mapped | unmapped).items():
            yield f"mapping.{toml_text.key(key)} = {toml_text.value(_spelled(value), f'{self.where}.mapping.{key}')}"
        yield ""


def _unique(name: str, taken: set[str]) -> str:
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name} {number}"
    taken.add(unique)
    return unique


def _spelled(value: Any) -> Any:
    """Return the shortest form of a field's value: `"$.a"` for a path, `"{{ a }}"` for a template."""
    match value:
        case str() if _is_parsed(value):
            return {"@literal": value}
        case {"@path": str(path)} if len(value) == 1 and path.startswith("$."):
            return path
        case {"@template": str(template)} if len(value) == 1 and _is_parsed(template) and not template.startswith("$."):
            return template
    return value


def _is_parsed(text: str) -> bool:
    """Return whether the configuration reads this text as a path or a template."""
    return text.startswith("$.") or "{{" in text
