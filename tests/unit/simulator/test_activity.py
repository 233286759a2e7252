"""Events, visitors, devices and objects."""

from __future__ import annotations

import pytest

from tests.unit.simulator.saying import DAY_S, ULID, World, device, event, identify, merge, obj, person

ADA, BOB, VISITOR = {"id": "ada"}, {"id": "bob"}, {"anonymous_id": "v"}


def deeds(world: World, **who: str) -> list[str]:
    return [deed["name"] for deed in world.get(**who).events]


@pytest.mark.parametrize("who", [ADA, {"email": "ada@example.com"}])
def test_an_event_of_an_unknown_person_creates_the_person(who: dict[str, str]) -> None:
    world = World()
    world.apply(event(who, " Bought "))
    assert deeds(world, **who) == ["Bought"]
    assert world.get(**who).attributes == {"created_at": 1_000_000}


def test_an_event_with_a_ulid_counts_once_in_the_whole_workspace() -> None:
    world = World()
    world.apply(event(ADA, id=ULID.lower()), event(ADA, id=ULID), event(BOB, "Other", id=ULID))
    assert (deeds(world, **ADA), world.find(**BOB), world.noted("duplicate_event")) == (["Bought"], None, 2)


@pytest.mark.parametrize("members", [{}, {"id": "not a ulid"}])
def test_an_event_without_a_ulid_counts_every_time(members: dict[str, str]) -> None:
    world = World()
    world.apply(event(ADA, **members), event(ADA, **members))
    assert len(deeds(world, **ADA)) == 2


def test_a_ulid_may_count_once_for_each_person_only() -> None:
    world = World(dedupe_scope="person")
    world.apply(event(ADA, id=ULID), event(BOB, id=ULID), event(ADA, id=ULID))
    assert [len(world.get(**who).events) for who in (ADA, BOB)] == [1, 1]


def test_the_number_of_devices_per_person_can_be_limited() -> None:
    world = World(most_devices=2)
    world.apply(*(device("add_device", ADA, token) for token in "abcb"))
    assert list(world.get(**ADA).devices) == ["b", "c"]


def test_the_memory_for_ulids_can_be_short() -> None:
    world = World(dedupe_s=60)
    world.apply(event(ADA, id=ULID))
    world.now += 61
    world.apply(event(ADA, id=ULID))
    assert len(deeds(world, **ADA)) == 2


def test_an_event_older_than_72_hours_triggers_nothing() -> None:
    world = World()
    world.apply(event(ADA, timestamp=world.now - 3 * DAY_S + 1), event(ADA, timestamp=world.now - 3 * DAY_S - 1))
    assert [deed["may_trigger"] for deed in world.get(**ADA).events] == [True, False]


def test_the_events_of_a_visitor_belong_to_no_person_until_one_claims_them() -> None:
    world = World()
    world.apply(event(VISITOR, "Looked", timestamp=5))
    assert world.count == 0
    world.apply(identify(ADA, anonymous_id="v"))
    (seen,) = world.get(**ADA).events
    assert (seen["name"], seen["timestamp"]) == ("Looked", 5)
    assert "anonymous_id" not in world.get(**ADA).attributes


def test_events_within_five_minutes_after_the_claim_are_attached_and_later_ones_are_not() -> None:
    world = World()
    world.apply(identify(ADA, anonymous_id="v"))
    world.now += 300
    world.apply(event(VISITOR, "In time"))
    world.now += 1
    world.apply(event(VISITOR, "Late"), identify(ADA, anonymous_id="v"))
    assert deeds(world, **ADA) == ["In time"]


def test_the_five_minutes_count_from_receipt_even_when_the_claim_is_applied_later() -> None:
    world = World()
    claimed_at = world.now
    for late, name in ((300, "In time"), (301, "Late")):
        world.now = claimed_at + late
        world.apply(event(VISITOR, name))
    world.now = claimed_at
    world.apply(identify(ADA, anonymous_id="v"))
    assert deeds(world, **ADA) == ["In time"]


def test_with_reidentify_another_identify_attaches_late_events() -> None:
    world = World(late_anonymous="reidentify")
    world.apply(identify(ADA, anonymous_id="v"))
    world.now += 301
    world.apply(event(VISITOR, "Late"), identify(ADA, anonymous_id="v"))
    assert deeds(world, **ADA) == ["Late"]


