"""What analytics.js loads: the settings document, which tells it where to send, and the script itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mapping.envelope import JsonObject
from settings import SettingsError

SCRIPT: Final = "analytics.min.js"
_BATCH_EVENTS = 10
_CHUNK: Final = "ajs-destination"
# The first retry comes within the reorder window of a source, after 0.1 s in place of 0.5 s. The delays double, up to a
# minute. 100 attempts take an hour and a half; the 10 of the default would end after 100 s.
_RETRIES: Final = {"backoffConfig": {"baseBackoffInterval": 0.1, "maxRetryCount": 100}}


def settings_document(write_key: str, api_host: str, protocol: str, batch_ms: int) -> JsonObject:
    """Return the settings of a source, with this endpoint as the destination of its events.

    analytics.js sends to `PROTOCOL://API_HOST/…` from then on, where `api_host` ends in `/v1`. It sends the events of
    `batch_ms` milliseconds in one request, so they arrive in order; 0: each by itself. It repeats a failed request
    soon, so that later events do not overtake it. The members are those of `CDNSettings` in segmentio/analytics-next,
    packages/browser/src/browser/settings.ts; everything except the delivery of events is switched off. Customer.io's
    browser client reads its own key. It does not retry a batch, so it sends single events. Both clients load their
    chunk `ajs-destination` when `integrations` has more than one key (`hasLegacyDestinations` in
    packages/browser/src/browser/index.ts). No member prevents this, and the requests of the two clients do not differ.
    """
    endpoint = _endpoint(write_key, api_host, protocol)
    batching = {"strategy": "batching", "config": {"size": _BATCH_EVENTS, "timeout": batch_ms}}
    return {
        "integrations": {
            "Segment.io": endpoint | {"httpConfig": _RETRIES} | ({"deliveryStrategy": batching} if batch_ms else {}),
            "Customer.io Data Pipelines": endpoint,
        },
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def _endpoint(write_key: str, api_host: str, protocol: str) -> JsonObject:
    # Without `versionSettings`: clients load a script for each key that has them and is not their own.
    return {
        "apiKey": write_key,
        "apiHost": api_host,
        "protocol": protocol,
        "addBundledMetadata": True,
        "unbundledIntegrations": [],
        "maybeBundledConfigIds": {},
    }


def scripts(file: Path | None) -> dict[str, bytes]:
    """Return the file that SEGUE_ANALYTICS_JS names, as SCRIPT, and the bundles beside it by their names.

    analytics.js always loads the bundle of _CHUNK, and others when a page uses a feature that is rare. Raises
    SettingsError: a file cannot be read, or the bundle that the script names for _CHUNK is not beside it.
    """
    if file is None:
        return {}
    try:
        bundles = {path.name: path.read_bytes() for path in file.parent.glob("*.bundle.*.js")}
        script = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"SEGUE_ANALYTICS_JS: {file} cannot be read: {error.strerror}") from None
    hashes = [name.split(".")[-2].encode() for name in bundles if name.startswith(_CHUNK)]
    if _CHUNK.encode() in script and not any(each in script for each in hashes):
        raise SettingsError(
            f"SEGUE_ANALYTICS_JS: {file} loads {_CHUNK}.bundle.*.js, which is not beside it; copy all of dist/umd"
        )
    return bundles | {SCRIPT: script}
