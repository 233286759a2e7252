"""Destination filters: which events the actions of a destination receive, and with which fields.

`compile_filter(table)` compiles a table of the configuration,

    if = "type = 'track' and properties.test = true"       # which events, in the dialect of filters
    action = "drop"

with one of these actions:

    action = "sample", rate = 0.1, by = "userId"           # keep this share of the values of `by` (`messageId`)
    action = "block", fields = { traits = ["ssn"] }        # remove these fields of the objects at these paths
    action = "allow", fields = { traits = ["plan"] }       # remove all other fields of the objects at these paths

`in_order` sorts the filters of a destination; `apply(filters, event)` applies them. Pure: the event is never changed,
and the same event always has the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Final, Literal, get_args

from mapping.envelope import JsonObject
from mapping.errors import ConfigurationError
from mapping.filters.evaluate import FilterCondition, parse_filter
from mapping.fql.errors import FqlError

Action = Literal["drop", "sample", "block", "allow"]
Change = Callable[[JsonObject], JsonObject | None]

ROOTS: Final = ("properties", "traits", "context")  # the only fields Segment's filters remove anything from
_ORDER: Final[tuple[Action, ...]] = get_args(Action)
_NEEDED: Final = {"drop": (), "sample": ("rate",), "block": ("fields",), "allow": ("fields",)}


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition and the change of events that meet it."""

    condition: FilterCondition
    action: Action
    change: Change

    @property
    def name(self) -> str:
        """How the filter is named where events that it drops are counted: `drop if type = 'track'`."""
        return f"{self.action} if {self.condition.source}"

    def apply(self, event: JsonObject) -> JsonObject | None:
        """Return the event or a changed copy; None if it is dropped."""
        return self.change(event) if self.condition(event) else event


def in_order(filters: Iterable[Filter]) -> tuple[Filter, ...]:
    """Return the filters in the order in which they apply: drop and sample before fields are removed."""
    return tuple(sorted(filters, key=lambda each: _ORDER.index(each.action)))


def apply(filters: Sequence[Filter], event: JsonObject) -> JsonObject | Filter:
    """Return the event after the filters, or the filter that drops it."""
    for each in filters:
        kept = each.apply(event)
        if kept is None:
            return each
        event = kept
    return event


def drop(_event: JsonObject) -> None:
    """Drop every event."""


def sample(rate: float, by: str = "messageId") -> Change:
    """Return the change that keeps a share `rate` (0 to 1) of the values at the path `by`, always the same values.

    A value is a text or a number. An event without one is sampled by its messageId. Without both it is kept.
    """
    paths = (by.split("."), ["messageId"])

    def change(event: JsonObject) -> JsonObject | None:
        found = next((value for path in paths if isinstance(value := _at(event, path), str | int | float)), None)
        return event if found is None or _share(found) < rate else None

    return change


def block(fields: Mapping[str, Sequence[str]]) -> Change:
    """Return the change that removes fields; `fields`: path of an object to the names of its fields."""
    return _changing(fields, lambda names, parent: {key: parent[key] for key in parent if key not in names})


def allow(fields: Mapping[str, Sequence[str]]) -> Change:
    """Return the change that removes all other fields; `fields`: path of an object to the names of its fields."""
    return _changing(fields, lambda names, parent: {key: parent[key] for key in parent if key in names})


def compile_filter(table: Mapping[str, Any]) -> Filter:
    """Return the filter of a table. Raises ConfigurationError with every fault, each beginning with its key."""
    faults = list(_faults(table))
    condition = None
    try:
        condition = parse_filter(table["if"]) if isinstance(table.get("if"), str) else None
    except FqlError as error:
        faults.append(f"if: {error}")
    if faults or condition is None:
        raise ConfigurationError(faults)
    action: Action = table["action"]
    match action:
        case "drop":
            return Filter(condition, action, drop)
        case "sample":
            return Filter(condition, action, sample(table["rate"], table.get("by", "messageId")))
        case "block":
            return Filter(condition, action, block(table["fields"]))
        case "allow":
            return Filter(condition, action, allow(table["fields"]))


def _faults(table: Mapping[str, Any]) -> Iterable[str]:
    action = table.get("action")
    if not isinstance(table.get("if"), str):
        yield "if: is missing; which events, for example \"type = 'track'\""
    if action not in _ORDER:
        yield f"action: {_not(action)} one of {', '.join(_ORDER)}"
        return
    known = {"if", "action", *_NEEDED[action], *(["by"] if action == "sample" else [])}
    for key in table:
        if key not in known:
            yield f"{key}: a filter with the action {action} has no such key; it has {', '.join(sorted(known))}"
    if action == "sample":
        rate = table.get("rate")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
            yield f"rate: {_not(rate)} the share of the events to keep, from 0 to 1"
        by = table.get("by", "messageId")
        if not isinstance(by, str) or by.startswith("$") or not all(by.split(".")):
            yield f"by: is {by!r}, but must be a path such as userId or context.device.id"
    if "fields" in known:
        yield from _faults_of_fields(table.get("fields"), can_be_empty=action == "allow")


def _not(value: Any) -> str:
    """Return the beginning of the fault of a value, or of None for a key that is absent."""
    return "is missing; it must be" if value is None else f"is {value!r}, but must be"


def _faults_of_fields(fields: Any, *, can_be_empty: bool) -> Iterable[str]:
    if not isinstance(fields, Mapping) or not fields:
        yield f'fields: {_not(fields)} a table of paths and field names, such as {{ traits = ["ssn"] }}'
        return
    for path, names in fields.items():
        if path.split(".")[0] not in ROOTS:
            yield f"fields.{path}: must be in one of {', '.join(ROOTS)}"
        elif not all(path.split(".")):
            yield f"fields.{path}: has an empty name; write a path such as traits.address"
        is_list = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
        if not is_list or not (names or can_be_empty):
            yield f"fields.{path}: is {names!r}, but must be a list with the names of fields"


def _changing(fields: Mapping[str, Sequence[str]], keep: Callable[[frozenset[str], JsonObject], JsonObject]) -> Change:
    changes = [(path.split("."), partial(keep, frozenset(names))) for path, names in fields.items()]

    def change(event: JsonObject) -> JsonObject:
        for path, replace in changes:
            event = _replaced(event, path, replace)
        return event

    return change


def _replaced(parent: JsonObject, path: Sequence[str], replace: Callable[[JsonObject], JsonObject]) -> JsonObject:
    """Return a copy of `parent` with the object at `path` replaced, or each object of a list there."""
    if not path:
        return replace(parent)
    match parent.get(path[0]):
        case dict() as child:
            return {**parent, path[0]: _replaced(child, path[1:], replace)}
        case list() as children:
            items = [_replaced(item, path[1:], replace) if isinstance(item, dict) else item for item in children]
            return {**parent, path[0]: items}
        case _:
            return parent


def _at(event: JsonObject, path: Sequence[str]) -> Any:
    value: Any = event
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _share(value: str | float) -> float:
    """Return a number from 0 to 1: always the same for a value, and uniformly distributed over values."""
    digest = blake2b(str(value).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
