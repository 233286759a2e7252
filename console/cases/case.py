"""One case: an event, and what is expected of it at the destinations.

    {"name": "a lead is a person", "source": "website",
     "event": {"type": "track", "event": "Lead Captured", "userId": "42"},
     "expect": {"requests": [{"destination": "journeys", "path": "/api/v2/batch", "body": {"batch": [{…}]}}],
                "fates": {"journeys": "sent"},
                "errors": [{"destination": "journeys", "subscription": "Lead", "error": "…"}],
                "nothing_else": true}}

Only `event` is required. What `expect` does not name may be anything, but for `nothing_else`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingest.events import MAX_LEVELS
from mapping.envelope import JsonObject, has_more_levels

Fate = Literal["sent", "filtered", "unmatched", "dead", "refused"]
Path = tuple[str | int, ...]

_MOST_LEVELS = 2 * MAX_LEVELS  # a request contains an event, and an expectation contains the request


class Fault(NamedTuple):
    """What is wrong with a case, and at which member of it."""

    path: Path
    text: str

    def __str__(self) -> str:
        """Return the text behind the member, such as `expect.requests[0].body: must be an object`."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return ": ".join(filter(None, ("".join(parts).removeprefix("."), self.text)))


@dataclass(frozen=True, slots=True)
class Case:
    """A case of a file. `expect` is None when the file says nothing."""

    name: str
    event: JsonObject
    source: str | None
    expect: JsonObject | None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Request(_Strict):
    destination: str = ""
    path: str = ""
    body: dict[str, Any] = Field(default_factory=dict)


class _Error(_Strict):
    destination: str = ""
    subscription: str = ""
    error: str = ""


class _Expect(_Strict):
    requests: list[_Request] = Field(default_factory=list)
    fates: dict[str, Fate] = Field(default_factory=dict)
    errors: list[_Error] = Field(default_factory=list)
    nothing_else: bool = False


class _Table(_Strict):
    name: str = ""
    event: dict[str, Any]
    source: str = ""
    expect: _Expect = Field(default_factory=_Expect)


def faults(value: Any, destinations: Collection[str], sources: Collection[str]) -> list[Fault]:
    """Return what is wrong with a case, given the names of the configuration; an empty list when it is valid."""
    if not isinstance(value, dict):
        return [Fault((), 'must be an object like {"event": {…}, "expect": {…}}')]
    if has_more_levels(value, _MOST_LEVELS):
        return [Fault((), f"is nested in more than {_MOST_LEVELS} levels")]
    try:
        table = _Table.model_validate(value)
    except ValidationError as error:
        return [Fault(each["loc"], _described(each)) for each in error.errors(include_url=False)]
    found = list(_unknown(table, destinations, sources))
    if "expect" in value and not table.expect.model_fields_set:
        found.append(Fault(("expect",), f"names nothing; it has {', '.join(_Expect.model_fields)}"))
    return found


def read(value: JsonObject, default_name: str) -> Case:
    """Return the case of a valid value."""
    return Case(value.get("name") or default_name, value["event"], value.get("source"), value.get("expect"))


def _unknown(table: _Table, destinations: Collection[str], sources: Collection[str]) -> Iterator[Fault]:
    if table.source and table.source not in sources:
        yield Fault(("source",), f'there is no source "{table.source}"; there are {", ".join(sources) or "none"}')
    expect = table.expect
    named: list[tuple[Path, str]] = [(("fates", name), name) for name in expect.fates]
    named += [(("requests", index, "destination"), item.destination) for index, item in enumerate(expect.requests)]
    named += [(("errors", index, "destination"), item.destination) for index, item in enumerate(expect.errors)]
    for path, name in named:
        if name and name not in destinations:
            yield Fault(("expect", *path), f'there is no destination "{name}"; there are {", ".join(destinations)}')


def _described(fault: Any) -> str:
    """Return the text for a fault that pydantic found."""
    match fault["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return f"there is no such member of a case; there are {', '.join(_members(fault['loc'][:-1]))}"
        case "literal_error":
            return f"is {fault['input']!r}, but must be {fault['ctx']['expected']}"
        case "model_type" | "dict_type":
            return "must be an object"
        case "list_type":
            return "must be a list"
        case "string_type":
            return "must be a text"
        case "bool_type":
            return "must be true or false"
    text = str(fault["msg"])
    return f"{text[:1].lower()}{text[1:]}"


def _members(path: Path) -> Iterable[str]:
    """Return the members that an object at `path` of a case may have."""
    match path:
        case ():
            return _Table.model_fields
        case ("expect",):
            return _Expect.model_fields
        case ("expect", "requests", *_):
            return _Request.model_fields
    return _Error.model_fields
