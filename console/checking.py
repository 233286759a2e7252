"""`segue check`: the faults of the configuration, its summary, its warnings, and a test of the credentials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

import redis

import mapping
from console.errors import of_redis
from console.output import counted
from console.state import shadow
from ingest.access import sources
from lanes.cluster import servers
from lanes.server import checks
from lanes.server.redis_url import verifies_certificate
from settings import VARIABLES, Settings, SettingsError, digest, injected_variables

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 10.0
_MB = 1_000_000
# Access to the file of a secret: others may read or change it, or its group may change it.
_TOO_OPEN = 0o027


def faults(document: dict[str, Any]) -> list[str]:
    """Return every fault of the configuration's tables, each with its key; an empty list when they are valid."""
    found: list[str] = []
    if not document.get("sources") and not document.get("destinations"):
        found.append("there are neither tables like [sources.website] nor like [destinations.journeys]")
    try:
        mapping.destinations(document)
    except mapping.ConfigurationError as error:
        found.extend(error.faults)
    try:
        sources.sources(document)
    except SettingsError as error:
        found.extend(str(error).splitlines())
    return found


def sending_faults(document: dict[str, Any], settings: Settings) -> list[str]:
    """Return why the requests of a valid configuration cannot be sent from this environment: its proxy, or its
    certificates."""
    if getproxies().keys() <= {"no"} and "SSL_CERT_FILE" not in os.environ:
        return []  # without the import of httpx, which takes longer than the whole check
    from delivery.customerio import TrackApi

    found: list[str] = []
    for destination in mapping.destinations(document).values():
        try:
            TrackApi(settings.track_url or destination.url, destination.site_id, destination.api_key, _TIMEOUT_S)
        except mapping.ConfigurationError as error:
            found.extend(error.faults)
    return list(dict.fromkeys(found))


def summary(document: dict[str, Any]) -> Iterator[str]:
    """Yield one line for a valid configuration, and one for each of its destinations and sources; two for a destination
    that does not send every event."""
    yield f"configuration {digest(document)}"
    for name, destination in mapping.destinations(document).items():
        enabled = sum(subscription.enabled for subscription in destination.subscriptions)
        yield f"destination {name}: region {destination.region}, {counted(enabled, 'subscription')} enabled"
        if sends := shadow.describe(destination):
            yield f"destination {name}: {sends}"
    for source in sources.sources(document):
        webhook = "" if source.webhook_secret else "; without webhook_secret, requests to its webhook are refused"
        trust = f" ({source.trust})" if source.trust else ""
        yield f"source {source.name}{trust} → {', '.join(source.destinations)}{webhook}"


def warnings(document: dict[str, Any]) -> list[str]:
    """Return the warnings of a valid configuration: of its sources, and the lint warnings of its triggers."""
    found = mapping.destinations(document).values()
    lint = [warning for destination in found for warning in mapping.lint_warnings(destination)]
    empty = [] if document.get("sources") else ["sources: there are none, so no event can be accepted"]
    return [*empty, *sources.warnings(document), *lint]


def settings_warnings(settings: Settings) -> list[str]:
    """Return what is valid in the settings and the configuration file, and probably not meant."""
    found = [*_environment_warnings(settings), *map(_mode_warning, filter(_is_too_open, settings.secret_files()))]
    found += [
        f"{key}: only ${{NAME}} is replaced by an environment variable; this text stays as it is"
        for key in settings.literal_references()
    ]
    for name, url in (("REDIS_URL", settings.redis_url), ("SEGUE_BROKER_URL", settings.broker_url)):
        if url is not None and not verifies_certificate(url):
            found.append(f"{name}: with ssl_cert_reqs=none or optional, the certificate of Redis is not verified")
    return found


def _environment_warnings(settings: Settings) -> Iterator[str]:
    injected = injected_variables(os.environ)
    settings_names = sorted(injected.intersection(VARIABLES))
    if injected:
        example = (settings_names or sorted(injected))[0]
        yield (
            f"{example}: is ignored, with {len(injected) - 1} more variables that the platform sets for a service; "
            "enableServiceLinks: false in the pod removes them"
        )
    for name in settings.unknown_variables():
        nearest = get_close_matches(name, VARIABLES, n=1, cutoff=0.6)
        yield f"{name}: there is no such setting" + (f"; did you mean {nearest[0]}?" if nearest else "")
    if "FORWARDED_ALLOW_IPS" in os.environ:
        yield "FORWARDED_ALLOW_IPS: is not read; SEGUE_TRUSTED_PROXIES names the proxies"


def _is_too_open(file: Path) -> bool:
    return bool(file.stat().st_mode & _TOO_OPEN)


def _mode_warning(file: Path) -> str:
    return (
        f"{file}: other users may read or change this secret (mode {file.stat().st_mode & 0o777:04o}); use 0400 or 0440"
    )


def redis_findings(client: redis.Redis, broker_url: str | None = None) -> Iterator[checks.Finding]:
    """Yield what is wrong with the Redis of the queues, with the rights of its user, and with Celery's own Redis."""
    yield from checks.broker_findings(broker_url)
    try:
        yield from checks.findings(client)
        forbidden = [command for server in servers(client).values() for command in checks.missing_rights(server)]
        for command in dict.fromkeys(forbidden):
            yield checks.Finding(f"its user must not run a command that is needed: {command}", True)
    except redis.RedisError as error:
        yield checks.Finding(f"cannot be used: {of_redis(error)}", True)


def redis_summary(client: redis.Redis) -> Iterator[str]:
    """Yield a line on each server of the Redis of the queues. Raises redis.RedisError."""
    for address, server in servers(client).items():
        found = checks.Server.of(server)
        used, limit = found.memory
        of = f"{limit / _MB:,.0f} MB" if limit else "no maxmemory"
        yield f"{f'Redis {address}'.strip()}: {found.name}, {used / _MB:,.0f} MB used of {of}"


def credentials(
    destination: mapping.Destination, settings: Settings, transport: httpx.BaseTransport | None = None
) -> str | None:
    """Send the credentials to Customer.io and return the fault; None when they and the region are right.

    `GET /api/v1/accounts/region` answers on the host of either region, according to the Track API reference.
    """
    import httpx

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
