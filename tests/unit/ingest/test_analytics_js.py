"""The settings document of analytics.js."""

from __future__ import annotations

from ingest.analytics_js import settings_document


def test_analytics_js_sends_to_the_host_and_protocol_of_its_request() -> None:
    document = settings_document("w1", "events.example:8443", "https")

    segment = document["integrations"]["Segment.io"]
    assert (segment["apiKey"], segment["apiHost"], segment["protocol"]) == ("w1", "events.example:8443/v1", "https")
    assert list(document["integrations"]) == ["Segment.io"], "no other integration is loaded"
