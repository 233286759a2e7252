"""A destination finds the subscriptions of an event by its type and name: those that match when each is tested."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.destination import compile_destination
from mapping.subscription import compile_subscription

TRIGGERS = (
    'type = "track"',
    'type != "track"',
    'event = "Bought"',
    'event != "Bought"',
    'type = "track" and event != "Bought" and event != "Sold"',
    'type = "track" and (event = "Bought" or event = "Sold")',
    'type = "page" or event = "Bought"',
    'type = "track" and type = "page"',
    'type != "track" and event = "Sold"',
    'type = "track" and properties.total > 5',
    'event != "Bought" or userId = "jo"',
    'event = null and type = "page"',
    'contains(event, "ough")',
)
SUBSCRIPTIONS = [
    compile_subscription(index, name=trigger, trigger=trigger, slug="trackEvent", mapping={})
    for index, trigger in enumerate(TRIGGERS)
]
VALUES: tuple[Any, ...] = ("track", "page", "Bought", "Sold", "Other", "", None, 5, True, [], ["track"], {})


@pytest.mark.parametrize("kind", VALUES, ids=repr)
@pytest.mark.parametrize("rest", [{}, {"properties": {"total": 6}, "userId": "jo"}], ids=["alone", "with more"])
def test_the_subscriptions_of_an_event_are_those_that_match(kind: Any, rest: dict[str, Any]) -> None:
    destination = compile_destination("demo", SUBSCRIPTIONS)
    events = [{"type": kind, "event": name, **rest} for name in VALUES] + [{"type": kind, **rest}, rest]

    for event in events:
        found = [each.name for each in destination.candidates(event).all if each.matches(event)]
        assert found == [each.name for each in SUBSCRIPTIONS if each.matches(event)]


def test_a_type_that_the_destination_refuses_has_no_subscriptions() -> None:
    destination = compile_destination("demo", SUBSCRIPTIONS, compatibility="2021")

    assert destination.candidates({"type": "group", "event": "Sold"}).all == ()
