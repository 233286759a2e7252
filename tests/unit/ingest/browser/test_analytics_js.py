"""What analytics.js loads: the settings document and the script."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.browser.analytics_js import scripts, settings_document
from settings import SettingsError


def test_analytics_js_sends_to_the_stated_address_and_batches() -> None:
    document = settings_document("w1", "events.example:8443/v1", "https", 300)

    segment = document["integrations"]["Segment.io"]
    assert (segment["apiKey"], segment["apiHost"], segment["protocol"]) == ("w1", "events.example:8443/v1", "https")
    assert segment["deliveryStrategy"] == {"strategy": "batching", "config": {"size": 10, "timeout": 300}}


@pytest.mark.parametrize("batch_ms", [0, 300])
def test_analytics_js_repeats_a_failed_request_within_the_reorder_window(batch_ms: int) -> None:
    """With its default, the second attempt comes up to 0.55 s after the first one failed, and another request may have
    overtaken it by then: one of 320 people in Chromium.
    """
    document = settings_document("w1", "events.example/v1", "https", batch_ms)

    backoff = document["integrations"]["Segment.io"]["httpConfig"]["backoffConfig"]
    attempts_s = [min(backoff["baseBackoffInterval"] * 2**attempt, 60) for attempt in range(backoff["maxRetryCount"])]
    assert sum(attempts_s[:2]) < 0.5
    assert sum(attempts_s) > 3600


def test_without_a_time_analytics_js_sends_single_events() -> None:
    document = settings_document("w1", "events.example/v1", "https", 0)

    assert "deliveryStrategy" not in document["integrations"]["Segment.io"]


def test_the_browser_client_of_customerio_gets_the_address_and_sends_single_events() -> None:
    integrations = settings_document("w1", "events.example/v1", "https", 300)["integrations"]

    expected = {
        name: value
        for name, value in integrations["Segment.io"].items()
        if name in integrations["Customer.io Data Pipelines"]
    }
    assert integrations["Customer.io Data Pipelines"] == expected
    assert list(integrations) == ["Segment.io", "Customer.io Data Pipelines"], "no other integration is loaded"


def test_no_browser_client_loads_the_script_of_an_integration() -> None:
    """Clients load the script of an integration that has a browser component, other than their own."""
    integrations = settings_document("w1", "events.example/v1", "https", 300)["integrations"]

    assert not any("versionSettings" in each or each.get("type") == "browser" for each in integrations.values())


def test_the_script_is_read_with_the_bundles_beside_it(tmp_path: Path) -> None:
    for name in ("standalone.js", "ajs-destination.bundle.1a2b.js", "notes.txt", "ajs-destination.bundle.1a2b.js.map"):
        (tmp_path / name).write_text(name)

    assert scripts(tmp_path / "standalone.js") == {
        "analytics.min.js": b"standalone.js",
        "ajs-destination.bundle.1a2b.js": b"ajs-destination.bundle.1a2b.js",
    }
    assert scripts(None) == {}


def test_a_script_that_cannot_be_read_is_an_error_of_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^SEGUE_ANALYTICS_JS: .* cannot be read: No such file"):
        scripts(tmp_path / "none.js")


@pytest.mark.parametrize("bundles", [(), ("ajs-destination.bundle.0ld.js",), ("schemaFilter.bundle.1a2b.js",)])
def test_a_script_without_the_bundle_that_it_always_loads_is_an_error(tmp_path: Path, bundles: tuple[str, ...]) -> None:
    """analytics.js would send nothing."""
    file = tmp_path / "standalone.js"
    file.write_text('{50:"ajs-destination"}[t]+".bundle."+{50:"1a2b"}[t]+".js"')
    for name in bundles:
        (tmp_path / name).write_text("")

    with pytest.raises(SettingsError, match=r"loads ajs-destination\.bundle\.\*\.js, which is not beside it"):
        scripts(file)
    (tmp_path / "ajs-destination.bundle.1a2b.js").write_text("x")
    assert scripts(file)["ajs-destination.bundle.1a2b.js"] == b"x"
