"""The oracle judges the demo, so each of its rules is tested with events written by hand."""

from __future__ import annotations

from typing import Any

from console.demo.oracle import Person, people
from console.demo.sample import Event


def identify(traits: Event, **who: str) -> Event:
    return {"type": "identify", "traits": traits, **who}


def track(name: str, *, stream: str = "one", **members: Any) -> Event:
    return {"type": "track", "event": name, "properties": {"stream": stream}, **members}


def test_a_visitor_who_is_never_identified_is_no_person() -> None:
    assert people([track("Looked", anonymousId="a")]) == {}


def test_a_visitors_activities_become_the_leads_in_their_order() -> None:
    events = [
        track("Looked", anonymousId="a"),
        identify({"email": "jo@x.com"}, anonymousId="a"),
        track("Asked", anonymousId="a"),
    ]

    assert people(events) == {"jo@x.com": Person(email="jo@x.com", activities={"one": ["Looked", "Asked"]})}


def test_a_lead_who_gets_an_id_stays_one_person() -> None:
    events = [
        identify({"email": "jo@x.com", "source": "ad"}, anonymousId="a"),
        identify({"email": "jo@x.com", "plan": "pro"}, userId="42"),
    ]

    assert people(events) == {"42": Person("42", "jo@x.com", {"source": "ad", "plan": "pro"})}


def test_a_null_trait_takes_the_attribute_away() -> None:
    events = [identify({"coupon": "X", "segue_trace": "one:1"}, userId="42"), identify({"coupon": None}, userId="42")]

    assert people(events)["42"].attributes == {}


def test_a_device_is_there_until_the_app_is_uninstalled() -> None:
    phone = {"device": {"token": "t", "type": "ios"}}
    installed = track("Application Installed", userId="42", context=phone)

    assert people([installed])["42"].devices == {"t": "ios"}
    assert people([installed, track("Application Uninstalled", userId="42", context=phone)])["42"].devices == {}


def test_an_alias_gives_the_primary_what_it_lacks_and_ends_the_secondary() -> None:
    events = [
        identify({"city": "Oslo", "since": 2018}, userId="old"),
        track("Came", stream="older", userId="old"),
        identify({"city": "Lima"}, userId="new"),
        {"type": "alias", "previousId": "old", "userId": "new"},
    ]

    assert people(events) == {
        "new": Person("new", attributes={"city": "Lima", "since": 2018}, activities={"older": ["Came"]})
    }


def test_an_alias_to_an_unknown_person_does_nothing() -> None:
    events = [identify({}, userId="old"), {"type": "alias", "previousId": "old", "userId": "new"}]

    assert list(people(events)) == ["old"]


def test_who_is_deleted_and_comes_back_starts_anew() -> None:
    events = [
        identify({"email": "jo@x.com", "plan": "pro"}, userId="42"),
        track("User Deleted", userId="42"),
        identify({"email": "jo@x.com", "returned": True}, userId="42"),
    ]

    assert people(events[:2]) == {}
    assert people(events) == {"42": Person("42", "jo@x.com", {"returned": True})}


def test_joining_a_company_makes_an_unknown_member_known() -> None:
    assert list(people([{"type": "group", "userId": "42", "groupId": "acme"}])) == ["42"]
