"""How quickly events become operations, on one core, and how that compares with the reference's JavaScript.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. The events are those of the reference's own bench
(half track, a fifth page, a quarter identify, a twentieth device; the same generator and seed, so the same texts), the
destination has all fifteen presets. `mapping.translate` is filter, map, validate and operations.

    python bench/mapping.py                    # our figures
    python bench/mapping.py --against DIR      # and the reference's, its folder copied and installed (Node 20, npm)

With `--against` both run in turn, medians of five. The baselines are the reference's filter + transform + validate,
which make no operations: as it runs, parsing its expressions for every event, and with them parsed once.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder: its files are named after the packages they measure

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

from mapping import compile_destination, ordering_keys, translate

EVENTS = 2000
ROUNDS = 5
SECONDS = 1.0
NOW_S = 1717243200.0

AS_IT_RUNS = "parse (15) + filter + transform + remove empty + validate"
PRE_PARSED = "filter (15 parsed) + transform + remove empty + validate"

Json = dict[str, Any]


class Mulberry32:
    """The generator of the reference's bench, so that both sides see the same events."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> float:
        self.state = (self.state + 0x6D2B79F5) & 0xFFFFFFFF
        t = self.state
        t = (t ^ (t >> 15)) * (t | 1) & 0xFFFFFFFF
        t ^= (t + (t ^ (t >> 7)) * (t | 61)) & 0xFFFFFFFF
        return (t ^ (t >> 14)) / 2**32

    def int(self, low: int, high: int) -> int:
        return low + int(self.next() * (high - low + 1))

    def pick(self, choices: list[str]) -> str:
        return choices[self.int(0, len(choices) - 1)]


def event(random: Mulberry32, number: int) -> Json:
    """Return the event of that number in the mix."""
    share = random.next()
    base = {
        "messageId": f"m-{number}",
        "timestamp": moment(random),
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
    return {
        "order_id": f"o-{number}",
        "total": random.int(1, 900) / 10,
        "currency": "EUR",
        "coupon": None,
        "placed_at": moment(random),
        "products": [{"sku": "a", "qty": 1}, {"sku": "b", "qty": 2, "added_at": moment(random)}],
        "shipping": {"city": "Oslo", "eta": moment(random)},
    }


def person(random: Mulberry32, number: int) -> Json:
    return {
        "email": f"u{number}@example.com",
        "first_name": "Jo",
        "last_name": "Lee",
        "plan": "pro",
        "created_at": moment(random),
        "logins": 12,
        "address": {"city": "Oslo", "country": "NO"},
        "unsubscribed": False,
    }


def moment(random: Mulberry32) -> str:
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=random.int(0, 30_000_000))
    return f"{at:%Y-%m-%dT%H:%M:%S}.000Z"


def mix_of(events: list[Json]) -> Json:
    kinds = Counter("device" if each.get("event") == "Application Opened" else each["type"] for each in events)
    return {kind: kinds[kind] for kind in ("page", "track", "identify", "device")}


def per_second(work: Callable[[Json], object], events: list[Json]) -> float:
    """Return how many events a second the work does, over whole rounds of the events for SECONDS of wall time.

    One round before is not counted: the reference warms up too.
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
    """Run the reference's bench as far as it is needed; return events a second by part. Its mix must be ours."""
    rates: Json = {}
    with subprocess.Popen(["node", "bench.mjs", str(SECONDS)], cwd=folder, stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdout is not None
        for line in map(json.loads, bench.stdout):
            if line.get("mix", mix) != mix:
                raise SystemExit(f"the reference's bench has another mix of events: {line['mix']}, ours is {mix}")
            if "part" in line:
                rates[line["part"]] = line["per_second"]
            if AS_IT_RUNS in rates:
                bench.kill()
    return rates


def report(bench: str, value: float, unit: str, baseline: float | None = None) -> None:
    line: Json = {"bench": bench, "value": round(value, 3), "unit": unit}
    if baseline:
        line |= {"baseline": round(baseline, 3), "ratio": round(value / baseline, 3)}
    print(json.dumps(line), flush=True)


def measure(reference: Path | None) -> None:
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
        report("mapping.translate", median(ours), "events/s")
    for label, part in ("as it runs", AS_IT_RUNS), ("pre-parsed", PRE_PARSED):
        if theirs:
            baseline = median(rates[part] for rates in theirs)
            report(f"mapping.translate, against the reference {label}", median(ours), "events/s", baseline)
    report("mapping.ordering_keys", 1e6 / median(keys), "us/event")


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
