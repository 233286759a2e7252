"""The story that each person acts, and the comparison of its effects with it.

Each call has a number in its story. The simulator's journal shows the number: in an attribute of an event or an update,
or by what the operation is.
"""

from __future__ import annotations

import random
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_LOGIN = 4  # the number of the first call of the customer
_IDS = ("userId", "anonymousId", "previousId")
_INSTALLED, _UNINSTALLED = "Application Installed", "Application Uninstalled"


def story(person: int) -> list[Json]:
    """Return the calls of a person in their order: `{"method", …}` with the members of an event.

    A visitor becomes a lead, the lead a customer.
    """
    visitor, lead, customer = {"anonymousId": f"a{person}"}, {"userId": f"lead{person}"}, {"userId": f"u{person}"}
    device = {"context": {"device": {"token": f"token{person}", "type": "ios"}}}
    calls: list[Json] = [
        visitor | {"method": "page", "name": "Home", "properties": {"url": "https://shop.example/"}},
        visitor | {"method": "track", "event": "Product Viewed"},
        visitor | lead | {"method": "identify", "traits": {"plan": "lead"}},
        visitor | lead | {"method": "track", "event": "Signed Up"},
        customer | {"method": "identify", "traits": {"plan": "trial"}},
        customer | {"method": "alias", "previousId": f"lead{person}"},
        customer | {"method": "identify", "traits": {"plan": "pro"}},
        customer | {"method": "track", "event": _INSTALLED} | device,
        customer | {"method": "track", "event": "Order Completed"},
        customer | {"method": "track", "event": _UNINSTALLED} | device,
        customer | {"method": "track", "event": "Left"},
    ]
    return [_numbered(call, number) for number, call in enumerate(calls)]


def identifiers(event: Json) -> set[str]:
    """Return the ids that a call or an event names."""
    return {event[name] for name in _IDS if event.get(name)}


def _numbered(call: Json, number: int) -> Json:
    if call["method"] == "identify":
        return call | {"traits": call["traits"] | {f"call_{number}": True}}
    return call | {"properties": call.get("properties", {}) | {"call": number}}


def stories(people: Iterable[int], seed: int, most_pause_ms: int, login_ms: int = 0) -> list[list[Json]]:
    """Return the calls of each person, each with `pause_ms`, the time after the one before.

    Two in five follow in the same tick. `login_ms` is the least time before the lead becomes a customer.
    """
    rolled = random.Random(seed)

    def paused(call: Json, number: int) -> Json:
        pause_ms = 0 if rolled.random() < 0.4 else rolled.randint(0, most_pause_ms)
        return call | {"pause_ms": pause_ms + (login_ms if number == _LOGIN else 0)}

    return [[paused(call, number) for number, call in enumerate(story(person))] for person in people]


CALLS = len(story(0))  # of each person


@dataclass(frozen=True)
class Effects:
    """What became of the stories: people by their numbers, and the number of calls without effect."""

    out_of_order: frozenset[int]  # a call took effect after a later one with an id in common
    wrong: frozenset[int]  # the person at Customer.io is not as the story ends
    lost: int


def effects(people: Iterable[int], journal: Iterable[Json], found: Iterable[Json]) -> Effects:
    """Compare the journal and the people of the simulator with the stories of `people`."""
    applied: dict[int, list[int]] = {person: [] for person in people}
    for entry in journal:
        person, numbers = _calls_of(entry["operation"])
        if person in applied:
            applied[person] += [number for number in numbers if number not in applied[person]]
    by_person: dict[int, list[Json]] = defaultdict(list)
    for each in found:
        by_person[person_of(each["id"])].append(each)
    return Effects(
        frozenset(person for person, numbers in applied.items() if not _is_in_order(story(person), numbers)),
        frozenset(person for person in applied if not _is_right(story(person), by_person[person])),
        sum(len(story(person)) - len(numbers) for person, numbers in applied.items()),
    )


def _calls_of(operation: Json) -> tuple[int, list[int]]:
    """Return the person of an operation, and the numbers of the calls in it: an update repeats earlier ones."""
    identifiers = operation.get("primary") or operation["identifiers"]
    person = person_of(identifiers.get("id") or identifiers["anonymous_id"])
    if operation["action"] == "merge":
        return person, [_number(lambda call: call["method"] == "alias")]
    if operation["action"] == "delete_device":
        return person, [_number(lambda call: call.get("event") == _UNINSTALLED)]
    attributes = operation.get("device", operation)["attributes"]
    marks = sorted(int(name.removeprefix("call_")) for name in attributes if name.startswith("call_"))
    return person, marks + ([attributes["call"]] if "call" in attributes else [])


def _number(is_it: Callable[[Json], bool]) -> int:
    return next(number for number, call in enumerate(story(0)) if is_it(call))


def person_of(identifier: str) -> int:
    """Return the number in an id."""
    return int(identifier.lstrip("".join(string.ascii_letters)))


def _is_in_order(calls: Sequence[Json], applied: Sequence[int]) -> bool:
    """Whether the calls took effect in their order, among those with an id in common."""
    ids = [identifiers(call) for call in calls]
    by_id = ([number for number in applied if each in ids[number]] for each in set().union(*ids))
    return all(numbers == sorted(numbers) for numbers in by_id)


def _is_right(calls: Sequence[Json], found: Sequence[Json]) -> bool:
    """Whether there is one person, with the attributes of all updates, each event once, and no device."""
    if len(found) != 1:
        return False
    attributes: Json = {}
    for call in calls:
        attributes |= call.get("traits", {})
    events = sorted(call["properties"]["call"] for call in calls if _is_event(call))
    return (
        {name: value for name, value in found[0]["attributes"].items() if name in attributes} == attributes
        and sorted(event["attributes"]["call"] for event in found[0]["events"]) == events
        and found[0]["devices"] == []
    )


def _is_event(call: Json) -> bool:
    return call["method"] in ("page", "track") and call.get("event") not in (_INSTALLED, _UNINSTALLED)
