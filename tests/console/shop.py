"""A shop whose events fill the console: delivered ones, dead letters of three kinds, and a person who is blocked."""

from __future__ import annotations

import random
from typing import Any, Final

import lanes
from tests.console.hour import write_hour
from tests.pipeline import Pipeline, wait_until
from tests.secrets import CREDENTIALS_TOML

QUEUE: Final = "journeys"
ADA: Final = "ada@example.com"
CONFIG: Final = f"""
[sources.website]
write_key = "demo"
trust = "public"
destinations = ["journeys"]

[sources.shop]
write_key = "shop-server-key-4711"
trust = "server"
destinations = ["journeys"]

[destinations.journeys]
{CREDENTIALS_TOML}
[destinations.journeys.delivery]
after_burial = "hold"
requests_per_s = 400

[[destinations.journeys.filters]]
if = "properties.internal = true"
action = "drop"
"""
# What corrects both kinds of dead letters of the shop, as the workbench takes it.
CORRECTED: Final = """
[[subscriptions]]
name = "Track Page View"
mapping.url = "$.name"

[[filters]]
if = "type = 'identify'"
action = "block"
fields = { traits = ["bio"] }
"""
_PRODUCTS: Final = ("Linen shirt", "Walking boots", "Rain jacket", "Wool socks", "Canvas bag")


def open_shop(pipeline: Pipeline) -> None:
    """Send a day's events, and wait until each is delivered, dropped or a dead letter."""
    chance = random.Random(7)
    pipeline.send(events(chance))
    broken = [page(number) for number in range(24)] + [long_name(number) for number in range(7)]
    pipeline.send(broken, write_key="shop-server-key-4711")
    blocked = [page(0, ADA), order(chance, 1, ADA), order(chance, 2, ADA)]
    pipeline.send(blocked, write_key="shop-server-key-4711")
    wait_until(lambda: _is_settled(pipeline), "the events are settled")
    write_hour(lanes.Queue(client=pipeline.redis, name=QUEUE))


def _is_settled(pipeline: Pipeline) -> bool:
    stats = lanes.stats(lanes.Queue(client=pipeline.redis, name=QUEUE))
    return stats.dead == 32 and stats.waiting == 2


def events(chance: random.Random) -> list[dict[str, Any]]:
    """Return events of people that Customer.io accepts, some of which a filter drops."""
    made: list[dict[str, Any]] = [
        {
            "type": "identify",
            "userId": ADA,
            "messageId": "ada",
            "traits": {"email": ADA, "plan": "pro", "city": "London"},
        },
        order(chance, 0, ADA),
    ]
    for number in range(300):
        user = f"customer-{number % 60 + 100}"
        made.append(order(chance, number + 10, user))
    return made


def order(chance: random.Random, number: int, user: str) -> dict[str, Any]:
    """Return an order."""
    properties = {"order_id": f"A-{1000 + number}", "product": chance.choice(_PRODUCTS), "total": 19.5 + number % 40}
    name = chance.choice(("Order Placed", "Product Viewed", "Order Shipped"))
    internal = {"internal": True} if number % 50 == 11 else {}
    return {
        "type": "track",
        "event": name,
        "userId": user,
        "messageId": f"order-{user}-{number}",
        "properties": properties | internal,
    }


def page(number: int, user: str = "") -> dict[str, Any]:
    """Return a page without its address, which the mapping needs."""
    who = user or f"reader-{number}"
    return {"type": "page", "name": "Checkout", "userId": who, "messageId": f"page-{who}-{number}", "properties": {}}


def long_name(number: int) -> dict[str, Any]:
    """Return an update that Customer.io refuses."""
    return {
        "type": "identify",
        "userId": f"writer-{number}",
        "messageId": f"bio-{number}",
        "traits": {"bio": "x" * 1001},
    }
