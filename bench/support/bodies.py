"""Events as Segment's libraries write them: analytics.js in a browser, the mobile libraries, and those on servers.

Contexts are complete, as the libraries fill them. What differs from event to event (ids, times, addresses, versions)
is random. A vocabulary has the events, properties and traits of one business. The dictionary is trained with one
vocabulary and measured with a second one too, because Segue does not know the vocabulary of an installation.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that one business gives to events, properties and traits, and its words in values."""

    host: str
    paths: tuple[str, ...]
    events: tuple[str, ...]
    properties: tuple[str, ...]
    traits: tuple[str, ...]
    words: tuple[str, ...]


# The names of the semantic events and reserved traits of the Segment spec.
KNOWN = Vocabulary(
    host="www.example.com",
    paths=("", "pricing", "products/shoes", "checkout", "account/settings", "blog/how-to", "login", "signup", "search"),
    events=(
        "Product Viewed",
        "Product Added",
        "Product List Viewed",
        "Cart Viewed",
        "Checkout Started",
        "Order Completed",
        "Order Refunded",
        "Products Searched",
        "Signed Up",
        "Signed In",
        "Trial Started",
        "Subscription Started",
        "Invite Sent",
        "Email Opened",
        "Application Opened",
        "Application Installed",
        "Application Backgrounded",
        "Button Clicked",
        "Form Submitted",
        "Video Playback Started",
    ),
    properties=(
        "order_id",
        "product_id",
        "sku",
        "category",
        "name",
        "brand",
        "variant",
        "price",
        "quantity",
        "coupon",
        "currency",
        "total",
        "revenue",
        "shipping",
        "tax",
        "discount",
        "position",
        "value",
        "query",
        "list_id",
        "cart_id",
        "checkout_id",
        "payment_method",
        "label",
        "plan",
        "source",
        "type",
        "status",
        "image_url",
    ),
    traits=(
        "firstName",
        "lastName",
        "name",
        "phone",
        "plan",
        "company",
        "title",
        "createdAt",
        "created_at",
        "birthday",
        "gender",
        "username",
        "website",
        "avatar",
        "age",
        "city",
        "country",
        "logins",
        "industry",
        "employees",
        "first_name",
        "last_name",
        "role",
        "account_id",
        "unsubscribed",
    ),
    words=("shoes", "premium", "EUR", "USD", "monthly", "credit card", "active", "Berlin", "London", "blue", "SUMMER"),
)
UNKNOWN = Vocabulary(
    host="app.ferrywell.io",
    paths=("", "voyages/42", "berths", "crew/roster", "tides", "dock", "voyages/new", "harbours/oslo"),
    events=("Berth Reserved", "voyage_planned", "Crew Rostered", "Tide Table Opened", "ferry.boarded", "Mooring Paid"),
    properties=("berth", "voyage", "draught_m", "knots", "harbour", "crewSize", "fuel_litres", "departsAt", "deck"),
    traits=("captain", "fleetSize", "harbourName", "licence", "boats", "homePort", "knotsAverage", "memberSince"),
    words=("Skagen", "leeward", "catamaran", "starboard", "NOK", "overnight", "Bergen", "wharf 9", "ebb"),
)

_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{0}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{0}.0.0.0"
    " Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.{1}"
    " Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_{1} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.{1}"
    " Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{0}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{0}.0.0.0 Safari/537.36"
    " Edg/{0}.0.0.0",
)
_LOCALES = ("en-US", "en-GB", "de-DE", "fr-FR", "es-ES", "pt-BR", "ja-JP", "nl-NL")
_ZONES = ("America/New_York", "America/Los_Angeles", "Europe/London", "Europe/Berlin", "Asia/Tokyo", "Europe/Paris")
_SERVERS = (("node", 2), ("python", 2), ("ruby", 2), ("go", 3), ("php", 1))
_PHONES = (
    {"manufacturer": "Apple", "model": "iPhone15,2", "name": "iPhone", "type": "ios"},
    {"manufacturer": "Apple", "model": "iPhone17,1", "name": "iPhone", "type": "ios"},
    {"manufacturer": "samsung", "model": "SM-S921B", "name": "e1s", "type": "android"},
    {"manufacturer": "Google", "model": "Pixel 8", "name": "shiba", "type": "android"},
)


def events(count: int, seed: int, vocabulary: Vocabulary) -> Iterator[Json]:
    """Yield events of all kinds of libraries, the same ones for the same seed."""
    dice = random.Random(seed)
    for _ in range(count):
        context = dice.choices((_browser, _mobile, _server), (6, 2, 2))[0](dice, vocabulary)
        yield _event(dice, vocabulary, context)