def test_the_events_of_a_visitor_are_kept_for_thirty_days() -> None:
    world = World()
    world.apply(event(VISITOR, "Forgotten"))
    world.now += 30 * DAY_S
    world.apply(event(VISITOR, "Kept"))
    world.now += 1
    world.apply(identify(ADA, anonymous_id="v"))
    assert deeds(world, **ADA) == ["Kept"]


def test_an_anonymous_id_belongs_to_the_first_person_who_claims_it() -> None:
    world = World()
    world.apply(identify(ADA, anonymous_id="v"), identify(BOB, anonymous_id="v"), event(VISITOR))
    assert (deeds(world, **ADA), deeds(world, **BOB)) == (["Bought"], [])


def test_a_claim_follows_a_merge() -> None:
    world = World()
    world.apply(identify(ADA), identify(BOB, anonymous_id="v"), merge(ADA, BOB), event(VISITOR))
    assert deeds(world, **ADA) == ["Bought"]


def test_without_anonymous_merging_visitors_stay_unknown() -> None:
    world = World(anonymous_merge=False)
    world.apply(event(VISITOR), identify(ADA, anonymous_id="v"))
    assert deeds(world, **ADA) == []


def test_a_device_belongs_to_the_last_person_who_added_it() -> None:
    world = World()
    world.apply(device("add_device", ADA), device("add_device", BOB))
    assert world.get(**ADA).devices == {}
    assert world.get(**BOB).devices == {"t": {"platform": "ios", "last_used": 1_000_000}}


def test_a_device_from_a_merge_moves_like_any_other() -> None:
    world = World()
    world.apply(identify(ADA), device("add_device", BOB), merge(ADA, BOB), device("add_device", {"id": "cy"}))
    assert (world.get(**ADA).devices, list(world.get(id="cy").devices)) == ({}, ["t"])


def test_a_device_can_be_shared_where_tokens_are_not_unique() -> None:
    world = World(device_tokens="shared")
    world.apply(device("add_device", ADA), device("add_device", BOB))
    assert world.get(**ADA).devices.keys() == world.get(**BOB).devices.keys() == {"t"}


def test_the_deletion_of_an_unknown_device_has_no_effect() -> None:
    world = World()
    world.apply(device("delete_device", ADA), identify(ADA), device("delete_device", ADA))
    world.apply(device("add_device", ADA), device("delete_device", ADA))
    assert world.get(**ADA).devices == {}


def test_an_object_has_attributes_and_people_related_to_it_until_it_is_deleted() -> None:
    world = World()
    related = [{"identifiers": ADA, "relationship_attributes": {"role": "owner"}}]
    world.apply(obj("identify", attributes={"name": "Acme", "size": 3}, cio_relationships=related))
    world.apply(obj("identify", attributes={"size": None}))
    assert world.workspace.objects.attributes == {("1", "acme"): {"name": "Acme"}}
    assert world.get(**ADA).relationships == {("1", "acme"): {"role": "owner"}}
    world.apply(obj("delete"))
    assert (world.workspace.objects.json(), world.get(**ADA).relationships) == ([], {})


def test_a_cio_object_id_updates_an_object_and_never_creates_one() -> None:
    world = World()
    world.apply(obj("identify"))
    (known,) = world.workspace.objects.json()
    by_cio_id = {"type": "object", "action": "identify", "attributes": {"name": "Acme"}}
    for cio_id in (known["cio_object_id"], "unknown"):
        world.apply(by_cio_id | {"identifiers": {"cio_object_id": cio_id}})
    assert world.workspace.objects.attributes == {("1", "acme"): {"name": "Acme"}}


@pytest.mark.parametrize("side", ["person", "object"])
def test_relationships_are_added_and_deleted_from_both_sides(side: str) -> None:
    world = World()
    key = {"object_type_id": "1", "object_id": "acme"}

    def related(action: str) -> dict[str, object]:
        if side == "person":
            return person(action, ADA, cio_relationships=[{"identifiers": key}])
        return obj(action, cio_relationships=[{"identifiers": ADA}])

    world.apply(related("add_relationships"))
    assert world.get(**ADA).relationships == {("1", "acme"): {}}
    world.apply(related("delete_relationships"))
    assert world.get(**ADA).relationships == {}


def test_a_claim_moves_the_relationships_of_the_visitor_to_the_person() -> None:
    world = World()
    world.apply(obj("identify_anonymous", cio_relationships=[{"identifiers": VISITOR}]))
    world.apply(identify(ADA, anonymous_id="v"))
    assert world.get(**ADA).relationships == {("1", "acme"): {}}
