"""Three sequences that end wrong when their order is lost, 200 times each, with three workers and a slow service."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Any

import pytest

from tests.conftest import RedisServer
from tests.pipeline import Pipeline

TIMES = 200

Event = dict[str, Any]


def identify_then_merge(n: int) -> list[Event]:
    """A person is identified under a second id, and an alias merges it into the first."""
    return [
        {"type": "identify", "userId": f"new {n}", "traits": {"plan": "pro"}},
        {"type": "identify", "userId": f"old {n}", "traits": {"colour": "red"}},
        {"type": "alias", "userId": f"new {n}", "previousId": f"old {n}"},
        {"type": "track", "userId": f"new {n}", "event": "After merge"},
    ]


def lead_to_customer(n: int) -> list[Event]:
    """A lead with only an e-mail address gets an id; there are events under both."""
    email = f"lead{n}@example.com"
    return [
        {"type": "identify", "anonymousId": f"lead {n}", "traits": {"email": email, "stage": "lead"}},
        {"type": "track", "userId": email, "event": "Trial started"},
        {"type": "identify", "userId": f"customer {n}", "traits": {"email": email, "stage": "customer"}},
        {"type": "track", "userId": f"customer {n}", "event": "Bought"},
    ]


def anonymous_then_identify(n: int) -> list[Event]:
    """A visitor has events before they are identified."""
    visitor = f"visitor {n}"
    return [
        {"type": "page", "anonymousId": visitor, "properties": {"url": "https://shop.example/"}},
        {"type": "track", "anonymousId": visitor, "event": "Product viewed"},
        {"type": "identify", "anonymousId": visitor, "userId": f"visitor id {n}", "traits": {"name": "Jo"}},
        {"type": "track", "anonymousId": visitor, "userId": f"visitor id {n}", "event": "Signed up"},
    ]


def interleaved(sequence: Any) -> Iterator[Event]:
    """Yield the events of TIMES people: the first event of each person, then the second of each, and so on."""
    stories = [sequence(n) for n in range(TIMES)]
    for n, event in enumerate(chain.from_iterable(zip_longest(*stories))):
        yield event | {"messageId": f"{sequence.__name__}-{n}"}


@pytest.mark.parametrize("sequence", [identify_then_merge, lead_to_customer, anonymous_then_identify])
def test_each_person_s_operations_arrive_in_the_order_of_their_events(redis_server: RedisServer, sequence: Any) -> None:
    with Pipeline(redis_server.url, workers=3, SEGUE_SETTLE_S="1") as pipeline:
        pipeline.faults(latency_ms=[0, 50], seed=1)
        pipeline.send(interleaved(sequence), batch=50)
        pipeline.drain()
        journal, people = pipeline.journal(), pipeline.people()

    arrived = defaultdict(list)
    for entry in journal:
        arrived[number_of(entry["operation"])].append(entry["operation"]["action"])
    wanted = {"track": "event", "alias": "merge"}
    assert dict(arrived) == {
        str(n): [wanted.get(event["type"], event["type"]) for event in sequence(n)] for n in range(TIMES)
    }
    assert len(people) == TIMES, "each sequence ends with one person"


def number_of(operation: dict[str, Any]) -> str:
    """Return the number of the person of an operation: the digits of the identifier."""
    who = operation.get("identifiers") or operation["primary"]
    return "".join(character for character in next(iter(who.values())) if character.isdigit())
