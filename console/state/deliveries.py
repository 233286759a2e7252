"""The state of the deliveries to a destination, as `segue status` and `segue lanes show` print it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lanes
import mapping
from console.output import utc
from delivery import admission
from delivery.admission import AdmissionState


def gather(queue: lanes.Queue, delivery: mapping.Delivery, workers: int | None) -> dict[str, Any]:
    """Return `{"state", "paused", "breaker", "reason", "since_ms", "probe_in_s", "requests_per_s", "limit_per_s",
    "throttled_total", "throttled_ms"}`. `workers` is their number, None when it is not known.

    `state` is "no workers", "paused" (Customer.io refuses the credentials), "breaker open" (it is unavailable),
    "waiting" (it asked to wait) or "delivering"; `reason` says why it is one of the middle three, and `since_ms` since
    when. `probe_in_s` is the time until the next probe. `requests_per_s` is the present rate, `limit_per_s` its limit.
    `throttled_total` are the responses 429, `throttled_ms` the time of the last one. Times are Unix milliseconds.
    """
    found = admission.read(queue)
    return {
        "state": _state(found, workers),
        "paused": found.paused,
        "breaker": found.breaker,
        "reason": found.reason,
        "since_ms": found.since_ms,
        "probe_in_s": None if found.probe_ms is None else max(0, found.probe_ms - found.now_ms) / 1000,
        "requests_per_s": round(found.rate(delivery.requests_per_s), 1),
        "limit_per_s": delivery.requests_per_s,
        "throttled_total": found.throttled,
        "throttled_ms": found.throttled_ms,
    }


def _state(found: AdmissionState, workers: int | None) -> str:
    if workers == 0:
        return "no workers"
    if found.paused:
        return "paused"
    if found.breaker == "open":
        return "breaker open"
    return "waiting" if found.reason else "delivering"


def lines(row: dict[str, Any]) -> Iterator[str]:
    """Yield since when deliveries are stopped and when the next probe is sent; the rate, if it is below its limit; and
    the responses 429, if there were any."""
    if row["since_ms"] is not None:
        stop = "paused" if row["paused"] else "breaker open"
        yield f"{stop} since {utc(row['since_ms'])}, {_probe(row)}"
    if row["requests_per_s"] < row["limit_per_s"]:
        yield f"rate: {row['requests_per_s']:,g} of {row['limit_per_s']:,} requests/s"
    if row["throttled_total"]:
        last = f", the last one at {utc(row['throttled_ms'])}" if row["throttled_ms"] else ""
        yield f"{row['throttled_total']:,} responses 429{last}"


def stop(row: dict[str, Any]) -> str | None:
    """Return why no event is sent at this time, None when they are sent."""
    match row["state"]:
        case "delivering":
            return None
        case "no workers":
            return "no worker is running"
        case "waiting":
            return f"Customer.io asked to wait: {row['reason']}"
    return f"{row['state']}, {_probe(row)}: {row['reason']}"


def _probe(row: dict[str, Any]) -> str:
    if row["state"] == "no workers":
        return "no worker sends a probe"
    return f"next probe in {row['probe_in_s'] or 0:.0f} s"
