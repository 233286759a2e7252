"""A person as what was sent makes it: tables of what was sent, and what comes of them."""

from __future__ import annotations

from typing import Any

import pytest

import lanes
from console.person.past import Ended, Person, Sent, people_at

ID, EMAIL = {"id": "42"}, {"email": "Jo@example.com"}
END_MS = 1_000_000


def identify(who: dict[str, str], timestamp: int | None = None, **attributes: Any) -> dict[str, Any]:
    body = {"type": "person", "action": "identify", "identifiers": who, "attributes": attributes}
    return body if timestamp is None else body | {"timestamp": timestamp}


def act(action: str, who: dict[str, str] | None = None, **members: Any) -> dict[str, Any]:
    return {"type": "person", "action": action, "identifiers": who or ID, **members}


def device(action: str, token: str, who: dict[str, str] | None = None) -> dict[str, Any]:
    return act(action, who, device={"token": token, "platform": "ios"})


def merge(primary: dict[str, str], secondary: dict[str, str]) -> dict[str, Any]:
    return {"type": "person", "action": "merge", "primary": primary, "secondary": secondary}


def sent(*bodies: dict[str, Any], unapplied: str | None = None) -> list[Sent]:
    """An item a second, the last one with this reason."""
    items = [Sent(number, f"web:m{number}", 1000 * number, body) for number, body in enumerate(bodies, start=1)]
    return [*items[:-1], items[-1]._replace(unapplied=unapplied)]


def found(items: list[Sent], key: str = "id:42", at_ms: int = END_MS) -> Person | Ended | None:
    return people_at(items, at_ms).find(lanes.digest(key).hex())


def person(items: list[Sent], key: str = "id:42", at_ms: int = END_MS) -> Person:
    result = found(items, key, at_ms)
    assert isinstance(result, Person)
    return result


