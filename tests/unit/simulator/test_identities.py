"""What a workspace does with accepted operations: the decision table of identities, and the rest of its rules."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.options import Options
from simulator.person import Person
from simulator.workspace import Workspace

NOW = 1_767_225_600.0


class World:
    """A workspace told what to do in short words; a second passes between two operations."""

    def __init__(self, **options: Any) -> None:
        self.workspace = Workspace(Options(**options))
        self.now = NOW

    def do(self, action: str, kind: str = "person", **members: Any) -> None:
        self.now += 1
        self.workspace.apply({"type": kind, "action": action, **members}, self.now)

    def identify(
        self, *, at: float | None = None, attributes: dict[str, Any] | None = None, **identifiers: str
    ) -> None:
        timestamp = {} if at is None else {"timestamp": at}
        self.do("identify", identifiers=identifiers, attributes=attributes or {}, **timestamp)

    def event(self, name: str, **identifiers: str) -> None:
        self.do("event", name=name, identifiers=identifiers)

    def person(self, **identifiers: str) -> Person:
        found = self.workspace.find(identifiers)
        assert found is not None
        return found

    def names(self) -> list[tuple[str | None, str | None]]:
        return [(person.id, person.email) for person in self.workspace.people.values()]

    def events(self, **identifiers: str) -> list[str]:
        return [event["name"] for event in self.person(**identifiers).events]

    def counted(self, what: str) -> int:
        return self.workspace.counts[what]


def test_a_new_id_with_a_new_address_makes_one_person() -> None:
    world = World()
    world.identify(id="1", attributes={"email": "A@x.com", "plan": "pro"})

    assert world.names() == [("1", "a@x.com")]
    assert world.person(email="A@X.com").attributes["plan"] == "pro"


def test_a_lead_who_gets_an_id_stays_the_same_person() -> None:
    world = World()
    world.identify(email="a@x.com")
    before = world.person(email="a@x.com").cio_id
    world.identify(id="1", attributes={"email": "a@x.com"})

    assert world.names() == [("1", "a@x.com")]
    assert world.person(id="1").cio_id == before


def test_an_address_that_has_another_id_is_a_conflict_or_moves_and_never_makes_two() -> None:
    for switch, expected in [("fail", ("1", "a@x.com")), ("reassign", ("2", "a@x.com"))]:
        world = World(id_conflict=switch)
        world.identify(id="1", attributes={"email": "a@x.com"})
        world.identify(id="2", attributes={"email": "a@x.com", "plan": "pro"})

        assert world.names() == [expected]
        assert world.counted("failed_attribute_change") == (switch == "fail")


@pytest.mark.parametrize(("may", "email"), [(True, "b@x.com"), (False, "a@x.com")])
def test_an_address_is_changed_by_id_where_that_is_allowed(may: bool, email: str) -> None:
    world = World(allow_email_update_by_id=may)
    world.identify(id="1", attributes={"email": "a@x.com"})
    world.identify(id="1", attributes={"email": "b@x.com"})

    assert world.names() == [("1", email)]


def test_an_address_of_somebody_else_fails_and_the_rest_applies() -> None:
    world = World()
    world.identify(id="1", attributes={"email": "a@x.com"})
    world.identify(id="2", attributes={"email": "b@x.com"})
    world.identify(id="2", attributes={"email": "a@x.com", "plan": "pro"})

    assert world.names() == [("1", "a@x.com"), ("2", "b@x.com")]
    assert world.person(id="2").attributes["plan"] == "pro"


def test_two_halves_of_one_person_are_merged_into_the_older() -> None:
    world = World()
    world.identify(email="a@x.com", attributes={"source": "lead"})
    world.identify(id="1", attributes={"source": "app"})
    world.identify(id="1", attributes={"email": "a@x.com"})

    assert world.names() == [("1", "a@x.com")]
    assert world.person(id="1").attributes["source"] == "lead"

    apart = World(multi_identifier_merge=False)
    apart.identify(email="a@x.com")
    apart.identify(id="1")
    apart.identify(id="1", attributes={"email": "a@x.com"})
    assert apart.names() == [(None, "a@x.com"), ("1", None)]


def test_an_id_that_is_set_changes_through_the_cio_id_alone() -> None:
    world = World()
    world.identify(id="1", attributes={"email": "a@x.com"})
    world.identify(email="a@x.com", attributes={"id": "2"})
    assert world.names() == [("1", "a@x.com")]

    world.identify(cio_id=world.person(id="1").cio_id, attributes={"id": "2"})
    assert world.names() == [("2", "a@x.com")]


def test_an_unknown_cio_id_and_an_update_of_nobody_make_nobody() -> None:
    world = World()
    world.identify(cio_id="ffff", attributes={"plan": "pro"})
    world.identify(id="1", attributes={"_update": True})

    assert world.names() == []


def test_where_addresses_do_not_identify_they_are_a_trait() -> None:
    world = World(identifiers="id")
    world.identify(id="1", attributes={"email": "a@x.com"})
    world.identify(id="2", attributes={"email": "a@x.com"})

    assert world.names() == [("1", None), ("2", None)]
    assert world.person(id="2").attributes["email"] == "a@x.com"


@pytest.mark.parametrize(("mode", "city"), [("attribute", "Oslo"), ("profile", None)])
def test_an_older_update_loses_by_attribute_or_by_profile(mode: str, city: str | None) -> None:
    world = World(stale_updates=mode)
    world.identify(id="1", at=200, attributes={"plan": "new"})
    world.identify(id="1", at=100, attributes={"plan": "old", "city": "Oslo"})

    assert world.person(id="1").attributes["plan"] == "new"
    assert world.person(id="1").attributes.get("city") == city


def test_null_and_nothing_remove_an_attribute() -> None:
    world = World()
    world.identify(id="1", attributes={"a": 1, "b": 2, "c": 3})
    world.identify(id="1", attributes={"a": None, "b": ""})

    assert world.person(id="1").attributes.keys() == {"c", "created_at"}


def test_an_event_of_somebody_unknown_makes_a_bare_person() -> None:
    world = World()
    world.event("Bought", email="a@x.com")

    assert world.names() == [(None, "a@x.com")]


def test_an_event_with_a_ulid_counts_once() -> None:
    world = World()
    for _ in range(2):
        world.do("event", name="Bought", id="01ARZ3NDEKTSV4RRFFQ69G5FAV", identifiers={"id": "1"})
        world.do("event", name="Seen", identifiers={"id": "1"})

    assert world.events(id="1") == ["Bought", "Seen", "Seen"]


def test_a_merge_gives_the_primary_what_it_lacks_and_frees_the_secondary() -> None:
    world = World()
    world.identify(id="new", attributes={"plan": "pro"})
    world.identify(id="old", attributes={"plan": "free", "city": "Oslo", "email": "a@x.com"})
    world.event("Bought", id="old")
    world.do("merge", primary={"id": "new"}, secondary={"id": "old"})

    assert world.names() == [("new", None)]
    assert world.person(id="new").attributes["plan"] == "pro"
    assert world.person(id="new").attributes["city"] == "Oslo"
    assert world.events(id="new") == ["Bought"]

    world.identify(id="old")
    assert world.names() == [("new", None), ("old", None)]
    assert world.counted("recreated") == 1


def test_a_merge_into_nobody_does_nothing() -> None:
    world = World()
    world.identify(id="old")
    world.do("merge", primary={"id": "new"}, secondary={"id": "old"})

    assert world.names() == [("old", None)]
    assert world.counted("merge_without_primary") == 1


def test_the_deleted_come_back_and_the_suppressed_do_not() -> None:
    world = World()
    world.identify(id="1", attributes={"email": "a@x.com"})
    world.do("delete", identifiers={"id": "1"})
    world.identify(id="1", attributes={"email": "a@x.com"})
    assert world.names() == [("1", "a@x.com")]

    world.do("suppress", identifiers={"id": "1"})
    world.identify(email="a@x.com")
    world.event("Bought", email="a@x.com")
    assert world.names() == []

    world.do("unsuppress", identifiers={"email": "a@x.com"})
    world.identify(email="a@x.com")
    assert world.names() == [(None, "a@x.com")]


def test_a_visitors_events_attach_when_they_say_who_they_are_and_for_five_minutes_more() -> None:
    world = World()
    world.event("Before", anonymous_id="v")
    world.identify(id="1", attributes={"anonymous_id": "v"})
    world.now += 299
    world.event("Within", anonymous_id="v")
    world.event("Late", anonymous_id="v")

    assert world.events(id="1") == ["Before", "Within"]
    world.identify(id="1", attributes={"anonymous_id": "v"})
    assert world.events(id="1") == ["Before", "Within"]


def test_a_visitor_belongs_to_the_first_who_claims_them() -> None:
    world = World()
    world.identify(id="1", attributes={"anonymous_id": "v"})
    world.identify(id="2", attributes={"anonymous_id": "v"})
    world.event("Within", anonymous_id="v")

    assert (world.events(id="1"), world.events(id="2")) == (["Within"], [])


def test_a_device_is_on_one_person_at_a_time() -> None:
    world = World()
    for name in ("1", "2"):
        world.do("add_device", identifiers={"id": name}, device={"token": "t", "platform": "ios"})
    assert [list(world.person(id=name).devices) for name in ("1", "2")] == [[], ["t"]]

    world.do("delete_device", identifiers={"id": "2"}, device={"token": "t"})
    world.do("delete_device", identifiers={"id": "nobody"}, device={"token": "t"})
    assert world.person(id="2").devices == {}


def test_objects_relate_to_people_and_to_visitors_once_they_are_known() -> None:
    world = World()
    acme = {"object_type_id": "1", "object_id": "acme"}
    world.do(
        "identify",
        kind="object",
        identifiers=acme,
        attributes={"name": "Acme", "old": 1},
        cio_relationships=[{"identifiers": {"id": "1"}, "relationship_attributes": {"role": "boss"}}],
    )
    world.do(
        "identify_anonymous",
        kind="object",
        identifiers=acme,
        cio_relationships=[{"identifiers": {"anonymous_id": "v"}}],
    )
    world.identify(id="2", attributes={"anonymous_id": "v"})
    world.do("identify", kind="object", identifiers=acme, attributes={"old": None})

    assert world.workspace.objects.attributes == {("1", "acme"): {"name": "Acme"}}
    assert world.person(id="1").relationships == {("1", "acme"): {"role": "boss"}}
    assert world.person(id="2").relationships == {("1", "acme"): {}}

    world.do("delete", kind="object", identifiers=acme)
    assert world.person(id="1").relationships == {}
