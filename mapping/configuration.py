"""Compile the TOML tables `[destinations.NAME]` to destinations.

A file is refused with all of its faults. Each fault names its key, what is wrong and what would be right.
docs/configuration.md documents the keys.

    [destinations.journeys]                        # quick setup: all presets are on
    site_id = "${CIO_SITE_ID}"
    api_key = "${CIO_API_KEY}"

    [destinations.journeys.presets]                # customised: a preset is off,
    "Track Screen View" = false

    [[destinations.journeys.subscriptions]]        # and one subscription more; it starts from the default mapping
    name = "Lead"
    trigger = 'event = "Lead Captured"'
    action = "Create or Update Person"
    mapping.id = "$.properties.email"
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mapping.actions import ACTIONS, Action
from mapping.actions.action import Field as ActionField
from mapping.coercion import coerce, without_empty_texts
from mapping.cutover import NEVER, Cutover, CutoverField
from mapping.delivery import Delivery
from mapping.destination import (
    TYPES_AFTER_2021,
    Compatibility,
    Destination,
    Region,
    compile_destination,
)
from mapping.directives import ROOT_DIRECTIVE, directive_of, lint, root_of, validate_mapping
from mapping.envelope import JsonObject
from mapping.errors import ConfigurationError, InvalidMapping, InvalidPayload, Rejected
from mapping.filters import Filter, compile_filter
from mapping.filters.integrations import DEFAULT_NAMES
from mapping.fql import FqlError, parse, warnings
from mapping.javascript import UNDEFINED
from mapping.ordering_keys import IdentifierScheme, key_fault
from mapping.subscription import SubscriptionRow, compile_subscription, presets

# The keys of a destination that are compiled.
_COMPILED = {"presets", "subscriptions", "delivery", "filters", "mode", "cutover_at", "cutover_until", "cutover_by"}
_SECTIONS = ("sources", "destinations")
# Keys that Segment's mappings may have in addition to the fields of the action.
PLATFORM_KEYS = frozenset({ROOT_DIRECTIVE, "__segment_internal_sync_mode", "__segment_internal_matching_key"})

T = TypeVar("T")
_Text = Annotated[str, StringConstraints(min_length=1)]


def checked_credential(text: str) -> str:
    """Return the text. Raises ValueError: it has characters that come from copying, and that no credential has."""
    if text != text.strip():
        raise ValueError("must not begin or end with a space or a line feed")
    if not text.isprintable():
        raise ValueError("must not contain control characters or line feeds")
    return text


Credential = Annotated[str, StringConstraints(min_length=1), AfterValidator(checked_credential)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DestinationTable(_Strict):
    """The keys of `[destinations.NAME]`. No text shows a field without a `repr`."""

    site_id: Credential = Field(repr=False)
    api_key: Credential = Field(repr=False)
    region: Region = "us"
    identifiers: IdentifierScheme = "email_or_id"
    compatibility: Compatibility = "current"
    batch_items: int = Field(default=100, ge=1, le=1000)
    mode: Literal["live", "shadow"] = "live"
    cutover_at: datetime | None = None
    cutover_until: datetime | None = None
    cutover_by: CutoverField = "receivedAt"
    integration_names: list[_Text] = Field(default_factory=lambda: list(DEFAULT_NAMES))
    delivery: Delivery = Field(default_factory=Delivery)
    presets: dict[str, bool] = Field(default_factory=dict)
    subscriptions: list[Any] = Field(default_factory=list)
    filters: list[Any] = Field(default_factory=list)


class SubscriptionTable(_Strict):
    """The keys of `[[destinations.NAME.subscriptions]]`. Absent keys default to those of the preset of that name."""

    name: _Text
    trigger: _Text | None = None
    action: _Text | None = None
    enabled: bool = True
    mapping: dict[str, Any] = Field(default_factory=dict)


def destinations(document: Mapping[str, Any]) -> dict[str, Destination]:
    """Return the destinations of a document `{"destinations": {NAME: table}}`, by name.

    Raises ConfigurationError with every fault.
    """
    faults = [_unknown(key, key, _SECTIONS) for key in document if key not in _SECTIONS]
    tables = document.get("destinations", {})
    if not isinstance(tables, Mapping):
        raise ConfigurationError([*faults, "destinations: must be tables like [destinations.journeys]"])
    compiled = {}
    for name, table in tables.items():
        destination = _Reader(f"destinations.{name}", faults).destination(name, table)
        if destination is not None:
            compiled[name] = destination
    if faults:
        raise ConfigurationError(faults)
    return compiled


def lint_warnings(destination: Destination) -> list[str]:
    """Return the lint warnings of a destination: the names of subscriptions that are nearly those of presets; and for
    each trigger what it actually does, a suggestion, and the position in it."""
    titles = tuple(_by_title())
    names = [
        f'destinations.{destination.name}: the subscription "{subscription.name}" does not replace the preset "{near}"'
        for subscription in destination.subscriptions
        if subscription.name not in titles
        for near in get_close_matches(subscription.name, titles, n=1, cutoff=0.9)
    ]
    return names + [
        f'destinations.{destination.name}: the trigger of "{subscription.name}": {warning}'
        for subscription in destination.subscriptions
        if subscription.enabled and subscription.fault is None
        for warning in warnings(subscription.trigger)
    ]


class _Reader:
    """Reads the table of one destination; `where` is its key, `faults` collects those of the whole file."""

    def __init__(self, where: str, faults: list[str]) -> None:
        self.where = where
        self.faults = faults

    def destination(self, name: str, table: Any) -> Destination | None:
        """Return the destination, compiled; None when the file has faults so far."""
        settings = self.table(DestinationTable, self.where, table)
        given = table if isinstance(table, Mapping) else {}
        compatibility, switches = given.get("compatibility", "current"), _of_type(dict, given.get("presets"), {})
        chosen = self.presets(switches, compatibility)
        for position, row in enumerate(_of_type(list, given.get("subscriptions"), [])):
            self.subscription(f"{self.where}.subscriptions[{position}]", row, chosen, compatibility, switches)
        filters = [
            self.filter(f"{self.where}.filters[{position}]", row)
            for position, row in enumerate(_of_type(list, given.get("filters"), []))
        ]
        if settings is not None:
            self.ignored_keys(settings)
            self.moment(settings)
        if settings is None or self.faults:
            return None
        subscriptions = [compile_subscription(index, **row) for index, row in enumerate(chosen.values())]
        return compile_destination(
            name,
            subscriptions,
            **settings.model_dump(exclude=_COMPILED),
            cutover=self.cutover_of(settings),
            delivery=settings.delivery,
            filters=[each for each in filters if each is not None],
        )

    def moment(self, settings: DestinationTable) -> None:
        """Record the faults of the moment from which on events are sent."""
        at, until = settings.cutover_at, settings.cutover_until
        for key, moment in (("cutover_at", at), ("cutover_until", until)):
            if moment is not None and moment.tzinfo is None:
                self.faults.append(f"{self.where}.{key}: must have a zone, as in {moment.isoformat()}Z")
                return
        if at is not None and settings.mode == "shadow":
            self.faults.append(f'{self.where}.mode: must not be "shadow" beside cutover_at, which sends later events')
        if at is not None and until is not None and until <= at:
            self.faults.append(f"{self.where}.cutover_until: must be later than cutover_at")
        for key in sorted({"cutover_by", "cutover_until"} & settings.model_fields_set) if at is None else ():
            self.faults.append(f"{self.where}.{key}: has no effect without cutover_at")

    @staticmethod
    def cutover_of(settings: DestinationTable) -> Cutover | None:
        """Return the moment from which on events are sent; None: all are."""
        if settings.cutover_at is not None:
            until = settings.cutover_until
            until_ms = math.inf if until is None else _milliseconds(until)
            return Cutover(_milliseconds(settings.cutover_at), until_ms, settings.cutover_by)
        return NEVER if settings.mode == "shadow" else None

    def ignored_keys(self, settings: DestinationTable) -> None:
        """Record the faults of keys that no event has, so that ignoring them has no effect."""
        for index, key in enumerate(settings.delivery.ignored_keys):
            fault = key_fault(key, settings.identifiers)
            if fault:
                self.faults.append(f'{self.where}.delivery.ignored_keys[{index}]: "{key}" {fault}')

    def table(self, model: type[Any], where: str, table: Any) -> Any:
        """Return the table as a model; record its faults and return None when there are any."""
        try:
            return model.model_validate(table)
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                self.faults.append(_described(fault, where, model))
            return None

    def filter(self, where: str, row: Any) -> Filter | None:
        """Return the filter of one table; record its faults and return None when there are any."""
        if not isinstance(row, Mapping):
            self.faults.append(f"{where}: must be a table")
            return None
        try:
            return compile_filter(row)
        except ConfigurationError as error:
            self.faults += [f"{where}.{fault}" for fault in error.faults]
            return None

    def presets(self, switches: Mapping[str, Any], compatibility: str) -> dict[str, SubscriptionRow]:
        """Return the presets that are on, by name."""
        titles = tuple(_by_title())
        for name in switches:
            if name not in titles:
                self.faults.append(_unknown(f'{self.where}.presets."{name}"', name, titles, "preset"))
        return {
            preset["name"]: preset
            for preset in presets()
            if switches.get(preset["name"]) is not False
            and (compatibility == "current" or _is_preset_of_2021(ACTIONS[preset["slug"]]))
        }

    def subscription(
        self, where: str, row: Any, chosen: dict[str, SubscriptionRow], compatibility: str, switches: JsonObject
    ) -> None:
        """Add a subscription to those chosen; it replaces the preset of its name if there is one."""
        table = self.table(SubscriptionTable, where, row)
        if table is None:
            return
        preset = _by_title().get(table.name)
        if preset is not None and switches.get(table.name) is False:
            self.faults.append(f'{where}.name: the preset "{table.name}" is switched off in {self.where}.presets')
        if table.name in chosen and (preset is None or "enabled" in chosen[table.name]):
            self.faults.append(f'{where}.name: "{table.name}" is the name of an earlier subscription')
        if preset is None:
            self.another_spelling(where, table.name, chosen)
        action = self.action(where, table, preset)
        trigger = self.trigger(where, table, preset)
        if action is None:
            return
        mapping = self.mapping(where, table.mapping, action)
        if trigger is None:
            return
        if compatibility == "2021":
            self.accepted_in_2021(where, action, trigger)
        chosen[table.name] = {
            "name": table.name,
            "trigger": trigger,
            "slug": action.slug,
            "mapping": mapping,
            "enabled": table.enabled,
        }

    def another_spelling(self, where: str, name: str, chosen: Mapping[str, SubscriptionRow]) -> None:
        """Record a fault when the name differs from that of an enabled preset in capitals, spaces or signs only: the
        subscription would run beside the preset."""
        same = next((title for title in _by_title() if title in chosen and _letters(title) == _letters(name)), None)
        if same is not None:
            self.faults.append(
                f'{where}.name: "{name}" does not replace the preset "{same}"; write "{same}", or choose another name'
            )

    def action(self, where: str, table: SubscriptionTable, preset: Action | None) -> Action | None:
        """Return the action of a subscription, by slug or title; its preset's if it names none; None is a fault."""
        if table.action is None:
            if preset is None:
                self.faults.append(f"{where}.action: is missing; one of {', '.join(ACTIONS)}")
            return preset
        titles = _by_title()
        folded = {title.casefold(): action for title, action in titles.items()}
        action = ACTIONS.get(table.action) or folded.get(table.action.casefold())
        if action is None:
            known = (*ACTIONS, *titles)
            self.faults.append(_unknown(f"{where}.action", table.action, known, "action", shown=tuple(ACTIONS)))
        return action

    def trigger(self, where: str, table: SubscriptionTable, preset: Action | None) -> str | None:
        """Return the trigger of a subscription; its preset's if it has none; None is a fault."""
        if table.trigger is None:
            if preset is None:
                self.faults.append(f"{where}.trigger: is missing; which events, for example 'type = \"track\"'")
            return preset.trigger if preset else None
        try:
            parse(table.trigger)
        except FqlError as error:
            self.faults.append(f"{where}.trigger: {error}")
            return None
        return table.trigger

    def accepted_in_2021(self, where: str, action: Action, trigger: str) -> None:
        """Record a fault when the original product has no such action or accepts no such events."""
        types = parse(trigger).types() or frozenset()
        if types & TYPES_AFTER_2021:
            kinds = " and ".join(sorted(kind.capitalize() for kind in types & TYPES_AFTER_2021))
            self.faults.append(
                f'{where}.trigger: {kinds} events are not accepted with compatibility = "2021"; '
                'use compatibility = "current" or another trigger'
            )
        elif not action.in_2021:
            self.faults.append(
                f'{where}.action: {action.title} is not available with compatibility = "2021"; '
                'use compatibility = "current" or another action'
            )

    def mapping(self, where: str, overrides: JsonObject, action: Action) -> JsonObject:
        """Return the default mapping of the action, updated with `overrides`, paths and templates expanded."""
        fields = {field.key: field for field in action.fields}
        for key in overrides:
            if key not in fields and key not in PLATFORM_KEYS:
                what = f"field of {action.title}"
                self.faults.append(_unknown(f"{where}.mapping.{key}", key, tuple(fields), what))
        if faults := list(_not_json(overrides, f"{where}.mapping")):
            self.faults += faults
            return action.default_mapping
        given = {key: expanded(value) for key, value in overrides.items()}
        for key, value in given.items():
            if key in fields and fields[key].required and value == "":
                self.faults.append(
                    f'{where}.mapping.{key}: {action.title} needs its {fields[key].label}; give a path like "$.userId"'
                )
            self.constant(f"{where}.mapping.{key}", fields.get(key), value)
            try:
                validate_mapping({key: value})
            except InvalidMapping as error:
                self.faults += [f"{where}.mapping: {message}" for message in error.messages]
            else:
                self.faults += lint(value, f"{where}.mapping.{key}")
        if ROOT_DIRECTIVE in given:
            try:
                root_of(given)
            except Rejected as error:
                self.faults.append(f"{where}.mapping.{ROOT_DIRECTIVE}: {error}")
        return {**action.default_mapping, **given}

    def constant(self, where: str, field: ActionField | None, value: Any) -> None:
        """Record the fault of a value that the field refuses for every event, as its type is wrong."""
        if field is None or (value := _of_every_event(field, value)) is UNDEFINED:
            return
        try:
            coerce((field,), without_empty_texts({field.key: value}) or {field.key: "x"})
        except InvalidPayload as error:
            if value != "":
                self.faults.append(f"{where}: {error}")


