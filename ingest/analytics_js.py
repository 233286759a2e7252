"""The settings document: analytics.js loads it before it sends, and learns from it where to send."""

from __future__ import annotations

from mapping.envelope import JsonObject


def settings_document(write_key: str, host: str, protocol: str) -> JsonObject:
    """Return the settings of a source, with this endpoint as the destination of its events.

    `host` is the value of the `Host` header, `protocol` is `http` or `https`. analytics.js sends to
    `PROTOCOL://HOST/v1/…` from then on. The members are those of `CDNSettings` in segmentio/analytics-next,
    packages/browser/src/browser/settings.ts; everything except the delivery of events is switched off.
    """
    segment = {
        "apiKey": write_key,
        "apiHost": f"{host}/v1",
        "protocol": protocol,
        "addBundledMetadata": True,
        "unbundledIntegrations": [],
        "maybeBundledConfigIds": {},
        "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
    }
    return {
        "integrations": {"Segment.io": segment},
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }
