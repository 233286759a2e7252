"""The ordering keys of an event."""

from __future__ import annotations

from typing import Any

import pytest

from mapping import (
    Destination,
    compile_destination,
    destination_of,
    destinations,
    ordering_info,
    ordering_keys,
    translate,
)
from tests.secrets import CREDENTIALS

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


ALIAS = {"type": "alias", "userId": "u", "previousId": "p"}


def filtering(**members: Any) -> Destination:
    """A destination with one filter."""
    delivery = {"order": members.pop("order")} if "order" in members else {}
    table = {**CREDENTIALS, "delivery": delivery, "filters": [members]}
    return destinations({"destinations": {"d": table}})["d"]


@pytest.mark.parametrize("order", ["acknowledged", "applied"])
def test_an_event_that_a_filter_drops_joins_no_people_and_needs_no_cooldown(order: str) -> None:
    """Nothing is sent for it. A sender with a public key could delay any person."""
    dropping = filtering(**{"if": "type = 'alias'", "action": "drop", "order": order})
    excluded = ALIAS | {"integrations": {"All": False}}

    assert ordering_info(ALIAS, dropping) == (("id:u", "id:p"), False, None, "")
    assert ordering_info(excluded, filtering(**{"if": "type = 'page'", "action": "drop", "order": order}))[1:3] == (
        False,
        None,
    )


def test_an_event_is_ordered_as_the_subscriptions_get_it() -> None:
    track = {"type": "track", "event": "Device Deleted", "userId": "u", "context": {"device": {"token": "t"}}}
    without_device = filtering(**{"if": "type = 'track'", "action": "block", "fields": {"context": ["device"]}})

    assert ordering_keys(track, without_device) == ("id:u",)
    assert ordering_info(ALIAS, without_device).join == ("id:p", "id:u")


def test_a_root_directive_decides_what_the_identifying_fields_get() -> None:
    root = {"@transform": {"apply": {"user": {"@path": "$.properties.user"}, "name": {"@path": "$.event"}}}}
    mapping = {"id": {"@path": "$.user"}, "name": {"@path": "$.name"}, "__segment_internal_directive": root}
    subscription = {"subscribe": 'type = "track"', "partnerAction": "trackEvent", "mapping": mapping}
    destination = destination_of({"siteId": "s", "apiKey": "k"}, [subscription])
    event = {"type": "track", "event": "x", "messageId": "m", "anonymousId": "a", "properties": {"user": "42"}}

    assert translate(event, destination, 0).operations[0].body["identifiers"] == {"id": "42"}
    assert ordering_keys(event, destination) == ("anonymous_id:a", "id:42")