def _event(dice: random.Random, vocabulary: Vocabulary, context: Json) -> Json:
    kind = dice.choices(("track", "page", "identify", "group"), (11, 4, 4, 1))[0]
    library = context["library"]["name"]
    if kind == "page" and library.endswith(("ios", "android", "swift", "kotlin")):
        kind = "screen"
    event: Json = {"timestamp": _moment(dice), "integrations": {}, "type": kind}
    if kind == "track":
        event |= {
            "event": dice.choice(vocabulary.events),
            "properties": _values(dice, vocabulary, vocabulary.properties),
        }
    elif kind == "page":
        event |= {"name": None, "properties": dict(context.get("page", {"url": f"https://{vocabulary.host}/"}))}
    elif kind == "screen":
        event |= {"name": dice.choice(vocabulary.words).title(), "properties": {}}
    else:
        event["traits"] = _values(dice, vocabulary, vocabulary.traits)
    if kind == "identify":
        event["traits"] = {"email": f"{dice.getrandbits(30):x}@{vocabulary.host}"} | event["traits"]
    if kind == "group":
        event["groupId"] = str(dice.getrandbits(30))
    prefix = f"ajs-next-{dice.getrandbits(44)}-" if library == "analytics.js" else ""
    event["context"] = context
    event["messageId"] = prefix + _uuid(dice)
    event["anonymousId"] = _uuid(dice)
    if dice.random() < 0.6 or kind == "identify":
        event["userId"] = str(dice.getrandbits(32)) if dice.random() < 0.5 else _uuid(dice)
    event["sentAt"] = event["originalTimestamp"] = event["timestamp"]
    event["receivedAt"] = event["timestamp"][:20] + f"{dice.randrange(1000):03}Z"
    return event


def _browser(dice: random.Random, vocabulary: Vocabulary) -> Json:
    path = "/" + dice.choice(vocabulary.paths)
    search = f"?utm_source=newsletter&utm_campaign={dice.choice(vocabulary.words)}" if dice.random() < 0.2 else ""
    context: Json = {
        "page": {
            "path": path,
            "referrer": dice.choice(("", "https://www.google.com/", f"https://{vocabulary.host}/")),
            "search": search,
            "title": " ".join(dice.choices(vocabulary.words, k=3)).title(),
            "url": f"https://{vocabulary.host}{path}{search}",
        },
        "userAgent": dice.choice(_BROWSERS).format(dice.randrange(120, 150), dice.randrange(6)),
        "locale": dice.choice(_LOCALES),
        "library": {"name": "analytics.js", "version": f"npm-next-1.{dice.randrange(70, 82)}.0"},
        "timezone": dice.choice(_ZONES),
        "ip": _ip(dice),
    }
    if "Chrome" in context["userAgent"]:
        major = dice.randrange(120, 150)
        brands = (("Chromium", major), ("Google Chrome", major), ("Not_A Brand", 24))
        context["userAgentData"] = {
            "brands": [{"brand": brand, "version": str(version)} for brand, version in brands],
            "mobile": False,
            "platform": dice.choice(("macOS", "Windows", "Linux", "Android")),
        }
    if search:
        context["campaign"] = {"source": "newsletter", "name": dice.choice(vocabulary.words)}
    return context


def _mobile(dice: random.Random, vocabulary: Vocabulary) -> Json:
    phone = dice.choice(_PHONES)
    name = vocabulary.host.split(".")[-2].title()
    return {
        "app": {
            "name": name,
            "version": f"{dice.randrange(9)}.{dice.randrange(20)}.0",
            "build": str(dice.randrange(4000)),
            "namespace": f"com.{name.lower()}.app",
        },
        "device": {"id": _uuid(dice), "adTrackingEnabled": False, **phone},
        "library": {"name": "analytics-swift" if phone["type"] == "ios" else "analytics-kotlin", "version": "1.7.3"},
        "locale": dice.choice(_LOCALES),
        "network": {"bluetooth": False, "carrier": "T-Mobile", "cellular": dice.random() < 0.5, "wifi": True},
        "os": {"name": "iOS" if phone["type"] == "ios" else "Android", "version": f"{dice.randrange(13, 19)}"},
        "screen": {"density": 3, "height": 2532, "width": 1170},
        "timezone": dice.choice(_ZONES),
        "ip": _ip(dice),
        "instanceId": _uuid(dice),
    }


def _server(dice: random.Random, _: Vocabulary) -> Json:
    library, major = dice.choice(_SERVERS)
    return {"library": {"name": f"analytics-{library}", "version": f"{major}.{dice.randrange(5)}.{dice.randrange(4)}"}}


def _values(dice: random.Random, vocabulary: Vocabulary, names: tuple[str, ...]) -> Json:
    kinds = (
        lambda: dice.choice(vocabulary.words),
        lambda: dice.randrange(1000),
        lambda: round(dice.random() * 500, 2),
        lambda: dice.random() < 0.5,
        lambda: f"{dice.getrandbits(32):x}",
        lambda: _moment(dice),
        lambda: f"https://{vocabulary.host}/{dice.choice(vocabulary.paths)}",
    )
    chosen = dice.sample(names, dice.randint(2, 8))
    values: Json = {name: dice.choices(kinds, (8, 3, 3, 1, 2, 1, 1))[0]() for name in chosen}
    if dice.random() < 0.15:
        values["products"] = [
            {name: dice.choice(kinds)() for name in dice.sample(names, 5)} for _ in range(dice.randint(1, 3))
        ]
    return values


def _moment(dice: random.Random) -> str:
    day, hour, minute = dice.randrange(1, 29), dice.randrange(24), dice.randrange(60)
    month, second = dice.randrange(1, 13), dice.randrange(60)
    return f"2026-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{dice.randrange(1000):03}Z"


def _uuid(dice: random.Random) -> str:
    return str(UUID(int=dice.getrandbits(128), version=4))


def _ip(dice: random.Random) -> str:
    return ".".join(str(dice.randrange(1, 255)) for _ in range(4))