def _of_every_event(field: ActionField, value: Any) -> Any:
    """Return a value of the type that this mapping gives the field for every event; UNDEFINED where events differ."""
    match directive_of(value):
        case "@literal":
            return _of_every_event(field, value["@literal"])
        case "@template" | "@liquid" if field.type == "object":  # the others take some texts
            return "text"
        case str():
            return UNDEFINED
    if type(value) is dict:
        return {"member": "value"}
    if type(value) is list:
        return ["item", "item"] if len(value) > 1 or field.type == "object" else UNDEFINED  # one item may be the value
    return value


def _of_type(kind: type[T], value: Any, otherwise: T) -> T:
    """Return the value if it has this type. The model of the table reports the fault of another one."""
    return value if isinstance(value, kind) else otherwise


def _milliseconds(moment: datetime) -> int:
    """Return Unix milliseconds, exactly: those of a `timestamp()` are off by fractions."""
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def _by_title() -> dict[str, Action]:
    return {action.title: action for action in ACTIONS.values()}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _is_preset_of_2021(action: Action) -> bool:
    """Whether the original product has the action and accepts events that its trigger selects."""
    types = parse(action.trigger).types()
    return action.in_2021 and (types is None or not types <= TYPES_AFTER_2021)


def _not_json(value: Any, where: str) -> Iterator[str]:
    """Yield the faults of values that TOML has and JSON has not."""
    match value:
        case dict():
            for key, member in value.items():
                yield from _not_json(member, f"{where}.{key}")
        case list():
            for index, item in enumerate(value):
                yield from _not_json(item, f"{where}[{index}]")
        case date() | time():
            yield f'{where}: is a date or a time; write it as a text, "{value.isoformat()}"'
        case float() if not math.isfinite(value):
            yield f"{where}: is {value}, but must be a finite number"


