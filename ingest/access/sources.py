"""Sources: the senders of events, each with its credentials, its rights and limits, and the destinations that get its
events."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from mapping import DELETION, RESTRICTED
from mapping.configuration import Credential
from settings import SettingsError

# What a public source may do only when its `may` names it: the deletion request, and the restricted actions.
PERMISSIONS: Final = (DELETION, *RESTRICTED)
PUBLIC_QUEUE_SHARE: Final = 0.5  # the default of `queue_share` of a public source


def _permission(name: str) -> str:
    if name not in PERMISSIONS:
        raise ValueError(f"must be one of {', '.join(PERMISSIONS)}")
    return name


_Text = Annotated[str, StringConstraints(min_length=1)]
_Permission = Annotated[str, AfterValidator(_permission)]
_Positive = Annotated[float, Field(gt=0)]
_Share = Annotated[float, Field(gt=0, le=1)]


class Source(BaseModel):
    """One table `[sources.NAME]`. Without a `webhook_secret`, requests to its webhook are refused.

    `trust`: "public" when the write key is no secret; without it the source counts as "server". `may`: the
    PERMISSIONS that a public source has. `identify`: "signed" when each `userId` needs a hash with `identify_secret`.
    `unlikely_ids`: what happens to an event whose id is one that many people may share, such as `undefined`.
    `collect_ip`: whether the address of a device is stored in its events. No text shows a field without a `repr`.
    `queue_share`, `queue_mb`, `dead_letter_share`: the most that each of its destinations holds of its events.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: _Text
    write_key: Credential = Field(repr=False)
    trust: Literal["public", "server"] | None = None
    may: list[_Permission] = Field(default_factory=list)
    identify: Literal["any", "signed"] = "any"
    identify_secret: Credential | None = Field(default=None, repr=False)
    webhook_secret: Credential | None = Field(default=None, repr=False)
    webhook_arrays: Literal["first", "whole", "refuse"] = "first"  # what the signature of an array must cover
    webhook_max_age_s: _Positive | None = None
    destinations: list[_Text] = Field(min_length=1)
    events_per_s: _Positive | None = None
    client_events_per_s: _Positive | None = None
    queue_share: _Share | None = None
    queue_mb: _Positive | None = None
    dead_letter_share: _Share | None = None
    unlikely_ids: Literal["count", "refuse"] = "count"
    collect_ip: bool = True
    reorder_ms: int | None = Field(default=None, ge=0, lt=10_000)
    browser_batch_ms: int = Field(default=300, ge=0)  # for how long analytics.js collects events; 0: it does not

    @property
    def is_public(self) -> bool:
        """Whether the write key is no secret, so that anyone can send the events of the source."""
        return self.trust == "public"

    @property
    def most_of_queue(self) -> float | None:
        """The share of a queue's limit that the source may fill, above 0 and up to 1; None without a limit."""
        return PUBLIC_QUEUE_SHARE if self.queue_share is None and self.is_public else self.queue_share

    @model_validator(mode="after")
    def _has_its_secret(self) -> Source:
        if self.identify == "signed" and self.identify_secret is None:
            raise ValueError('identify_secret: is missing; identify = "signed" needs it')
        return self


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


def warnings(document: Mapping[str, Any]) -> list[str]:
    """Return what a valid configuration should say of its sources and does not."""
    advice = 'set "public" for a key in pages or apps, "server" for one that only your servers know'
    return [
        f"sources.{source.name}.trust: is missing, so the source may delete and merge people; {advice}"
        for source in sources(document)
        if source.trust is None
    ]


def _described(name: str, fault: Any) -> str:
    key = f"sources.{name}" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    match fault["type"]:
        case "missing":
            return f"{key}: is missing"
        case "extra_forbidden":
            known = [name for name in Source.model_fields if name != "name"]
            nearest = get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.6)
            suggestion = f'did you mean "{nearest[0]}"?' if nearest else f"there are {', '.join(known)}"
            return f"{key}: there is no such key; {suggestion}"
    field = Source.model_fields.get(str(fault["loc"][0])) if fault["loc"] else None
    value = f" (it is {fault['input']!r})" if field and field.repr else ""
    text = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"][0].lower() + fault["msg"][1:]
    return f"{key}: {text}{value}" if fault["loc"] else f"{key}.{text}"
