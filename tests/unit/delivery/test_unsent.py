"""Numbers of events for which nothing was sent."""

from __future__ import annotations

from collections import Counter

import fakeredis

import mapping
from delivery import unsent
from tests.queues import queue_of


def test_a_filtered_event_has_one_reason_and_the_others_have_one_for_each_subscription() -> None:
    assert unsent.reasons(mapping.Translation((), ())) == ()
    assert unsent.reasons(mapping.Translation((), (), "integrations.All is false")) == ("filtered",)
    assert unsent.reasons(mapping.Translation((), (), None, ("A", "B: c"))) == (
        "not_applicable:A",
        "not_applicable:B: c",
    )


def test_totals_are_sums_by_reason() -> None:
    queue = queue_of(fakeredis.FakeStrictRedis(), "journeys")
    assert unsent.totals(queue) == unsent.Totals()

    unsent.add(queue, Counter({"filtered": 2, "not_applicable:B: c": 1}))
    unsent.add(queue, Counter({"filtered": 1, "not_applicable:B: c": 4}))

    assert unsent.totals(queue) == unsent.Totals(3, {"B: c": 5})
