"""Ids: which are refused, which keep their digits, and which are unlikely to identify a person."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.errors import Refusal
from ingest.identities import check, keep_digits, names_one_person, unlikely

ODD = 2**53 + 1


@pytest.mark.parametrize("value", [True, {"a": 1}, [1], float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["userId", "anonymousId", "previousId", "groupId", "messageId"])
def test_an_id_is_a_text_or_a_number(name: str, value: Any) -> None:
    with pytest.raises(Refusal, match=f"{name}: must be a string or a number") as refused:
        check({"userId": "1", "anonymousId": "a", name: value}, "track")

    assert refused.value.field == name


@pytest.mark.parametrize("value", [False, [], {}])
@pytest.mark.parametrize("name", ["userId", "anonymousId", "previousId", "groupId", "messageId"])
def test_an_empty_value_of_another_type_is_no_id(name: str, value: Any) -> None:
    event = {"userId": "1", "anonymousId": "a"} | {name: value}
    others = {other: text for other, text in event.items() if other != name}

    check(event, "track")

    assert event == others
    with pytest.raises(Refusal, match="userId: is missing; an event needs"):
        check({"userId": value, "anonymousId": value}, "track")


@pytest.mark.parametrize(
    ("number", "stored"),
    [
        (42, 42),
        (ODD - 1, ODD - 1),
        (ODD, "9007199254740993"),
        (-ODD, "-9007199254740993"),
        (ODD + 1, ODD + 1),
        (2**60, "1152921504606846976"),  # a double can represent it, but JavaScript writes other digits
        (2**64 - 1, "18446744073709551615"),
        (1.5e300, 1.5e300),
    ],
)
@pytest.mark.parametrize("name", ["userId", "anonymousId", "previousId", "groupId", "messageId"])
def test_a_number_that_javascript_rounds_becomes_the_text_of_its_digits(name: str, number: Any, stored: Any) -> None:
    event = {"userId": "1", name: number}

    check(event, "identify")

    assert event == {"userId": "1", name: stored}
    assert type(event[name]) is type(stored)


@pytest.mark.parametrize(
    ("event", "member", "name"),
    [
        ({"type": "identify"}, "traits", "id"),
        ({"type": "identify"}, "traits", "objectId"),
        ({"type": "track", "event": "Object Deleted"}, "properties", "objectId"),
        ({"type": "track", "event": "Relationship Deleted"}, "properties", "objectId"),
    ],
)
def test_an_id_inside_another_member_keeps_its_digits(event: dict[str, Any], member: str, name: str) -> None:
    given = {name: ODD, "amount": ODD}
    event = event | {member: given}

    keep_digits(event, event["type"])

    assert event[member] == {name: str(ODD), "amount": ODD}
    assert given[name] == ODD


def test_a_property_that_is_no_id_stays_a_number() -> None:
    for name in ("Bought", "identify"):
        members = {"properties": {"objectId": ODD, "id": ODD}, "traits": {"id": ODD}}
        event = {"type": "track", "event": name, **members}

        keep_digits(event, "track")

        assert event.items() >= members.items()


@pytest.mark.parametrize(
    "value",
    [
        *("undefined", "Undefined", "null", "NULL", "None", "NaN", "nil", "[object Object]", "true", "FALSE"),
        *("anonymous", "Guest", "0", "-1", " ", "\t", '"undefined"', "'null'", " null ", "(null)", "<nil>"),
        *("00000000-0000-0000-0000-000000000000", 0, -1, 0.0, "distinct_id", "not_authenticated"),
    ],
)
@pytest.mark.parametrize("name", ["userId", "anonymousId", "previousId", "groupId"])
def test_an_id_that_a_program_writes_in_place_of_one_is_unlikely(name: str, value: Any) -> None:
    event = {"userId": "ada", name: value}

    assert unlikely(event) == name
    assert check(event, "track"), "the quick test that tells most ids apart finds it as well"


@pytest.mark.parametrize("value", ["ada", "1", 10, "nullable", "undefined@example.com", "guest-7", "", None, 2**53])
def test_other_ids_are_likely(value: Any) -> None:
    assert unlikely({"userId": "ada", "anonymousId": value}) is None


@pytest.mark.parametrize(
    ("user_id", "previous_id", "expected"),
    [
        ("ada", "ada", True),
        (5, "5", True),
        (5.0, 5, True),
        ("Ada@example.com", "ada@example.com", True),
        ("Ada", "ada", False),
        ("ada", "a1", False),
    ],
)
def test_an_alias_of_a_person_with_the_same_person_is_recognised(
    user_id: Any, previous_id: Any, expected: bool
) -> None:
    assert names_one_person({"userId": user_id, "previousId": previous_id}, ["email_or_id"]) is expected


def test_addresses_that_differ_in_case_are_two_people_where_email_is_no_identifier() -> None:
    alias = {"userId": "Ada@example.com", "previousId": "ada@example.com"}

    assert not names_one_person(alias, ["email_or_id", "id"])
    assert names_one_person(alias | {"userId": "ada@example.com"}, ["email_or_id", "id"])
