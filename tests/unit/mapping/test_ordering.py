"""The ordering keys of an event."""

from __future__ import annotations

from typing import Any

import pytest

from mapping import compile_destination, destination_of, ordering_keys

PRESETS = compile_destination("presets")
BY_ID = compile_destination("by id", identifiers="id")


def test_an_event_has_a_key_for_each_person_that_it_names() -> None:
    event = {"type": "track", "event": "x", "userId": "u", "previousId": "u", "anonymousId": "a"}
    assert ordering_keys(event, PRESETS) == ("id:u", "anonymous_id:a")


def test_the_email_trait_is_a_key_where_email_is_an_identifier() -> None:
    event = {"type": "identify", "userId": "u", "traits": {"email": "Jo@Example.com"}}
    assert ordering_keys(event, PRESETS) == ("id:u", "email:jo@example.com")
    assert ordering_keys(event, BY_ID) == ("id:u",)


def test_an_identify_of_a_cio_id_with_an_id_has_both_keys() -> None:
    event = {"type": "identify", "userId": "cio_af", "traits": {"id": "new"}}
    assert ordering_keys(event, PRESETS) == ("cio_id:af", "id:new")


def test_an_identify_of_an_email_with_an_id_has_both_keys() -> None:
    event = {"type": "identify", "userId": "jo@example.com", "traits": {"id": "new"}}
    assert ordering_keys(event, PRESETS) == ("email:jo@example.com", "id:new")


def test_a_device_event_is_also_ordered_by_its_token() -> None:
    event = {"type": "track", "event": "Device Deleted", "userId": "u", "context": {"device": {"token": "t"}}}
    assert ordering_keys(event, PRESETS) == ("id:u", "device:t")


def test_a_device_token_is_a_key_only_if_a_subscription_uses_it() -> None:
    event = {"type": "track", "event": "Order Placed", "userId": "u", "context": {"device": {"token": "t"}}}
    assert ordering_keys(event, PRESETS) == ("id:u",)


def test_identities_are_coerced_to_texts() -> None:
    assert ordering_keys({"type": "track", "userId": 42}, PRESETS) == ("id:42",)
    assert ordering_keys({"type": "track", "userId": ["42"]}, PRESETS) == ("id:42",)


def test_a_failing_mapping_does_not_remove_other_keys() -> None:
    mapping = {"person_id": {"@case": {"operator": "no", "value": {"@path": "$.name"}}}}
    subscription = {"subscribe": 'type = "track"', "partnerAction": "suppressPerson", "mapping": mapping}
    destination = destination_of({"siteId": "s", "apiKey": "k"}, [subscription])
    assert ordering_keys({"type": "track", "userId": "u", "name": "x"}, destination) == ("id:u",)


@pytest.mark.parametrize("event", [None, [], "text", 5, {}, {"userId": {}}, {"type": "track", "userId": ""}])
def test_an_event_without_identities_has_no_keys(event: Any) -> None:
    assert ordering_keys(event, PRESETS) == ()
