"""The three sequences that break when order is lost, two hundred times each, over three workers and a slow service."""

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
    """A person becomes known under a second id, which an alias then makes the first one's."""
    return [
        {"type": "identify", "userId": f"new {n}", "traits": {"plan": "pro"}},
        {"type": "identify", "userId": f"old {n}", "traits": {"colour": "red"}},
        {"type": "alias", "userId": f"new {n}", "previousId": f"old {n}"},
        {"type": "track", "userId": f"new {n}", "event": "After merge"},
    ]


def lead_to_customer(n: int) -> list[Event]:
    """A lead known by e-mail only gets an id, and does things under both."""
    email = f"lead{n}@example.com"
    return [
        {"type": "identify", "anonymousId": f"lead {n}", "traits": {"email": email, "stage": "lead"}},
        {"type": "track", "userId": email, "event": "Trial started"},
        {"type": "identify", "userId": f"customer {n}", "traits": {"email": email, "stage": "customer"}},
        {"type": "track", "userId": f"customer {n}", "event": "Bought"},
    ]


def anonymous_then_identify(n: int) -> list[Event]:
    """A visitor looks around and then says who it is."""
    visitor = f"visitor {n}"
    return [
        {"type": "page", "anonymousId": visitor, "properties": {"url": "https://shop.example/"}},
        {"type": "track", "anonymousId": visitor, "event": "Product viewed"},
        {"type": "identify", "anonymousId": visitor, "userId": f"visitor id {n}", "traits": {"name": "Jo"}},
        {"type": "track", "anonymousId": visitor, "userId": f"visitor id {n}", "event": "Signed up"},
    ]


def sent(tell: Any) -> Iterator[Event]:
    """The story told by `TIMES` people at once: first everybody's first event, then everybody's second, …"""
    stories = [tell(n) for n in range(TIMES)]
    for n, event in enumerate(chain.from_iterable(zip_longest(*stories))):
        yield event | {"messageId": f"{tell.__name__}-{n}"}


@pytest.mark.parametrize("tell", [identify_then_merge, lead_to_customer, anonymous_then_identify])
def test_every_story_arrives_as_it_was_told(redis_server: RedisServer, tell: Any) -> None:
    with Pipeline(redis_server.url, workers=3, SEGUE_SETTLE_S="1") as pipeline:
        pipeline.faults(latency_ms=[0, 50], seed=1)
        pipeline.send(sent(tell), batch=50)
        pipeline.drain()
        journal, people = pipeline.journal(), pipeline.people()

    arrived = defaultdict(list)
    for entry in journal:
        arrived[story_of(entry["operation"])].append(entry["operation"]["action"])
    wanted = {"track": "event", "alias": "merge"}
    assert dict(arrived) == {
        str(n): [wanted.get(event["type"], event["type"]) for event in tell(n)] for n in range(TIMES)
    }
    assert len(people) == TIMES, "each story ends with one person"


def story_of(operation: dict[str, Any]) -> str:
    """The number of the story that an operation belongs to: the digits of its person's name."""
    who = operation.get("identifiers") or operation["primary"]
    return "".join(letter for letter in next(iter(who.values())) if letter.isdigit())
