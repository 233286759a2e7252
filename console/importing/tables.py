"""Tables of Segue's configuration from a destination of Segment, and what is left out of them.

A mapping in Segue is merged with the default mapping of its action; one in Segment is complete. So a field that Segment
does not map is written as an empty text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import mapping
from console.errors import CommandError
from console.importing.segment import Item, SegmentDestination, read
from mapping.actions import ACTIONS
from mapping.configuration import PLATFORM_KEYS
from mapping.destination import Region
from mapping.envelope import JsonObject
from mapping.filters import ROOTS, compile_filter

_PRESETS: Final = tuple(action.title for action in ACTIONS.values())
_FILTER_ACTIONS: Final = {"DROP": "drop", "SAMPLE": "sample", "DROP_PROPERTIES": "block", "ALLOW_PROPERTIES": "allow"}
_SETTINGS: Final = frozenset({"siteId", "apiKey", "accountRegion"})
_REGIONS: Final[dict[str, Region]] = {"US": "us", "EU": "eu"}
_DEFAULT_NAME: Final = "journeys"
_KINDS: Final = ((str, "a text"), (dict, "an object"), (list, "a list"))


class TitledFilter(NamedTuple):
    """A table of a filter, and the title that it has at Segment."""

    title: str
    table: JsonObject


@dataclass(frozen=True, slots=True)
class Table:
    """A destination. `region` is None when Segment's JSON does not have it."""

    region: Region | None
    subscriptions: list[JsonObject]
    filters: list[TitledFilter]

    @property
    def absent_presets(self) -> list[str]:
        """The presets that Segment's destination does not have."""
        names = {subscription["name"] for subscription in self.subscriptions}
        return [title for title in _PRESETS if title not in names]

    def document(self) -> JsonObject:
        """Return the table of the configuration, with credentials that are none."""
        return {
            "site_id": "site",
            "api_key": "key",
            "region": self.region or "us",
            "presets": dict.fromkeys(self.absent_presets, False),
            "subscriptions": self.subscriptions,
            "filters": [each.table for each in self.filters],
        }


@dataclass(slots=True)
class Setup:
    """The tables by the names of the destinations. `warnings`: what is left out, with the field and why."""

    tables: dict[str, Table] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def setup(files: Sequence[tuple[str, bytes]], name: str | None) -> Setup:
    """Return the tables of Segment's JSON; files are names with contents. `name` is that of the only destination.

    Raises CommandError: the input is invalid; the message names the subscription and the fault.
    """
    responses = read(files)
    if name is not None and len(responses.destinations) > 1:
        titles = ", ".join(_title(each) for each in responses.destinations)
        raise CommandError(f"there are several destinations: {titles}; omit --destination, or give the files of one")
    result = Setup(warnings=responses.left_out)
    for destination in responses.destinations:
        own_name = name or unique(_title(destination), result.tables)
        result.tables[own_name] = table = _Reader(result.warnings).table(destination)
        try:
            mapping.destinations({"destinations": {own_name: table.document()}})
        except mapping.ConfigurationError as error:
            result.warnings += [f"`segue check` refuses {fault}" for fault in error.faults]
    return result