def _shown(value: Any) -> str:
    """Return a value of the file for a text: a string in quotes, others as JSON or TOML write them."""
    if isinstance(value, str):
        return repr(value)
    return value.isoformat() if isinstance(value, date | time) else json.dumps(value, default=str, ensure_ascii=False)


def expanded(value: Any) -> Any:
    """Return the mapping of a field with `"$.a.b"` written as `@path` and `"… {{ a.b }} …"` as `@template`."""
    if not isinstance(value, str):
        return value
    if value.startswith("$."):
        return {"@path": value}
    return {"@template": value} if "{{" in value else value


def _described(fault: Any, where: str, model: type[BaseModel]) -> str:
    """Return the text for a fault that pydantic found; with the value, unless the field is secret."""
    location, kind, value = fault["loc"], fault["type"], fault["input"]
    key = where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    context = fault.get("ctx", {})
    match kind:
        case "missing":
            return f"{key}: is missing"
        case "extra_forbidden":
            return _unknown(key, str(location[-1]), tuple(_table_at(model, location[:-1]).model_fields))
        case "literal_error":
            return f"{key}: is {_shown(value)}, but must be {context['expected']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{key}: must be a table"
        case "datetime_type":
            return f"{key}: must be a date with a time and a zone, without quotes, such as 2026-12-01T10:00:00Z"
        case "string_too_short":
            return f"{key}: must not be empty"
        case "value_error":
            return f"{key}: {context['error']}"
    shown = f" (it is {_shown(value)})" if model.model_fields[location[0]].repr else ""
    return f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}{shown}"


def _table_at(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel]:
    """Return the model of the table at a location, such as ("delivery",)."""
    for key in location:
        inner = model.model_fields[key].annotation
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else model
    return model


def _unknown(where: str, name: str, known: tuple[str, ...], what: str = "key", shown: tuple[str, ...] = ()) -> str:
    """Return the fault of an unknown name, with the most similar known name or all of them (`shown`)."""
    nearest = get_close_matches(name, known, n=1, cutoff=0.6)
    suggestion = f'did you mean "{nearest[0]}"?' if nearest else f"there are {', '.join(shown or known)}"
    return f'{where}: there is no {what} "{name}"; {suggestion}'
