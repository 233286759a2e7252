"""Sources: the senders of events, each with its credentials and the destinations that get its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from settings import SettingsError

_Text = Annotated[str, StringConstraints(min_length=1)]


class Source(BaseModel):
    """One table `[sources.NAME]`. Without a `webhook_secret`, requests to its webhook are refused.

    `unlikely_ids`: what happens to an event whose id is one that many people may share, such as `undefined`.
    `collect_ip`: whether the address of a device is stored in its events. No text shows a field without a `repr`.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: _Text
    write_key: _Text = Field(repr=False)
    webhook_secret: _Text | None = Field(default=None, repr=False)
    destinations: list[_Text] = Field(min_length=1)
    unlikely_ids: Literal["count", "refuse"] = "count"
    collect_ip: bool = True
    reorder_ms: int | None = Field(default=None, ge=0, lt=10_000)
    browser_batch_ms: int = Field(default=300, ge=0)  # for how long analytics.js collects events; 0: it does not


def sources(document: Mapping[str, Any]) -> tuple[Source, ...]:
    """Return the sources of a configuration: `{"sources": {NAME: table}, "destinations": {NAME: table}}`.

    Raises SettingsError with one line for each fault, which begins with the key.
    """
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
        for unknown in (name for name in source.destinations if name not in known):
            names = ", ".join(known) or "none"
            faults.append(f'sources.{source.name}.destinations: there is no destination "{unknown}"; there are {names}')
        other = next((each for each in found if each is not source and each.write_key == source.write_key), None)
        if other is not None:
            faults.append(f"sources.{source.name}.write_key: must differ from the write_key of sources.{other.name}")
    if faults:
        raise SettingsError("\n".join(faults))
    return tuple(found)


def _described(name: str, fault: Any) -> str:
    key = f"sources.{name}" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    match fault["type"]:
        case "missing":
            return f"{key}: is missing"
        case "extra_forbidden":
            known = ", ".join(name for name in Source.model_fields if name != "name")
            return f"{key}: there is no such key; there are {known}"
    field = Source.model_fields.get(str(fault["loc"][0]))
    value = f" (it is {fault['input']!r})" if field and field.repr else ""
    return f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}{value}"
