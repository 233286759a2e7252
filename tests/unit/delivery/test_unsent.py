"""Numbers of events that a matching subscription does not apply to."""

from __future__ import annotations

from collections import Counter

import fakeredis

import mapping
from delivery import unsent
from tests.queues import queue_of


def test_an_event_has_one_reason_for_each_subscription_that_does_not_apply() -> None:
    assert unsent.reasons(mapping.Translation((), ())) == ()
    assert unsent.reasons(mapping.Translation((), (), "integrations.All is false")) == ()
    assert unsent.reasons(mapping.Translation((), (), None, ("A", "B: c"))) == (
        "not_applicable:A",
        "not_applicable:B: c",
    )


def test_totals_are_sums_by_reason() -> None:
    queue = queue_of(fakeredis.FakeStrictRedis(), "journeys")
    assert unsent.totals(queue) == {}

    unsent.add(queue, Counter({"not_applicable:A": 2, "not_applicable:B: c": 1}))
    unsent.add(queue, Counter({"not_applicable:A": 1, "not_applicable:B: c": 4}))

    assert unsent.totals(queue) == {"A": 3, "B: c": 5}
