"""`context.ip`: filled in for the libraries of devices, as Segment does."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.addresses import with_ip


@pytest.mark.parametrize(
    "library",
    [
        *("analytics.js", "analytics-ios", "analytics-android", "@segment/analytics-react-native"),
        *("analytics-swift", "analytics-kotlin", "RudderLabs JavaScript SDK", "rudder-ios-library", "@jitsu/js"),
        "Rudderstack AMP SDK",
    ],
)
def test_a_library_for_devices_gets_the_address_of_the_connection(library: str) -> None:
    context = {"library": {"name": library}}

    assert with_ip(context, "8.8.8.8") == context | {"ip": "8.8.8.8"}
    assert "ip" not in context


@pytest.mark.parametrize(
    "context",
    [
        {"library": {"name": "analytics-python"}},
        {"library": {"name": "@segment/analytics-node"}},
        {"library": {"name": "axios"}},
        {"library": {"name": "analytics.js"}, "ip": "0.0.0.0"},
        {"library": {"name": "analytics.js"}, "ip": None},
        {"library": {"name": 5}},
        {"library": "analytics.js"},
        {},
        None,
    ],
)
def test_every_other_context_stays_as_it_is(context: Any) -> None:
    assert with_ip(context, "8.8.8.8") is context
