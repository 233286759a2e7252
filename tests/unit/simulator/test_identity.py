"""Identities: the fourteen rows of the table of identities, and the options of a workspace."""

from __future__ import annotations

import pytest

from tests.unit.simulator.saying import World, event, identify, merge, person

ADA, BOB = {"id": "ada"}, {"id": "bob"}
MAIL = {"email": "ada@example.com"}


def names(world: World) -> list[tuple[str | None, str | None]]:
    return [(found.id, found.email) for found in world.workspace.people.values()]


def test_a_person_with_both_identifiers_is_created_when_neither_is_known() -> None:
    world = World()
    world.apply(identify(ADA, email="Ada@Example.com", plan="pro"))
    assert names(world) == [("ada", "ada@example.com")]
    assert world.get(**ADA).attributes == {"created_at": 1_000_000, "plan": "pro"}


def test_a_lead_known_by_email_gets_the_id_in_place() -> None:
    world = World()
    world.apply(identify(MAIL, stage="lead"))
    lead = world.get(**MAIL)
    world.apply(identify(ADA, email="ada@example.com", stage="customer"))
    assert world.get(**ADA) is lead
    assert (world.count, lead.attributes["stage"]) == (1, "customer")


@pytest.mark.parametrize(("id_conflict", "expected"), [("fail", "ada"), ("reassign", "new")])
def test_a_new_id_for_an_address_that_has_another_never_makes_a_second_person(id_conflict: str, expected: str) -> None:
    world = World(id_conflict=id_conflict)
    world.apply(identify(ADA, email="ada@example.com"), identify({"id": "new"}, email="ada@example.com", plan="pro"))
    assert names(world) == [(expected, "ada@example.com")]
    assert world.get(**MAIL).attributes["plan"] == "pro"
    assert world.noted("failed_attribute_change") == (id_conflict == "fail")


def test_an_empty_identifier_can_be_set() -> None:
    world = World()
    world.apply(identify(ADA), identify(ADA, email="ada@example.com"), identify({"email": "b@x"}))
    world.apply(identify({"email": "b@x"}, id="bob"))
    assert names(world) == [("ada", "ada@example.com"), ("bob", "b@x")]


@pytest.mark.parametrize(("allowed", "expected"), [(True, "new@example.com"), (False, "ada@example.com")])
def test_an_address_is_changed_by_id_only_where_that_is_allowed(allowed: bool, expected: str) -> None:
    world = World(allow_email_update_by_id=allowed)
    world.apply(identify(ADA, email="ada@example.com"), identify(ADA, email="new@example.com", plan="pro"))
    assert names(world) == [("ada", expected)]
    assert world.get(**ADA).attributes["plan"] == "pro"


def test_an_address_of_another_person_fails_and_the_rest_is_applied() -> None:
    world = World()
    world.apply(identify(ADA, email="ada@example.com"), identify(BOB, email="bob@example.com"))
    world.apply(identify(BOB, email="ada@example.com", plan="pro"))
    assert names(world) == [("ada", "ada@example.com"), ("bob", "bob@example.com")]
    assert world.get(**BOB).attributes["plan"] == "pro"
    (failure,) = [line for line in world.workspace.activity if line["type"] == "failed_attribute_change"]
    assert failure["attributes"]["email"]["value"] == "ada@example.com"


def test_a_person_without_an_address_is_not_merged_into_the_owner_of_an_address_who_has_an_id() -> None:
    world = World()
    world.apply(identify(ADA), identify(BOB, email="bob@example.com"), identify(ADA, email="bob@example.com"))
    assert names(world) == [("ada", None), ("bob", "bob@example.com")]


@pytest.mark.parametrize("first", [ADA, MAIL])
def test_a_person_with_only_an_id_and_one_with_only_an_address_become_the_older_one(first: dict[str, str]) -> None:
    world = World()
    second = MAIL if first is ADA else ADA
    world.apply(identify(first, plan="old", city="Oslo"), identify(second, plan="new", colour="red"))
    older = world.get(**first)
    world.apply(identify(ADA, email="ada@example.com"))
    assert names(world) == [("ada", "ada@example.com")]
    assert world.get(**ADA) is world.get(**MAIL) is older
    assert {"plan": "old", "city": "Oslo", "colour": "red"}.items() <= older.attributes.items()


def test_two_people_are_not_merged_by_identifiers_where_that_is_off() -> None:
    world = World(multi_identifier_merge=False)
    world.apply(identify(ADA), identify(MAIL), identify(ADA, email="ada@example.com"))
    assert names(world) == [("ada", None), (None, "ada@example.com")]


def test_an_id_is_not_changed_by_address_but_by_cio_id() -> None:
    world = World()
    world.apply(identify(ADA, email="ada@example.com"), identify(MAIL, id="new"))
    assert names(world) == [("ada", "ada@example.com")]
    world.apply(identify({"cio_id": world.get(**ADA).cio_id}, id="new", email="new@example.com"))
    assert names(world) == [("new", "new@example.com")]
    assert world.find(**ADA) is None


