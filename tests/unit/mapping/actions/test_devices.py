"""Devices: the events that the device actions do not apply to, and the platforms."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

import mapping
from tests.secrets import CREDENTIALS_TOML

PRESETS = mapping.compile_destination("presets")
DEVICE = {"token": "t", "type": "ios"}


def event(name: str = "Application Installed", device: Any = DEVICE, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "context": {"device": device}} | more


def destination(text: str) -> mapping.Destination:
    head = f"[destinations.d]\n{CREDENTIALS_TOML}[[destinations.d.subscriptions]]\n"
    return mapping.destinations(tomllib.loads(head + text))["d"]


@pytest.mark.parametrize("name", ["Application Installed", "Application Opened", "Device Created or Updated"])
@pytest.mark.parametrize(
    ("user", "device"),
    [
        (None, DEVICE),
        ("", DEVICE),
        ("u", {"type": "ios"}),
        ("u", {"token": "", "type": "ios"}),
        ("u", {"token": None}),
        ("u", None),
        (None, {}),
    ],
)
def test_an_install_without_a_person_or_a_token_is_not_applicable(name: str, user: Any, device: Any) -> None:
    translation = mapping.translate(event(name, device, userId=user, anonymousId="a"), PRESETS, 0.0)

    assert (translation.operations, translation.failures) == ((), ())
    assert translation.not_applicable == ("Create or Update Device",)


@pytest.mark.parametrize("name", ["Application Uninstalled", "Device Deleted"])
def test_an_uninstall_without_a_token_is_not_applicable_and_needs_no_cooldown(name: str) -> None:
    uninstall = event(name, {}, userId="u")

    assert mapping.translate(uninstall, PRESETS, 0.0).not_applicable == ("Delete Device",)
    assert not mapping.ordering_info(uninstall, PRESETS).needs_cooldown
    assert mapping.ordering_info(event(name, DEVICE, userId="u"), PRESETS).needs_cooldown


def test_the_reference_refuses_what_is_not_applicable() -> None:
    (result,) = mapping.event_results(event(device={}, anonymousId="a"), PRESETS, 0.0)["results"]

    assert result["status"] == "error"
    assert "'device_id'" in result["error"]["message"]


@pytest.mark.parametrize("changed", ['mapping.device_id = "$.context.devise.token"', 'mapping.person_id = "$.user"'])
def test_an_identifier_that_the_mapping_of_the_operator_does_not_find_is_a_failure(changed: str) -> None:
    own = destination(f'name = "Create or Update Device"\n{changed}')

    translation = mapping.translate(event(userId="u"), own, 0.0)

    assert translation.not_applicable == ()
    assert len(translation.failures) == 1


def test_a_field_with_a_mapping_of_its_own_is_not_looked_for_where_the_preset_finds_it() -> None:
    own = destination('name = "Create or Update Device"\nmapping.person_id = "$.context.traits.email"')
    device = event(context={"device": DEVICE, "traits": {"email": "jo@example.com"}})
    without_person = event()

    (operation,) = mapping.translate(device, own, 0.0).operations
    assert operation.body["identifiers"] == {"email": "jo@example.com"}
    assert len(mapping.translate(without_person, own, 0.0).failures) == 1


def test_the_mapping_of_another_field_does_not_matter() -> None:
    own = destination('name = "Create or Update Device"\nmapping.platform = "$.context.os.name"')

    assert mapping.translate(event(device={}), own, 0.0).not_applicable == ("Create or Update Device",)


@pytest.mark.parametrize("device", [{"token": "t"}, {"token": {}, "type": "ios"}])
def test_any_other_fault_of_a_device_is_a_failure(device: Any) -> None:
    translation = mapping.translate(event(device=device, userId="u"), PRESETS, 0.0)

    assert translation.not_applicable == ()
    assert len(translation.failures) == 1


def test_a_deletion_of_a_person_without_an_identifier_is_a_failure() -> None:
    assert mapping.translate({"type": "track", "event": "User Deleted", "anonymousId": "a"}, PRESETS, 0.0).failures


def test_the_explanation_names_the_absent_field() -> None:
    decisions = mapping.explain(event(device={}, userId="u"), PRESETS, 0.0).decisions

    (decision,) = [each for each in decisions if each.matched]
    assert decision.reason == "not applicable: the event has no device_id"
    assert decision.errors == ()


def sent_platform(spelled: Any) -> Any:
    (operation,) = mapping.translate(event(device={"token": "t", "type": spelled}, userId="u"), PRESETS, 0.0).operations
    return operation.body["device"]["platform"]


@pytest.mark.parametrize(
    ("platform", "spellings"),
    [
        ("ios", ["ios", "iOS", "IOS", "iPadOS", "ipados", "iPhone OS", "iphone", "iPad", "iOS 17.2"]),
        ("ios", ["tvOS", "Apple TV", "watchOS", "visionOS"]),
        ("android", ["android", "Android", "ANDROID", "Android TV", "android_tv", "Android 14", "Wear OS"]),
    ],
)
def test_a_platform_is_sent_as_the_service_spells_it(platform: str, spellings: list[str]) -> None:
    assert {sent_platform(spelled) for spelled in spellings} == {platform}


@pytest.mark.parametrize("spelled", ["macOS", "Windows", "web", "2024", "ios app", "mobile"])
def test_an_unknown_platform_is_unchanged(spelled: str) -> None:
    assert sent_platform(spelled) == spelled


def test_the_reference_does_not_change_the_platform() -> None:
    (request,) = mapping.event_results(event(device={"token": "t", "type": "iOS"}, userId="u"), PRESETS, 0.0)[
        "requests"
    ]

    assert request["json"]["device"]["platform"] == "iOS"


def test_the_explanation_has_the_platform_that_is_sent() -> None:
    explanation = mapping.explain(event(device={"token": "t", "type": "iPadOS"}, userId="u"), PRESETS, 0.0)

    assert [operation.body["device"]["platform"] for operation in explanation.operations] == ["ios"]
