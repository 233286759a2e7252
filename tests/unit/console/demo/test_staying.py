"""The events that go on arriving while the demo stays."""

from __future__ import annotations

from itertools import islice

from console.demo.staying import endless


def test_the_events_never_end_and_some_lack_the_address_of_their_page() -> None:
    events = list(islice(endless(1), 3000))

    broken = [event for event in events if event["type"] == "page" and "url" not in event["properties"]]
    assert len(events) == 3000
    assert 5 < len(broken) < 20
    ids = [event["messageId"] for event in events if event not in broken]
    assert len(set(ids)) == len(ids)
