"""Sources: who may send events, and which destinations they feed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from settings import SettingsError

_Text = Annotated[str, StringConstraints(min_length=1)]


class Source(BaseModel):
    """One `[sources.NAME]`. Without a `webhook_secret` its webhook is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: _Text
    write_key: _Text
    webhook_secret: _Text | None = None
    destinations: list[_Text] = Field(min_length=1)


def sources(document: Mapping[str, Any]) -> tuple[Source, ...]:
    """Return the sources of the file's tables; raise SettingsError with every fault, each naming its key."""
    tables = document.get("sources", {})
    if not isinstance(tables, Mapping):
        raise SettingsError("sources: must be tables like [sources.website]")
    found: list[Source] = []
    faults: list[str] = []
    for name, table in tables.items():
        try:
            found.append(Source.model_validate({**table, "name": name}))
        except TypeError:
            faults.append(f"sources.{name}: must be a table")
        except ValidationError as error:
            faults += [_described(name, fault) for fault in error.errors(include_url=False)]
    known = document.get("destinations", {})
    for source in found:
        for unknown in (one for one in source.destinations if one not in known):
            there = ", ".join(known) or "none"
            faults.append(f'sources.{source.name}.destinations: there is no destination "{unknown}"; there are {there}')
        twin = next((one for one in found if one is not source and one.write_key == source.write_key), None)
        if twin is not None:
            faults.append(f"sources.{source.name}.write_key: is that of sources.{twin.name} as well")
    if faults:
        raise SettingsError("\n".join(faults))
    return tuple(found)


def _described(name: str, fault: Any) -> str:
    key = f"sources.{name}" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    match fault["type"]:
        case "missing":
            return f"{key}: is missing"
        case "extra_forbidden":
            return f"{key}: there is no such key; there are write_key, webhook_secret, destinations"
    return f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]} (it is {fault['input']!r})"
