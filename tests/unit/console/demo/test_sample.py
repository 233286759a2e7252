"""The sample: the same for the same seed, complete, and with every kind of event that the demo promises."""

from __future__ import annotations

from collections import defaultdict

from console.demo.run import sample


def test_the_same_seed_gives_the_same_events() -> None:
    assert sample.events(1000, 7) == sample.events(1000, 7)
    assert sample.events(1000, 7) != sample.events(1000, 8)


def test_there_are_at_least_as_many_events_as_asked_for_and_no_message_id_twice() -> None:
    events = sample.events(5000, 1)

    assert len(events) >= 5000
    assert len({event["messageId"] for event in events}) == len(events)


def test_every_stream_is_in_order() -> None:
    traces = defaultdict(list)
    for event in sample.events(5000, 1):
        for carrier in ("traits", "properties"):
            if "segue_trace" in event.get(carrier, {}):
                stream, _, number = event[carrier]["segue_trace"].partition(":")
                traces[stream].append((int(number), event["timestamp"]))

    assert len(traces) > 300
    assert all(numbers == sorted(numbers) for numbers in traces.values())


def test_the_sample_has_every_kind_of_event() -> None:
    kinds = {event.get("event", event["type"]) for event in sample.events(5000, 1)}

    assert {"page", "identify", "alias", "group"} <= kinds
    assert {"Application Installed", "Application Uninstalled", "User Deleted", "Order Placed"} <= kinds


def test_lifecycles_are_interleaved() -> None:
    first = [event["messageId"].rpartition("-")[0] for event in sample.events(1000, 1)[:100]]

    assert len({name.split("-")[1] for name in first}) > 30
