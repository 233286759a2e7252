"""Requests that overtake each other, as those of browsers do: each event is a request of its own, with a random delay.

With the window, each person's events take effect in the order in which they happened. Without it they do not, which
shows that the delays are of the kind that it is for.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.conftest import RedisServer
from tests.pipeline import QUEUE, Pipeline, wait_until

PEOPLE, AT_ONCE = 40, 8  # more at once would delay each other's requests by more than the window on a busy machine
LIBRARY = {"library": {"name": "analytics.js", "version": "next-1.84.3"}}
STORY: tuple[dict[str, Any], ...] = (
    {"type": "page", "properties": {"url": "https://shop.example/"}},
    {"type": "track", "event": "Product Viewed"},
    {"type": "identify", "traits": {"plan": "trial"}},
    {"type": "track", "event": "Signed Up"},
    {"type": "identify", "traits": {"plan": "pro"}},
    {"type": "track", "event": "Paid"},
    {"type": "track", "event": "Left"},
)


async def visit(client: httpx.AsyncClient, person: int, rolled: random.Random) -> None:
    """Act as one visitor: an act every few ms, each with a request that takes its own time."""
    requests = []
    for number, act in enumerate(STORY):
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = act | {"anonymousId": f"a{person}", "messageId": f"{person}-{number}", "timestamp": now}
        event |= {"userId": f"u{person}"} if number >= 2 else {}
        delay_s = rolled.uniform(0.005, 0.08) + (0.3 if rolled.random() < 0.02 else 0)
        requests.append(asyncio.create_task(post(client, event | {"context": LIBRARY, "sentAt": now}, delay_s)))
        await asyncio.sleep(rolled.uniform(0.001, 0.02))
    await asyncio.gather(*requests)


async def post(client: httpx.AsyncClient, event: dict[str, Any], delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    (await client.post(f"/v1/{event['type']}", json=event)).raise_for_status()


async def visit_all(url: str, seed: int) -> None:
    rolled = random.Random(seed)
    limits = httpx.Limits(max_connections=60)
    async with httpx.AsyncClient(base_url=url, auth=(QUEUE, ""), limits=limits, timeout=30) as client:
        for first in range(0, PEOPLE, AT_ONCE):
            await asyncio.gather(*(visit(client, person, rolled) for person in range(first, first + AT_ONCE)))


def people_out_of_order(pipeline: Pipeline) -> int:
    """Return of how many people an event took effect after one that happened later."""
    applied: dict[str, list[int]] = defaultdict(list)
    order = {
        event: number for number, event in enumerate(["Product Viewed", "trial", "Signed Up", "pro", "Paid", "Left"])
    }
    for entry in pipeline.journal():
        operation = entry["operation"]
        name = operation.get("name") or operation.get("attributes", {}).get("plan")
        identifiers = operation.get("identifiers", {})
        person = str(identifiers.get("id") or identifiers.get("anonymous_id") or operation.get("anonymous_id"))
        if name in order:
            applied[person.lstrip("au")].append(order[name])
    assert len(applied) == PEOPLE
    return sum(numbers != sorted(numbers) for numbers in applied.values())


@pytest.mark.parametrize("reorder_ms", [5_000, 0])  # a busy machine delays more than a network
def test_people_act_in_their_order_though_requests_overtake_each_other(
    redis_server: RedisServer, reorder_ms: int
) -> None:
    variables = {"SEGUE_REORDER_MS": str(reorder_ms), "SEGUE_SETTLE_S": "0.05"}
    with Pipeline(redis_server.url, workers=2, **variables) as pipeline:
        asyncio.run(visit_all(pipeline.ingest_url, seed=7))
        wait_until(lambda: pipeline.stats().accepted_total == PEOPLE * len(STORY), "all events are accepted")
        pipeline.drain()
        wrong, reordered = people_out_of_order(pipeline), pipeline.stats().reordered_total

    assert (wrong == 0, reordered > 0) == ((True, True) if reorder_ms else (False, False)), (wrong, reordered)