def test_an_unknown_cio_id_creates_no_person() -> None:
    world = World()
    world.apply(identify({"cio_id": "ffff"}, plan="pro"), event({"cio_id": "ffff"}))
    assert world.count == 0


def test_an_identify_with_update_creates_no_person_and_updates_an_existing_one() -> None:
    world = World()
    world.apply(identify(ADA, plan="pro", _update=True))
    assert (world.count, world.noted("failed_attribute_change")) == (0, 1)
    world.apply(identify(ADA), identify(ADA, plan="pro", _update=True))
    assert world.get(**ADA).attributes["plan"] == "pro"
    assert "_update" not in world.get(**ADA).attributes


def test_addresses_are_compared_without_case_and_ids_with_it() -> None:
    world = World()
    world.apply(identify({"email": "ADA@example.com"}), event(MAIL), identify(ADA), identify({"id": "ADA"}))
    assert world.count == 3


def test_where_only_ids_identify_an_address_may_be_shared_and_is_an_id_itself() -> None:
    world = World(identifiers="id")
    world.apply(identify(ADA, email="x@example.com"), identify(BOB, email="x@example.com"), identify(MAIL))
    assert names(world) == [("ada", None), ("bob", None), ("ada@example.com", None)]
    assert world.get(**BOB).attributes["email"] == "x@example.com"


def test_an_id_identifies_no_person_where_only_addresses_identify() -> None:
    world = World(identifiers="email")
    world.apply(identify(MAIL, id="ada"), event(ADA))
    assert (world.count, world.get(**MAIL).attributes["id"]) == (1, "ada")


def test_a_phone_number_identifies_where_that_is_enabled() -> None:
    world = World(phone=True)
    world.apply(identify({"phone": "+4912345"}, plan="pro"), identify(ADA, phone="+4912345"))
    assert (world.count, world.get(phone="+4912345").id) == (1, "ada")


def test_a_merge_gives_the_primary_what_it_lacks_and_frees_the_identifiers_of_the_secondary() -> None:
    world = World()
    world.apply(identify(ADA, plan="pro"), identify(BOB, plan="free", city="Oslo", email="bob@example.com"))
    world.apply(event(BOB), person("add_device", BOB, device={"token": "t", "platform": "ios"}), merge(ADA, BOB))
    ada = world.get(**ADA)
    assert {"plan": "pro", "city": "Oslo"}.items() <= ada.attributes.items()
    assert ([deed["name"] for deed in ada.events], list(ada.devices)) == (["Bought"], ["t"])
    assert not ada.events[0]["may_trigger"], "an inherited event triggers no campaign"
    assert (world.find(**BOB), ada.email) == (None, None)
    world.apply(identify(BOB))
    assert (world.count, world.noted("recreated")) == (2, 1)


@pytest.mark.parametrize(
    ("primary", "secondary", "noted"),
    [
        (BOB, ADA, "merge_without_primary"),
        (ADA, BOB, "merge_without_secondary"),
        (ADA, ADA, "merge_without_secondary"),
    ],
)
def test_a_merge_does_nothing_unless_both_people_exist(
    primary: dict[str, str], secondary: dict[str, str], noted: str
) -> None:
    world = World()
    world.apply(identify(ADA, plan="pro"), merge(primary, secondary))
    assert (world.count, world.noted(noted), world.noted("profile_merge")) == (1, 1, 0)


def test_devices_can_be_lost_in_a_merge() -> None:
    world = World(devices_on_merge="drop")
    world.apply(identify(ADA), person("add_device", BOB, device={"token": "t", "platform": "ios"}), merge(ADA, BOB))
    assert world.get(**ADA).devices == {}


def test_an_operation_after_a_deletion_creates_another_person() -> None:
    world = World()
    world.apply(identify(ADA, plan="pro"))
    before = world.get(**ADA)
    world.apply(person("delete", ADA), event(ADA))
    assert world.get(**ADA).cio_id != before.cio_id
    assert "plan" not in world.get(**ADA).attributes
    assert world.noted("recreated") == 1


def test_a_person_who_returns_by_an_identify_is_not_counted_as_recreated() -> None:
    world = World()
    world.apply(identify(ADA), person("delete", ADA), identify(ADA), event(ADA), person("delete", BOB))
    assert (world.count, world.noted("recreated")) == (1, 0)


def test_suppression_deletes_and_blocks_both_identifiers_until_it_is_lifted() -> None:
    world = World()
    world.apply(identify(ADA, email="ada@example.com"), person("suppress", ADA))
    world.apply(identify(ADA), event(MAIL), person("add_device", MAIL, device={"token": "t", "platform": "ios"}))
    assert (world.count, world.noted("ignored")) == (0, 3)
    world.apply(identify(BOB, email="ada@example.com"))
    assert world.get(**BOB).email is None, "a suppressed address is given to no person"
    world.apply(person("unsuppress", MAIL))
    assert world.count == 1
    world.apply(event(ADA), identify({"id": "eve"}, email="ada@example.com"))
    assert world.get(**ADA).email is None
    assert world.get(**MAIL).id == "eve"
