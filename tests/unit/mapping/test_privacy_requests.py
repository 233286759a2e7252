"""Orders to forget somebody: what they are ordered by, and what they come to at Customer.io."""

from __future__ import annotations

import pytest

import mapping

DESTINATIONS = mapping.destinations(
    {"destinations": {name: {"site_id": "s", "api_key": "k", "identifiers": name} for name in ("email_or_id", "id")}}
)
CURRENT = DESTINATIONS["email_or_id"]
JO = mapping.Person(("42", "cio_af"), ("Jo@example.com",), ("visitor",))


def bodies(event: mapping.PrivacyRequest | dict[str, object]) -> list[dict[str, object]]:
    told = event.event("m") if isinstance(event, mapping.PrivacyRequest) else event
    return [operation.body for operation in mapping.translate(told, CURRENT, 0.0).operations]


def test_an_order_reads_as_it_was_written() -> None:
    for action in ("delete", "suppress", "unsuppress"):
        order = mapping.PrivacyRequest(JO, action)  # type: ignore[arg-type]
        assert mapping.privacy_request_of(order.event("m")) == order


def test_an_order_stands_apart_in_every_lane_of_the_person() -> None:
    place = mapping.ordering_info(mapping.PrivacyRequest(JO, "delete").event("m"), CURRENT)

    assert place.keys == ("id:42", "cio_id:af", "email:jo@example.com", "anonymous_id:visitor")
    assert place.needs_cooldown


def test_where_email_is_a_plain_trait_an_address_may_still_be_an_id() -> None:
    assert JO.keys("id") == ("id:42", "cio_id:af", "id:Jo@example.com", "anonymous_id:visitor")


def test_there_is_one_operation_for_each_identifier() -> None:
    assert bodies(mapping.PrivacyRequest(JO, "suppress")) == [
        {"type": "person", "action": "suppress", "identifiers": {"id": "42"}},
        {"type": "person", "action": "suppress", "identifiers": {"cio_id": "af"}},
        {"type": "person", "action": "suppress", "identifiers": {"email": "Jo@example.com"}},
    ]


def test_segment_s_deletion_asks_no_trigger_and_no_filter() -> None:
    table = {"site_id": "s", "api_key": "k", "filters": [{"if": "type = 'delete'", "action": "drop"}]}
    destination = mapping.destinations({"destinations": {"d": table}})["d"]

    (operation,) = mapping.translate({"type": "delete", "userId": "42"}, destination, 0.0).operations

    assert operation.body == {"type": "person", "action": "delete", "identifiers": {"id": "42"}}
    assert mapping.ordering_keys({"type": "delete", "userId": "42", "anonymousId": "x"}, destination) == (
        "id:42",
        "anonymous_id:x",
    )


def test_a_deletion_joins_nobody_whatever_triggers_ask_for() -> None:
    merges = {
        "action": "mergePeople",
        "trigger": 'type = "delete"',
        "mapping": {"primary": {"@path": "$.userId"}, "secondary": {"@path": "$.previousId"}},
    }
    table = {"site_id": "s", "api_key": "k", "subscriptions": [{"name": "Odd"} | merges]}
    destination = mapping.destinations({"destinations": {"d": table}})["d"]

    place = mapping.ordering_info({"type": "delete", "userId": "42", "previousId": "7"}, destination)

    assert place == mapping.OrderingInfo(("id:42",), needs_cooldown=True)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "segue privacy request"},
        {"type": "segue privacy request", "person": [], "action": "delete"},
        {"type": "segue privacy request", "person": {}, "action": ["delete"]},
        {"type": "segue privacy request", "person": {}, "action": "buy"},
        {"type": "track", "event": "User Deleted", "userId": "1"},
    ],
)
def test_anything_else_is_no_order(event: dict[str, object]) -> None:
    assert mapping.privacy_request_of(event) is None


def test_what_names_nobody_comes_to_nothing() -> None:
    assert (
        bodies({"type": "segue privacy request", "person": {"emails": "no list", "user_ids": [1]}, "action": "delete"})
        == []
    )
    assert bodies({"type": "delete"}) == []
