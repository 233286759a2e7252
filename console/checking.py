"""`segue check`: the faults of the configuration, its summary, its warnings, and a test of the credentials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

import mapping
from ingest.access import sources
from lanes.redis_url import verifies_certificate
from settings import Settings, SettingsError

_TIMEOUT_S = 10.0


def faults(document: dict[str, Any]) -> list[str]:
    """Return every fault of the configuration's tables, each with its key; an empty list when they are valid."""
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
    """Yield one line for each destination and source of a valid configuration."""
    for name, destination in mapping.destinations(document).items():
        enabled = sum(subscription.enabled for subscription in destination.subscriptions)
        yield f"destination {name}: region {destination.region}, {enabled} subscriptions enabled"
    for source in sources.sources(document):
        webhook = "" if source.webhook_secret else "; without webhook_secret, requests to its webhook are refused"
        trust = f" ({source.trust})" if source.trust else ""
        yield f"source {source.name}{trust} → {', '.join(source.destinations)}{webhook}"
    if not document.get("sources"):
        yield "no sources: no event can be accepted"


def warnings(document: dict[str, Any]) -> list[str]:
    """Return the warnings of a valid configuration: of its sources, and the lint warnings of its triggers."""
    found = mapping.destinations(document).values()
    lint = [warning for destination in found for warning in mapping.lint_warnings(destination)]
    return [*sources.warnings(document), *lint]


def settings_warnings(settings: Settings) -> list[str]:
    """Return what is valid in the settings and the configuration file, and probably not meant."""
    found = [
        f"{key}: only ${{NAME}} is replaced by an environment variable; this text stays as it is"
        for key in settings.literal_references()
    ]
    if not verifies_certificate(settings.redis_url):
        found.append("REDIS_URL: with ssl_cert_reqs=none or optional, the certificate of Redis is not verified")
    return found


def credentials(
    destination: mapping.Destination, settings: Settings, transport: httpx.BaseTransport | None = None
) -> str | None:
    """Send the credentials to Customer.io and return the fault; None when they and the region are right.

    `GET /api/v1/accounts/region` answers on the host of either region, according to the Track API reference.
    """
    url = settings.track_url or destination.url
    try:
        with httpx.Client(base_url=url, timeout=_TIMEOUT_S, transport=transport) as http:
            response = http.get("/api/v1/accounts/region", auth=(destination.site_id, destination.api_key))
            region = response.json().get("region") if response.is_success else None
    except (httpx.HTTPError, ValueError) as error:
        return f"{url} did not answer: {error or type(error).__name__}"
    if response.status_code in (401, 403):
        return f"{url} refuses site_id and api_key (HTTP {response.status_code})"
    if not response.is_success:
        return f"{url} answers HTTP {response.status_code}; try again later"
    if region != destination.region:
        return f'the workspace is in the region "{region}", but the configuration says "{destination.region}"'
    return None
