"""`segue import --check-drift`: where a configuration and Segment's JSON are not equal any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mapping
from console.errors import CommandError
from console.importing.tables import Setup, Table, unique
from dead_letters.changes import changes
from mapping.configuration import expanded
from mapping.envelope import JsonObject, encoded
from mapping.subscription import Subscription


def drift(document: Mapping[str, Any], setup: Setup, name: str | None) -> Iterator[str]:
    """Yield a line for each difference between a configuration and the tables of an import.

    A destination is compared with the one of its name; with the only one, whatever its name, when both have one. `name`
    is the destination of the configuration that the only one of Segment is compared with. Raises ConfigurationError:
    the configuration is invalid. Raises CommandError: it has no such destination.
    """
    ours = mapping.destinations(document)
    for other, table in setup.tables.items():
        own = name or (next(iter(ours)) if len(ours) == len(setup.tables) == 1 else other)
        if own not in ours:
            raise CommandError(f'there is no destination "{own}" in the configuration; there are {", ".join(ours)}')
        yield from (f"{own}: {line}" for line in _of_destination(ours[own], table))
        filters = document["destinations"][own].get("filters", [])
        yield from (f"{own}: {line}" for line in _of_filters(filters, [each.table for each in table.filters]))


def _of_destination(ours: mapping.Destination, table: Table) -> Iterator[str]:
    if table.region not in (None, ours.region):
        yield _line("region", ours.region, table.region)
    here = {each.name: each for each in ours.subscriptions}
    there = {each["name"]: each for each in table.subscriptions}
    for name, other in there.items():
        if name in here:
            for field, own, their in _members(here[name], other):
                yield _line(f'subscription "{name}": {field}', own, their)
        elif other.get("enabled", True):
            yield f'subscription "{name}": is missing here'
    for name, own_only in here.items():
        if name not in there and own_only.enabled:
            yield f'subscription "{name}": is not at Segment'


def _members(ours: Subscription, theirs: JsonObject) -> Iterator[tuple[str, Any, Any]]:
    """Yield the members of a subscription that differ, with both values."""
    pairs = {
        "enabled": (ours.enabled, theirs.get("enabled", True)),
        "action": (ours.slug, theirs["action"]),
        "trigger": (ours.trigger, theirs["trigger"]),
    }
    for key in dict.fromkeys([*ours.mapping, *theirs["mapping"]]):
        pairs[f"mapping.{key}"] = _named(ours.mapping.get(key)), _named(expanded(theirs["mapping"].get(key)))
    for field, (own, their) in pairs.items():
        if any(changes(own, their)):
            yield field, own, their


def _named(value: Any) -> Any:
    """Return the mapping of a field; None when it maps nothing."""
    return None if value == "" else value


def _of_filters(ours: list[JsonObject], theirs: list[JsonObject]) -> Iterator[str]:
    here, there = _by_name(ours), _by_name(theirs)
    for name, table in there.items():
        if name not in here:
            yield f"filter {name}: is missing here"
            continue
        for change in changes(here[name], table):
            yield _line(f"filter {name}: {change.field}", change.before, change.after)
    yield from (f"filter {name}: is not at Segment" for name in here if name not in there)


def _by_name(filters: list[JsonObject]) -> dict[str, JsonObject]:
    """Return the other keys of the filters by action and condition; lists of fields in one order."""
    result: dict[str, JsonObject] = {}
    for table in filters:
        name = unique(f"{table['action']} if {' '.join(table['if'].split())}", result, " ")
        result[name] = {key: value for key, value in table.items() if key not in ("action", "if")}
        if "fields" in table:
            result[name]["fields"] = {path: sorted(names) for path, names in table["fields"].items()}
    return result


def _line(field: str, own: Any, their: Any) -> str:
    values = ("nothing" if value is None else encoded(value).decode() for value in (own, their))
    return "{}: is {} here and {} at Segment".format(field, *values)