def values(items: list[Sent], key: str = "id:42", at_ms: int = END_MS) -> dict[str, Any]:
    return {name: each.value for name, each in person(items, key, at_ms).attributes.items()}


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ([identify(ID, plan="free", city="Rome"), identify(ID, plan="pro")], {"plan": "pro", "city": "Rome"}),
        ([identify(ID, plan="free", city="Rome"), identify(ID, plan=None, city="")], {}),
        ([identify(ID, plan="free"), act("delete"), identify(ID, city="Rome")], {"city": "Rome"}),
        ([identify(ID, 20, plan="pro"), identify(ID, 10, plan="free", city="Rome")], {"plan": "pro", "city": "Rome"}),
        ([identify(ID, 20, plan=None), identify(ID, 10, plan="free")], {}),
        ([identify(ID, 10, plan="free"), identify(ID, 10, plan="pro")], {"plan": "pro"}),
        ([act("suppress"), identify(ID, plan="pro"), act("unsuppress"), identify(ID, city="Rome")], {"city": "Rome"}),
        ([identify(ID, _update=True, plan="pro", anonymous_id="a")], {"plan": "pro"}),
        ([identify({"id": "7"}, plan="pro"), identify(ID, city="Rome")], {"city": "Rome"}),
        ([identify(ID, email="j@x.org"), identify({"email": "J@x.org"}, plan="a")], {"email": "j@x.org", "plan": "a"}),
        ([identify({"email": "j@x.org"}, plan="a"), identify(ID, email="J@x.org")], {"plan": "a", "email": "J@x.org"}),
        ([identify(ID, plan="a"), {"type": "object", "action": "identify", "attributes": {"b": "b"}}], {"plan": "a"}),
    ],
    ids=[
        "set", "removed by null and by the empty text", "deleted", "an older update", "an older update after a removal",
        "equal times", "suppressed", "reserved names", "another person", "by the address that was given",
        "an address that gets an id", "an object",
    ],
)  # fmt: skip
def test_attributes(bodies: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    assert values(sent(*bodies)) == expected


def test_each_attribute_has_the_event_that_set_it_and_the_moment_counts() -> None:
    items = sent(identify(ID, plan="free", city="Rome"), identify(ID, plan="pro"))

    origins = {name: each.origin for name, each in person(items).attributes.items()}

    assert origins == {"plan": (2, "web:m2", 2000), "city": (1, "web:m1", 1000)}
    assert values(items, at_ms=1999) == {"plan": "free", "city": "Rome"}
    assert found(items, at_ms=999) is None


def test_an_address_of_another_person_is_not_applied_and_the_rest_is() -> None:
    others = [identify({"id": "7"}, email="jo@example.com"), identify(ID, email="old@example.com")]
    given = identify(ID, email="jo@example.com", plan="pro")

    for reason in (None, "address_conflict"):
        items = sent(*others, given, unapplied=reason)
        assert values(items) == {"email": "old@example.com", "plan": "pro"}
        assert values(items, "email:jo@example.com") == {"email": "jo@example.com"}


def test_two_that_turn_out_to_be_one_become_one() -> None:
    items = sent(identify(EMAIL, city="Rome"), identify(ID, plan="pro"), identify(ID, email="jo@example.com"))

    assert values(items) == {"city": "Rome", "plan": "pro", "email": "jo@example.com"}
    assert person(items) is not None
    assert set(person(items, "email:jo@example.com").keys) == {"id:42", "email:jo@example.com"}


def test_a_merge_gives_what_the_primary_lacks_and_ends_the_other() -> None:
    items = sent(
        identify({"id": "7"}, plan="free", city="Rome"),
        act("event", {"id": "7"}, name="Seen", timestamp=5),
        device("add_device", "t", {"id": "7"}),
        identify(ID, plan="pro"),
        merge(ID, {"id": "7"}),
    )

    merged = person(items)
    ended = found(items, "id:7")

    assert values(items) == {"plan": "pro", "city": "Rome"}
    assert ([each.name for each in merged.events], list(merged.devices)) == (["Seen"], ["t"])
    assert [(each.key, each.origin.sequence) for each in merged.merges] == [("id:7", 5)]
    assert isinstance(ended, Ended)
    assert (ended.how, ended.into, ended.origin.sequence) == ("merged", "id:42", 5)
    assert people_at(items, END_MS).related(lanes.digest("id:42").hex()) == {
        lanes.digest(key).hex() for key in ("id:42", "id:7")
    }
    assert values(items, "id:7", at_ms=4999) == {"plan": "free", "city": "Rome"}


@pytest.mark.parametrize(("action", "how"), [("delete", "deleted"), ("suppress", "suppressed")])
def test_a_person_ends_by_every_identifier(action: str, how: str) -> None:
    items = sent(identify(ID, email="jo@example.com"), act(action, EMAIL))

    for key in ("id:42", "email:jo@example.com"):
        ended = found(items, key)
        assert isinstance(ended, Ended)
        assert ended.how == how


def test_devices_are_added_moved_and_removed() -> None:
    items = sent(
        device("add_device", "a"),
        device("add_device", "b"),
        device("add_device", "c"),
        device("delete_device", "a"),
        device("add_device", "b", {"id": "7"}),
    )

    assert {token: each.origin.sequence for token, each in person(items).devices.items()} == {"c": 3}
    assert person(items).devices["c"].value == {"platform": "ios"}


def test_an_event_counts_once_and_events_are_in_their_own_order() -> None:
    again = act("event", name="Second", timestamp=9, id="01J")
    items = sent(again, again, act("page", name="/first", timestamp=3), act("screen", name="Last"))

    assert [(each.kind, each.name) for each in person(items).events] == [
        ("page", "/first"),
        ("screen", "Last"),
        ("event", "Second"),
    ]


def test_what_a_visitor_did_is_of_the_person_that_the_visitor_turned_out_to_be() -> None:
    visitor = {"anonymous_id": "a"}
    items = sent(
        act("event", visitor, name="Seen"), identify(ID, anonymous_id="a"), act("event", visitor, name="Bought")
    )

    assert [each.name for each in person(items).events] == ["Seen", "Bought"]
    assert [each.name for each in person(items, "anonymous_id:a").events] == ["Seen", "Bought"]
    assert [each.name for each in person(items, "anonymous_id:a", at_ms=1000).events] == ["Seen"]


def test_a_deleted_cio_id_gets_nothing() -> None:
    assert found(sent(identify({"cio_id": "c"}, plan="pro"), unapplied="cio_id_deleted"), "cio_id:c") is None