class _Reader:
    """Reads one destination; `left_out` collects the fields that have no counterpart."""

    def __init__(self, left_out: list[str]) -> None:
        self._left_out = left_out

    def table(self, destination: SegmentDestination) -> Table:
        subscriptions: dict[str, JsonObject] = {}
        for item in destination.subscriptions:
            subscription = self._subscription(item)
            if subscription is not None:
                name = unique(subscription["name"], subscriptions, " ")
                subscriptions[name] = subscription | {"name": name}
        filters = [each for item in destination.filters for each in self._filters(item)]
        sources = {str(item.row["sourceId"]) for item in destination.filters if item.row.get("sourceId")}
        if len(sources) > 1:
            self._leave_out("filters: sourceId", f"each is of one source, {', '.join(sorted(sources))}; here of all")
        if not subscriptions:
            first = destination.own or next(iter([*destination.subscriptions, *destination.filters]))
            why = "its destination has no subscription here, so it sends nothing; add the response that lists them"
            self._leave_out(first.where, why)
        return Table(self._region(destination.own), list(subscriptions.values()), filters)

    def _leave_out(self, where: str, why: str) -> None:
        self._left_out.append(f"{where}: {why}")

    def _region(self, own: Item | None) -> Region | None:
        if own is None:
            return None
        settings = own.row.get("settings") or {}
        if not isinstance(settings, dict):
            raise CommandError(f"{own.where}.settings: must be an object, not {settings!r}")
        for name in sorted(settings.keys() - _SETTINGS):
            self._leave_out(f"{own.where}.settings.{name}", "Segue has no such key")
        if not _is_enabled(own):
            self._leave_out(f"{own.where}.enabled", "is false; give it no source until it is to send")
        text = str(settings.get("accountRegion"))  # such as "EU 🇪🇺"
        region = _REGIONS.get(text[:2])
        if region is None:
            self._leave_out(f"{own.where}.settings.accountRegion", f"is {text}, which is no region of Customer.io")
        return region

    def _subscription(self, item: Item) -> JsonObject | None:
        """Return the table of a subscription; None when it is left out. Raises CommandError: it is invalid."""
        row = item.row
        slug = _member(item, ("partnerAction", "actionSlug"), str)
        if row.get("modelId"):
            self._leave_out(f"{item.where}.modelId", "is of a model of Reverse ETL, which sends no events to Segue")
            return None
        if slug not in ACTIONS:
            raise CommandError(f'{item.where}: there is no action "{slug}"; there are {", ".join(ACTIONS)}')
        name = row.get("name") or ACTIONS[slug].title
        if not isinstance(name, str):
            raise CommandError(f"{item.where}.name: must be a text, not {name!r}")
        return {
            "name": name,
            "action": slug,
            "trigger": _member(item, ("trigger", "subscribe"), str),
            **({} if _is_enabled(item) else {"enabled": False}),
            "mapping": self._mapping(item, slug),
        }

    def _mapping(self, item: Item, slug: str) -> JsonObject:
        own = _member(item, ("settings", "mapping"), dict)
        known = {each.key for each in ACTIONS[slug].fields} | PLATFORM_KEYS
        for key in sorted(own.keys() - known):
            self._leave_out(f"{item.where}.settings.{key}", f"the action {slug} has no such field")
        mapped = {key: _spelled(value) for key, value in own.items() if value is not None and key in known}
        return mapped | {key: "" for key in ACTIONS[slug].default_mapping if key not in mapped}

    def _filters(self, item: Item) -> Iterator[TitledFilter]:
        """Yield a filter for each action of one of Segment's."""
        row = item.row
        if not _is_enabled(item):
            self._leave_out(f"{item.where}.enabled", "is false; Segue has no filter that is switched off")
            return
        for index, action in enumerate(_member(item, ("actions",), list)):
            where = f"{item.where}.actions[{index}]"
            table = self._filter(where, row.get("if"), action if isinstance(action, dict) else {})
            try:
                compile_filter(table)
            except mapping.ConfigurationError as error:
                self._leave_out(where, "; ".join(error.faults))
            else:
                yield TitledFilter(str(row.get("title") or ""), table)

    def _filter(self, where: str, condition: Any, action: JsonObject) -> JsonObject:
        """Return the table of a filter, which may be invalid."""
        kind = _FILTER_ACTIONS.get(str(action.get("type")), action.get("type"))
        table = {"if": condition, "action": kind}
        if kind == "sample":
            path = str(action.get("path") or "").removeprefix("$.")
            self._leave_out(f"{where}.percent", "Segue keeps the same share of events, but other ones than Segment")
            return table | {"rate": action.get("percent")} | ({"by": path} if path else {})
        if kind in ("block", "allow"):
            return table | {"fields": self._fields(f"{where}.fields", action.get("fields"))}
        return table

    def _fields(self, where: str, fields: Any) -> JsonObject:
        """Return the fields by path. Segment's empty path is the event itself."""
        found = fields if isinstance(fields, dict) else {}
        for path in [each for each in found if each.split(".")[0] not in ROOTS]:
            self._leave_out(f'{where}."{path}"', f"a filter of Segue changes fields of {', '.join(ROOTS)} only")
        return {path: names for path, names in found.items() if path.split(".")[0] in ROOTS}


def _is_enabled(item: Item) -> bool:
    enabled = item.row.get("enabled", True)
    if not isinstance(enabled, bool):
        raise CommandError(f"{item.where}.enabled: must be true or false, not {enabled!r}")
    return enabled


def _member(item: Item, names: tuple[str, ...], kind: type[Any]) -> Any:
    found = next((item.row[name] for name in names if item.row.get(name) is not None), None)
    if not isinstance(found, kind):
        what = next(text for known, text in _KINDS if known is kind)
        raise CommandError(f"{item.where}: needs {' or '.join(names)}, {what}")
    return found


def _title(destination: SegmentDestination) -> str:
    """Return the name of a destination as a key of the configuration."""
    title = str(destination.own.row.get("name") or "") if destination.own else ""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower())) or _DEFAULT_NAME


def unique(name: str, taken: Mapping[str, Any], separator: str = "-") -> str:
    """Return the name, with a number when it is taken."""
    number, result = 1, name
    while result in taken:
        number += 1
        result = f"{name}{separator}{number}"
    return result


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
