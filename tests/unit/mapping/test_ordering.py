"""Which keys an event is ordered by."""

from __future__ import annotations

from typing import Any

import pytest

from mapping import compile_destination, destination_of, ordering_keys

PRESETS = compile_destination("presets")
BY_ID = compile_destination("by id", identifiers="id")


def test_an_event_is_ordered_by_everyone_it_names_once_each() -> None:
    event = {"type": "track", "event": "x", "userId": "u", "previousId": "u", "anonymousId": "a"}
    assert ordering_keys(event, PRESETS) == ("id:u", "anonymous_id:a")


def test_the_address_of_an_identify_is_a_person_where_addresses_identify() -> None:
    event = {"type": "identify", "userId": "u", "traits": {"email": "Jo@Example.com"}}
    assert ordering_keys(event, PRESETS) == ("id:u", "email:jo@example.com")
    assert ordering_keys(event, BY_ID) == ("id:u",)


def test_an_identify_that_gives_a_known_person_an_id_names_both() -> None:
    event = {"type": "identify", "userId": "cio_af", "traits": {"id": "new"}}
    assert ordering_keys(event, PRESETS) == ("cio_id:af", "id:new")


def test_an_id_that_somebody_known_by_address_is_given_is_a_key() -> None:
    event = {"type": "identify", "userId": "jo@example.com", "traits": {"id": "new"}}
    assert ordering_keys(event, PRESETS) == ("email:jo@example.com", "id:new")


def test_a_device_event_is_ordered_by_its_token_too() -> None:
    event = {"type": "track", "event": "Device Deleted", "userId": "u", "context": {"device": {"token": "t"}}}
    assert ordering_keys(event, PRESETS) == ("id:u", "device:t")


def test_a_token_counts_only_where_a_subscription_uses_it() -> None:
    event = {"type": "track", "event": "Order Placed", "userId": "u", "context": {"device": {"token": "t"}}}
    assert ordering_keys(event, PRESETS) == ("id:u",)


def test_numbers_and_lists_of_one_are_the_person_they_become() -> None:
    assert ordering_keys({"type": "track", "userId": 42}, PRESETS) == ("id:42",)
    assert ordering_keys({"type": "track", "userId": ["42"]}, PRESETS) == ("id:42",)


def test_a_mapping_that_fails_hides_only_what_it_names() -> None:
    mapping = {"person_id": {"@case": {"operator": "no", "value": {"@path": "$.name"}}}}
    subscription = {"subscribe": 'type = "track"', "partnerAction": "suppressPerson", "mapping": mapping}
    destination = destination_of({"siteId": "s", "apiKey": "k"}, [subscription])
    assert ordering_keys({"type": "track", "userId": "u", "name": "x"}, destination) == ("id:u",)


@pytest.mark.parametrize("event", [None, [], "text", 5, {}, {"userId": {}}, {"type": "track", "userId": ""}])
def test_what_names_nobody_has_no_keys(event: Any) -> None:
    assert ordering_keys(event, PRESETS) == ()
