"""The comparison of the demo reports every kind of difference."""

from __future__ import annotations

import dataclasses

import pytest

from console.demo.oracle import Person
from console.demo.run import Report, differences

ADA = Person("ada", "ada@x.com", {"plan": "pro"}, {"t": "ios"}, {"one": ["Looked", "Bought"]})
REPORT = Report(
    sent=10,
    delivered=10,
    merged_already=0,
    dead=0,
    requests=2,
    people=1,
    reordered=3,
    order_violations=0,
    killed=7,
    took_s=1.0,
    differences=(),
)


def test_the_same_people_do_not_differ() -> None:
    assert list(differences({"ada": ADA}, [dataclasses.replace(ADA)])) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"email": None}, "email should be ada@x.com, but is None"),
        ({"attributes": {"plan": "free"}}, "attributes should be {'plan': 'pro'}"),
        ({"attributes": {"plan": "pro", "coupon": "X"}}, "but is {'plan': 'pro', 'coupon': 'X'}"),
        ({"devices": {}}, "devices should be {'t': 'ios'}, but is {}"),
        ({"activities": {"one": ["Bought", "Looked"]}}, "activities should be"),
        ({"activities": {"one": ["Looked"]}}, "activities should be"),
        ({"activities": {"one": ["Looked", "Bought", "Bought"]}}, "activities should be"),
    ],
)
def test_every_part_of_a_person_counts(change: dict[str, object], words: str) -> None:
    (difference,) = differences({"ada": ADA}, [dataclasses.replace(ADA, **change)])  # type: ignore[arg-type]

    assert difference.startswith("ada: ")
    assert words in difference


def test_missing_unexpected_and_duplicate_people_are_reported() -> None:
    eve = Person("eve")

    assert list(differences({"ada": ADA}, [eve])) == ["ada is missing", "eve should not exist"]
    assert list(differences({"eve": eve}, [eve, eve])) == ["1 people have the name of another person"]


def test_a_report_is_right_only_without_any_fault() -> None:
    assert REPORT.is_right
    for fault in ({"delivered": 9}, {"dead": 1}, {"order_violations": 1}, {"differences": ("x",)}):
        assert not dataclasses.replace(REPORT, **fault).is_right  # type: ignore[arg-type]


def test_what_was_sent_and_neither_delivered_nor_buried_is_lost() -> None:
    assert dataclasses.replace(REPORT, delivered=6, dead=2, merged_already=1).lost == 1
