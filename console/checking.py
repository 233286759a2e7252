"""Whether the configuration can be used, and whether Customer.io takes its credentials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

import mapping
from ingest import sources
from settings import Settings, SettingsError

_TIMEOUT_S = 10.0


def faults(document: dict[str, Any]) -> list[str]:
    """Return every fault of the configuration's tables, each naming its key; none when it can be used."""
    found: list[str] = []
    try:
        mapping.destinations(document)
    except mapping.ConfigurationError as error:
        found.extend(error.faults)
    try:
        sources.sources(document)
    except SettingsError as error:
        found.extend(str(error).splitlines())
    return found


def summary(document: dict[str, Any]) -> Iterator[str]:
    """Yield one line for each destination and source of a configuration without faults."""
    for name, destination in mapping.destinations(document).items():
        enabled = sum(subscription.enabled for subscription in destination.subscriptions)
        yield f"destination {name}: region {destination.region}, {enabled} subscriptions enabled"
    for source in sources.sources(document):
        webhook = "" if source.webhook_secret else "; no webhook_secret, so its webhook is refused"
        yield f"source {source.name} → {', '.join(source.destinations)}{webhook}"
    if not document.get("sources"):
        yield "no sources: nothing can come in"


def warnings(document: dict[str, Any]) -> list[str]:
    """Return what surprises in the triggers of a configuration without faults."""
    found = mapping.destinations(document).values()
    return [surprise for destination in found for surprise in mapping.lint_warnings(destination)]


def credentials(
    destination: mapping.Destination, settings: Settings, transport: httpx.BaseTransport | None = None
) -> str | None:
    """Ask Customer.io for the region of the credentials, and return what is wrong with them; None when nothing is.

    `GET /api/v1/accounts/region` answers on either region's host, says the Track API reference.
    """
    url = settings.track_url or destination.url
    try:
        with httpx.Client(base_url=url, timeout=_TIMEOUT_S, transport=transport) as http:
            answer = http.get("/api/v1/accounts/region", auth=(destination.site_id, destination.api_key))
            region = answer.json().get("region") if answer.is_success else None
    except (httpx.HTTPError, ValueError) as error:
        return f"{url} did not answer: {error or type(error).__name__}"
    if answer.status_code in (401, 403):
        return f"{url} refuses site_id and api_key (HTTP {answer.status_code})"
    if not answer.is_success:
        return f"{url} answers HTTP {answer.status_code}; try again later"
    if region != destination.region:
        return f'the workspace is in the region "{region}", but the configuration says "{destination.region}"'
    return None
