"""Properties of the service for any operations: delay alone changes nothing, and timestamps correct disorder."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from simulator.options import Faults
from simulator.service import Service
from tests.unit.simulator.saying import Json, device, event, identify, merge, person

IDS = st.sampled_from("abc").map(lambda name: {"id": name})
EMAILS = st.sampled_from("xyz").map(lambda name: {"email": f"{name}@example.com"})
VISITORS = st.sampled_from("vw")
PEOPLE = IDS | EMAILS
TRAITS = st.fixed_dictionaries(
    {},
    optional={
        "plan": st.sampled_from(["free", "pro", None]),
        "email": EMAILS.map(lambda who: who["email"]),
        "anonymous_id": VISITORS,
    },
)
OPERATIONS = st.one_of(
    st.builds(lambda who, traits: identify(who, **traits), PEOPLE, TRAITS),
    st.builds(event, PEOPLE | VISITORS.map(lambda name: {"anonymous_id": name})),
    st.builds(merge, PEOPLE, PEOPLE),
    st.builds(device, st.sampled_from(["add_device", "delete_device"]), PEOPLE),
    st.builds(person, st.sampled_from(["delete", "suppress", "unsuppress"]), PEOPLE),
)


def people_after(operations: list[Json], clock_at: float, **faults: Any) -> list[Json]:
    """Return the people after operations that were sent one second apart, when all are applied."""
    service = Service(seed=1)
    service.clock.set_virtual(True)
    service.clock.advance(clock_at - service.clock.now())
    service.set_faults(Faults(**faults))
    for operation in copy.deepcopy(operations):
        service.accept([operation])
        service.clock.advance(1)
    service.clock.advance(120)
    service.catch_up()
    found = [each.json() for each in service.workspace.people.values()]
    assert all(each["id"] or each["email"] for each in found), "each person has an identifier"
    names = [(kind, each[kind]) for each in found for kind in ("id", "email") if each[kind]]
    assert len(names) == len(set(names)), "no two people share one"
    return found


@given(st.lists(OPERATIONS, max_size=25))
def test_late_application_in_order_ends_as_application_at_once(operations: list[Json]) -> None:
    assert people_after(operations, 1e9) == people_after(operations, 1e9, apply="in_order", lag_tail=0.1)


@given(st.lists(OPERATIONS, max_size=25), st.integers(0, 99))
def test_no_two_people_share_an_identifier_in_any_order(operations: list[Json], seed: int) -> None:
    people_after(operations, 1e9, apply="shuffled", lag_tail=0.1, seed=seed)


@given(st.lists(TRAITS, max_size=15), st.integers(0, 99))
def test_updates_with_timestamps_have_the_same_result_in_any_order(traits: list[Json], seed: int) -> None:
    updates = [
        identify({"id": "a"}, at, created_at=0, plan=trait.get("plan"), n=at)
        for at, trait in enumerate(traits, start=1)
    ]
    shuffled = people_after(updates, 1e9, apply="shuffled", lag_tail=0.1, seed=seed)
    assert shuffled == people_after(updates, 1e9)
