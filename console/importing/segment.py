"""Responses of Segment's Public API: the destinations in them, with their subscriptions and filters.

These are read, in any order and number: `{"data": {…}}` or its content, with

- `subscriptions`: of List Subscriptions from Destination, `{name, actionSlug, trigger, settings, enabled, modelId,
  destinationId}`; or with `partnerAction`, `subscribe`, `mapping`, as in the code of Segment's destinations;
- `filters`: of List Filters from Destination, `{if, actions: [{type, fields, path, percent}], enabled, title,
  sourceId, destinationId}`;
- `destinations`: of List Destinations, `{id, name, enabled, settings}`;
- `subscription`, `filter`, `destination`: of the requests for one of them.

A list is one of subscriptions. Source: the models of Segment's SDKs of the Public API.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from console.errors import CommandError
from mapping.actions import ACTIONS
from mapping.envelope import JsonObject, utf8_fault

_KINDS: Final = ("destinations", "subscriptions", "filters")
_REGION: Final = "accountRegion"  # the setting that Segment's destination of Customer.io has


class Item(NamedTuple):
    """An object of a response, and how texts name it, such as `filters.json: filters[0]`."""

    where: str
    row: JsonObject


@dataclass(frozen=True, slots=True)
class SegmentDestination:
    """A destination of Segment. `own` is None when no response has its settings."""

    own: Item | None
    subscriptions: list[Item] = field(default_factory=list)
    filters: list[Item] = field(default_factory=list)


@dataclass(slots=True)
class Responses:
    """What was read, and what is left out of it: the field, and why."""

    destinations: list[SegmentDestination] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read(files: Sequence[tuple[str, bytes]]) -> Responses:
    """Return the destinations of Customer.io in files with responses. Raises CommandError: one is none."""
    result = Responses()
    kinds: dict[str, list[Item]] = {kind: [] for kind in _KINDS}
    for name, text in files:
        for kind, item in _items(name, text, result.left_out):
            same = next((each for each in kinds[kind] if item.row.get("id") and each.row == item.row), None)
            if same is None:
                kinds[kind].append(item)
            else:
                result.left_out.append(f"{item.where}: is {same.where} once more")
    if not any(kinds.values()):
        names = ", ".join(name for name, _ in files)
        raise CommandError(f"{names}: has no subscription, so a destination would send nothing")
    found = {str(item.row.get("id")): SegmentDestination(item) for item in kinds["destinations"]}
    _add(found, kinds)
    for destination in found.values():
        if _is_of_customerio(destination):
            result.destinations.append(destination)
        elif destination.own is not None:
            title = destination.own.row.get("name")
            why = f"has no {_REGION} and no subscription, so it is no destination of Customer.io (Actions)"
            result.left_out.append(f'{destination.own.where} "{title}": {why}')
    if not result.destinations:
        raise CommandError("there is no destination of Customer.io (Actions): " + "; ".join(result.left_out))
    return result


def _items(name: str, text: bytes, left_out: list[str]) -> Iterator[tuple[str, Item]]:
    """Yield the kind and the content of each object of a response."""
    try:
        document = orjson.loads(text.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise CommandError(f"{name}: the file is not JSON: {utf8_fault(text) or error}") from None
    inner = document.get("data", document) if isinstance(document, dict) else {"subscriptions": document}
    if not isinstance(inner, dict):
        raise CommandError(f"{name}: data: must be an object, not {inner!r}")
    pages = inner.get("pagination")
    if isinstance(pages, dict) and pages.get("next"):
        left_out.append(f"{name}: pagination.next: the response has more pages; add them as further files")
    if not any(member in inner for kind in _KINDS for member in (kind, _singular(kind))):
        fault = f"; it has errors: {inner['errors']}" if "errors" in inner else ""
        raise CommandError(f"{name}: has no {', no '.join(_KINDS)}, so it is no response that can be read{fault}")
    for kind in _KINDS:
        if _singular(kind) in inner:
            yield kind, _item(f"{name}: {_singular(kind)}", inner[_singular(kind)])
        rows = inner.get(kind, [])
        if not isinstance(rows, list):
            raise CommandError(f"{name}: {kind}: must be a list of {kind}")
        yield from ((kind, _item(f"{name}: {kind}[{index}]", row)) for index, row in enumerate(rows))


def _singular(kind: str) -> str:
    return kind.removesuffix("s")


def _item(where: str, row: Any) -> Item:
    if not isinstance(row, dict):
        raise CommandError(f"{where}: must be an object, not {row!r}")
    return Item(where, row)


def _add(found: dict[str, SegmentDestination], kinds: dict[str, list[Item]]) -> None:
    """Add the subscriptions and filters to their destinations. What names none is of the only one."""
    rest = [*kinds["subscriptions"], *kinds["filters"]]
    for name in [str(item.row["destinationId"]) for item in rest if item.row.get("destinationId")]:
        found.setdefault(name, SegmentDestination(None))
    if not found:
        found[""] = SegmentDestination(None)
    for kind in ("subscriptions", "filters"):
        for item in kinds[kind]:
            name = str(item.row.get("destinationId") or "")
            if not name and len(found) > 1:
                raise CommandError(f"{item.where}.destinationId: is missing; there are {', '.join(found)}")
            destination = found[name] if name else next(iter(found.values()))
            (destination.subscriptions if kind == "subscriptions" else destination.filters).append(item)


def _is_of_customerio(destination: SegmentDestination) -> bool:
    """Whether it has the setting of Customer.io, or a subscription to one of its actions, or no other data."""
    if destination.own is None:
        return True
    settings = destination.own.row.get("settings")
    slugs = {str(item.row.get("actionSlug") or item.row.get("partnerAction")) for item in destination.subscriptions}
    return (isinstance(settings, dict) and _REGION in settings) or not slugs.isdisjoint(ACTIONS)
