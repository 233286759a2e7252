"""The keys of people, objects and devices, and the fields that identify them."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.actions import ACTIONS
from mapping.ordering_keys import IdentifierScheme, compile_identities, email_key, person_key


@pytest.mark.parametrize(
    ("text", "scheme", "key"),
    [
        ("42", "email_or_id", "id:42"),
        ("Jo@Example.COM", "email_or_id", "email:jo@example.com"),
        ("Jo@Example.COM", "id", "id:Jo@Example.COM"),
        ("cio_af12", "email_or_id", "cio_id:af12"),
        ("CIO_af12", "email_or_id", "id:CIO_af12"),
        ("jo@localhost", "email_or_id", "id:jo@localhost"),
        (" jo@example.com", "email_or_id", "id: jo@example.com"),
    ],
)
def test_a_person_id_is_a_cio_id_an_email_or_an_id(text: str, scheme: IdentifierScheme, key: str) -> None:
    assert person_key(text, scheme) == key


def test_an_email_is_a_key_only_where_email_is_an_identifier() -> None:
    assert email_key("Jo@Example.com", "email_or_id") == "email:jo@example.com"
    assert email_key("Jo@Example.com", "id") is None


def keys(slug: str, changes: dict[str, Any], event: dict[str, Any]) -> list[str | None]:
    action = ACTIONS[slug]
    identities = compile_identities(action.fields, {**action.default_mapping, **changes})
    return [identity(event, "email_or_id") for identity in identities]


def test_members_that_own_keys_reads_are_not_resolved_again() -> None:
    assert keys("trackEvent", {}, {"userId": "u"}) == []


def test_a_mapped_person_id_is_a_key() -> None:
    assert keys("trackEvent", {"id": {"@path": "$.properties.id"}}, {"properties": {"id": 7}}) == ["id:7"]


def test_a_device_is_a_key() -> None:
    assert keys("deleteDevice", {}, {"context": {"device": {"token": "t"}}}) == ["device:t"]


def test_an_object_key_has_a_type_which_defaults_to_one() -> None:
    assert keys("createUpdateObject", {}, {"groupId": "g"}) == ["object:1:g"]
    assert keys("createUpdateObject", {}, {"groupId": "g", "traits": {"object_type_id": 3}}) == ["object:3:g"]


def test_an_empty_identity_has_no_key() -> None:
    assert keys("createUpdateObject", {}, {"groupId": ""}) == [None]


@pytest.mark.parametrize("mapping", [None, [], "text"])
def test_a_mapping_that_is_not_an_object_has_no_keys(mapping: Any) -> None:
    assert compile_identities(ACTIONS["trackEvent"].fields, mapping) == ()
