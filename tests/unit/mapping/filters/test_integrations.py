"""The `integrations` of an event: whether its sender excludes a destination."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

import mapping
from mapping.filters.integrations import DEFAULT_NAMES, exclusion
from tests.secrets import CREDENTIALS_TOML

PRESETS = mapping.compile_destination("presets")
EVENT = {"type": "track", "event": "Secret", "userId": "u"}


def destination(text: str) -> mapping.Destination:
    return mapping.destinations(tomllib.loads(f"[destinations.d]\n{CREDENTIALS_TOML}{text}"))["d"]


@pytest.mark.parametrize(
    "integrations",
    [
        {"All": False},
        {"All": False, "Amplitude": True},
        {"all": False},  # of the library for Python
        {"all": False, "All": True},
        {"All": False, "Customer.io": None},
        {"Customer.io": False},
        {"Customer.io (Actions)": False},
        {"Actions Customerio": False},
        {"All": True, "Customer.io (Actions)": False},
        {"Customer.io": True, "Customer.io (Actions)": False},
    ],
)
def test_nothing_is_sent_for_an_event_that_excludes_the_destination(integrations: Any) -> None:
    translation = mapping.translate(EVENT | {"integrations": integrations}, PRESETS, 0.0)

    assert (translation.operations, translation.failures) == ((), ())
    assert translation.filtered is not None


@pytest.mark.parametrize(
    "integrations",
    [
        None,
        True,
        False,
        "All",
        ["All"],
        {},
        {"All": True},
        {"All": None},
        {"customer.io": False},  # names have their case
        {"Segment.io": False},  # libraries write it by themselves
        {"Amplitude": False},
        {"Customer.io": None},
        {"All": False, "Customer.io": True},
        {"all": False, "Customer.io": True},
        {"All": False, "Customer.io (Actions)": {}},
        {"All": False, "Actions Customerio": {"listen": True}},
    ],
)
def test_any_other_event_is_sent(integrations: Any) -> None:
    translation = mapping.translate(EVENT | {"integrations": integrations}, PRESETS, 0.0)

    assert translation.filtered is None
    assert len(translation.operations) == 1


def test_the_reason_names_what_is_false() -> None:
    assert exclusion({"integrations": {"All": False}}, DEFAULT_NAMES) == "integrations.All is false"
    assert exclusion({"integrations": {"Customer.io": False}}, DEFAULT_NAMES) == 'integrations."Customer.io" is false'


def test_the_names_of_a_destination_are_settable() -> None:
    shop = destination('integration_names = ["Customer.io Shop"]')

    def is_sent(**integrations: Any) -> bool:
        return bool(mapping.translate(EVENT | {"integrations": integrations}, shop, 0.0).operations)

    assert not is_sent(**{"Customer.io Shop": False})
    assert is_sent(**{"Customer.io": False})
    assert is_sent(**{"All": False, "Customer.io Shop": True})
    assert not is_sent(**{"All": False, "Customer.io": True})


def test_a_destination_without_names_is_only_excluded_with_all() -> None:
    nameless = destination("integration_names = []")

    assert mapping.translate(EVENT | {"integrations": {"Customer.io": False}}, nameless, 0.0).operations
    assert not mapping.translate(EVENT | {"integrations": {"All": False}}, nameless, 0.0).operations


@pytest.mark.parametrize("names", ['"Customer.io"', '[""]', "[1]"])
def test_invalid_names_are_a_fault(names: str) -> None:
    with pytest.raises(mapping.ConfigurationError, match=r"destinations\.d\.integration_names"):
        destination(f"integration_names = {names}")


def test_a_deletion_request_is_never_excluded() -> None:
    deletion = {"type": "delete", "userId": "u", "integrations": {"All": False, "Customer.io": False}}

    translation = mapping.translate(deletion, PRESETS, 0.0)

    assert [operation.body["action"] for operation in translation.operations] == ["delete"]
    assert mapping.ordering_info(deletion, PRESETS).needs_cooldown


def test_the_results_of_the_reference_do_not_depend_on_integrations() -> None:
    excluded = EVENT | {"integrations": {"All": False}}

    assert mapping.event_results(excluded, PRESETS, 0.0) == mapping.event_results(EVENT, PRESETS, 0.0)
    assert mapping.batch_results([excluded], PRESETS, 0.0) == mapping.batch_results([EVENT], PRESETS, 0.0)


def test_an_excluded_merge_needs_no_cooldown_and_joins_no_keys() -> None:
    merge = {"type": "alias", "userId": "new", "previousId": "old"}
    excluded = merge | {"integrations": {"All": False}}

    assert mapping.ordering_info(merge, PRESETS).needs_cooldown
    assert mapping.ordering_info(excluded, PRESETS) == mapping.OrderingInfo(("id:new", "id:old"))


def test_an_excluded_event_needs_no_cooldown_where_each_operation_waits_until_the_one_before_was_applied() -> None:
    applied = destination('[destinations.d.delivery]\norder = "applied"')

    assert mapping.ordering_info(EVENT, applied).needs_cooldown
    assert not mapping.ordering_info(EVENT | {"integrations": {"All": False}}, applied).needs_cooldown


def test_the_explanation_has_the_reason() -> None:
    explanation = mapping.explain(EVENT | {"integrations": {"All": False}}, PRESETS, 0.0)

    assert (explanation.event, explanation.decisions) == (None, ())
    assert explanation.filtered == "integrations.All is false"
