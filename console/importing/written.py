"""The tables of an import as a TOML file."""

from __future__ import annotations

from collections.abc import Iterator

from console import toml_text
from console.errors import CommandError
from console.importing.tables import Setup, Table
from console.output import safe_line
from mapping.envelope import JsonObject

_HEAD = "# Imported from Segment. Add a source that feeds it: see docs/configuration.md.\n"


def toml(setup: Setup) -> str:
    """Return the configuration as TOML, with the warnings as comments. Raises CommandError: it cannot be written."""
    for name in setup.tables:
        if not toml_text.is_bare_key(name):
            raise CommandError(f'"{name}" is not a valid name of a destination; use letters, digits, - and _')
    lines = [_HEAD.rstrip(), *(f"# warning: {safe_line(warning)}" for warning in setup.warnings)]
    for name, table in setup.tables.items():
        prefix = f"{name.upper().replace('-', '_')}_" if len(setup.tables) > 1 else ""
        lines += _destination(name, table, f"CUSTOMERIO_{prefix}")
    return "\n".join(lines)


def _destination(name: str, table: Table, variables: str) -> Iterator[str]:
    unknown = "" if table.region else '  # or "eu": Segment\'s JSON does not contain it'
    yield f"[destinations.{name}]"
    yield f'site_id = "${{{variables}SITE_ID}}"'
    yield f'api_key = "${{{variables}API_KEY}}"'
    yield f'region = "{table.region or "us"}"{unknown}'
    yield ""
    if table.absent_presets:
        yield f"[destinations.{name}.presets]"
        yield from (f"{toml_text.key(title)} = false" for title in table.absent_presets)
        yield ""
    for subscription in table.subscriptions:
        yield f"[[destinations.{name}.subscriptions]]"
        yield from _pairs(subscription, f'subscription "{subscription["name"]}"')
        yield ""
    for title, row in table.filters:
        yield f"[[destinations.{name}.filters]]{f'  # {safe_line(title)}' if title else ''}"
        yield from _pairs(row, "filter")
        yield ""


def _pairs(table: JsonObject, where: str) -> Iterator[str]:
    for name, value in table.items():
        if name == "mapping":
            yield from (
                f"mapping.{toml_text.key(key)} = {toml_text.value(inner, f'{where}: mapping.{key}')}"
                for key, inner in value.items()
            )
        else:
            yield f"{name} = {toml_text.value(value, f'{where}: {name}')}"
