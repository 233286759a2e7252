"""Privacy requests: their ordering, and their operations at Customer.io."""

from __future__ import annotations

import pytest

import mapping
from tests.secrets import CREDENTIALS

DESTINATIONS = mapping.destinations(
    {"destinations": {name: {**CREDENTIALS, "identifiers": name} for name in ("email_or_id", "id")}}
)
CURRENT = DESTINATIONS["email_or_id"]
JO = mapping.Person(("42", "cio_af"), ("Jo@example.com",), ("visitor",))


def bodies(event: mapping.PrivacyRequest | dict[str, object]) -> list[dict[str, object]]:
    sent = event.event("m") if isinstance(event, mapping.PrivacyRequest) else event
    return [operation.body for operation in mapping.translate(sent, CURRENT, 0.0).operations]


def test_a_privacy_request_is_read_from_its_event() -> None:
    for action in ("delete", "suppress", "unsuppress"):
        request = mapping.PrivacyRequest(JO, action)  # type: ignore[arg-type]
        assert mapping.privacy_request_of(request.event("m")) == request


def test_a_privacy_request_has_all_keys_of_the_person_and_needs_the_cooldown() -> None:
    info = mapping.ordering_info(mapping.PrivacyRequest(JO, "delete").event("m"), CURRENT)

    assert info.keys == ("id:42", "cio_id:af", "email:jo@example.com", "anonymous_id:visitor")
    assert info.needs_cooldown


def test_where_email_is_not_an_identifier_it_may_be_an_id() -> None:
    assert JO.keys("id") == ("id:42", "cio_id:af", "id:Jo@example.com", "anonymous_id:visitor")


def test_a_privacy_request_makes_an_operation_for_each_identifier() -> None:
    assert bodies(mapping.PrivacyRequest(JO, "suppress")) == [
        {"type": "person", "action": "suppress", "identifiers": {"id": "42"}},
        {"type": "person", "action": "suppress", "identifiers": {"cio_id": "af"}},
        {"type": "person", "action": "suppress", "identifiers": {"email": "Jo@example.com"}},
    ]


def test_triggers_and_filters_do_not_apply_to_a_deletion_request() -> None:
    table = {**CREDENTIALS, "filters": [{"if": "type = 'delete'", "action": "drop"}]}
    destination = mapping.destinations({"destinations": {"d": table}})["d"]

    (operation,) = mapping.translate({"type": "delete", "userId": "42"}, destination, 0.0).operations

    assert operation.body == {"type": "person", "action": "delete", "identifiers": {"id": "42"}}
    assert mapping.ordering_keys({"type": "delete", "userId": "42", "anonymousId": "x"}, destination) == (
        "id:42",
        "anonymous_id:x",
    )


def test_a_deletion_request_joins_no_keys() -> None:
    merges = {
        "action": "mergePeople",
        "trigger": 'type = "delete"',
        "mapping": {"primary": {"@path": "$.userId"}, "secondary": {"@path": "$.previousId"}},
    }
    table = {**CREDENTIALS, "subscriptions": [{"name": "Odd"} | merges]}
    destination = mapping.destinations({"destinations": {"d": table}})["d"]

    info = mapping.ordering_info({"type": "delete", "userId": "42", "previousId": "7"}, destination)

    assert info == mapping.OrderingInfo(("id:42",), needs_cooldown=True, run="delete")


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
def test_other_events_are_not_privacy_requests(event: dict[str, object]) -> None:
    assert mapping.privacy_request_of(event) is None


def test_a_privacy_request_without_identities_makes_no_operation() -> None:
    assert (
        bodies({"type": "segue privacy request", "person": {"emails": "no list", "user_ids": [1]}, "action": "delete"})
        == []
    )
    assert bodies({"type": "delete"}) == []
