"""How quickly events become operations on one core, and how that compares with the reference's JavaScript.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. The events are those of the reference's own
bench: half track, a fifth page, a quarter identify, a twentieth device, with the same generator and seed. The
destination has all fifteen presets. `mapping.translate` is filter, map, validate and operations.

    python -m bench.mapping                    # Segue's figures
    python -m bench.mapping --against DIR      # and the reference's; copies and installs its folder (Node 20, npm)

With `--against` both run in turns, medians of five. The baselines are the reference's filter, transform and validate;
they make no operations. One baseline parses its expressions for every event, as the reference does; for the other they
are parsed once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import bench
from mapping import compile_destination, ordering_keys, translate

EVENTS = 2000
ROUNDS = 5
SECONDS = 1.0
NOW_S = 1717243200.0

# Names of parts in the reference's output.
AS_IT_RUNS = "parse (15) + filter + transform + remove empty + validate"
PRE_PARSED = "filter (15 parsed) + transform + remove empty + validate"

Json = dict[str, Any]


class Mulberry32:
    """The random generator of the reference's bench, so that both have the same events."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> float:
        """Return a number from 0 to 1."""
        self.state = (self.state + 0x6D2B79F5) & 0xFFFFFFFF
        t = self.state
        t = (t ^ (t >> 15)) * (t | 1) & 0xFFFFFFFF
        t ^= (t + (t ^ (t >> 7)) * (t | 61)) & 0xFFFFFFFF
        return (t ^ (t >> 14)) / 2**32

    def int(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`."""
        return low + int(self.next() * (high - low + 1))

    def pick(self, choices: list[str]) -> str:
        """Return one of the choices."""
        return choices[self.int(0, len(choices) - 1)]


def event(random: Mulberry32, number: int) -> Json:
    """Return the event of that number in the mix."""
    share = random.next()
    base = {
        "messageId": f"m-{number}",
        "timestamp": date(random),
        "userId": f"user-{random.int(1, 500)}",
        "anonymousId": f"anon-{random.int(1, 500)}",
        "context": {
            "ip": "8.8.8.8",
            "library": {"name": "analytics.js", "version": "2.1.0"},
            "page": {"url": "https://shop.example.com/p", "path": "/p", "title": "P", "referrer": ""},
            "userAgent": "Mozilla/5.0",
            "locale": "en-US",
            "app": {"version": "1.2"},
            "device": {"token": f"tok-{number}", "type": "ios"},
        },
    }
    if share < 0.5:
        name = random.pick(["Order Completed", "Product Viewed", "Product Added", "Signed Up"])
        return {**base, "type": "track", "event": name, "properties": order(random, number)}
    if share < 0.7:
        page = {"url": "https://shop.example.com/p", "path": "/p", "title": "P"}
        return {
            **base,
            "type": "page",
            "name": "Product",
            "properties": {**page, "referrer": "https://google.com", "search": ""},
        }
    if share < 0.95:
        return {**base, "type": "identify", "traits": person(random, number)}
    return {**base, "type": "track", "event": "Application Opened", "properties": {"from_background": True}}


def order(random: Mulberry32, number: int) -> Json:
    """Return the properties of a track call."""
    return {
        "order_id": f"o-{number}",
        "total": random.int(1, 900) / 10,
        "currency": "EUR",
        "coupon": None,
        "placed_at": date(random),
        "products": [{"sku": "a", "qty": 1}, {"sku": "b", "qty": 2, "added_at": date(random)}],
        "shipping": {"city": "Oslo", "eta": date(random)},
    }


def person(random: Mulberry32, number: int) -> Json:
    """Return the traits of an identify call."""
    return {
        "email": f"u{number}@example.com",
        "first_name": "Jo",
        "last_name": "Lee",
        "plan": "pro",
        "created_at": date(random),
        "logins": 12,
        "address": {"city": "Oslo", "country": "NO"},
        "unsubscribed": False,
    }


def date(random: Mulberry32) -> str:
    """Return an ISO 8601 date of 2024."""
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=random.int(0, 30_000_000))
    return f"{at:%Y-%m-%dT%H:%M:%S}.000Z"


def mix_of(events: list[Json]) -> Json:
    """Return how many events of each kind there are."""
    kinds = Counter("device" if each.get("event") == "Application Opened" else each["type"] for each in events)
    return {kind: kinds[kind] for kind in ("page", "track", "identify", "device")}


def per_second(work: Callable[[Json], object], events: list[Json]) -> float:
    """Return the events/s of the work, in whole rounds over the events for at least SECONDS.

    A first round does not count, because the reference warms up as well.
    """
    for each in events:
        work(each)
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        for each in events:
            work(each)
        done += len(events)
    return done / elapsed


def reference_rates(folder: Path, mix: Json) -> Json:
    """Run the reference's bench up to the parts that are needed; return its events/s by part.

    Ends the benchmark when its mix of events is another one.
    """
    rates: Json = {}
    with subprocess.Popen(
        ["node", "bench.mjs", str(SECONDS)], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in map(json.loads, process.stdout):
            if line.get("mix", mix) != mix:
                raise SystemExit(f"the reference's bench has another mix of events: {line['mix']}, ours is {mix}")
            if "part" in line:
                rates[line["part"]] = line["per_second"]
            if AS_IT_RUNS in rates:
                process.kill()
    return rates


def measure(reference: Path | None) -> None:
    """Measure Segue, and the reference in turns with it when its folder is given."""
    destination = compile_destination("bench")
    random = Mulberry32(1)
    events = [event(random, number) for number in range(EVENTS)]
    ours: list[float] = []
    keys: list[float] = []
    theirs: list[Json] = []
    for _ in range(ROUNDS):
        ours.append(per_second(lambda each: translate(each, destination, NOW_S), events))
        keys.append(per_second(lambda each: ordering_keys(each, destination), events))
        if reference:
            theirs.append(reference_rates(reference, mix_of(events)))
    if not theirs:
        bench.figure("mapping.translate", median(ours), "events/s")
    for label, part in ("as it runs", AS_IT_RUNS), ("pre-parsed", PRE_PARSED):
        if theirs:
            baseline = median(rates[part] for rates in theirs)
            bench.figure(f"mapping.translate, against the reference {label}", median(ours), "events/s", baseline)
    bench.figure("mapping.ordering_keys", 1e6 / median(keys), "us/event")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the mapping.")
    parser.add_argument("--against", type=Path, metavar="DIR", help="the reference's folder (see its README)")
    against = parser.parse_args().against
    if against is None:
        measure(None)
        return
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "reference"
        shutil.copytree(against, copy, ignore=shutil.ignore_patterns("node_modules"))
        subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=copy, check=True)
        measure(copy)


if __name__ == "__main__":
    main()
