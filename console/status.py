"""How the pipeline is, in one screen: the figures of every queue, every source, and the number of workers.

`gather` is the JSON contract of `segue status --json`; `render` is the same for people.
"""

from __future__ import annotations

import time
from typing import Any

import redis
from rich.console import Group, RenderableType
from rich.table import Table

import lanes
import mapping
from console.session import Session
from dead_letters import retention
from delivery import admission
from ingest import counters, sources
from settings import Settings
from workers import heartbeat

_SOURCE_FIGURES = ("accepted", "duplicates", "suppressed", "rejected")
# The columns of the screen, and what only programs are told.
_COLUMNS = ("waiting", "ready", "delayed", "claimed", "blocked", "dead", "blocking", "delivered_total")
_OTHERS = ("buried_total", "erased_total", "spilled_total")


def gather(session: Session) -> dict[str, Any]:
    """Return `{"destinations": [...], "sources": [...], "workers": n}`; ages in seconds."""
    return {
        "destinations": [
            _destination(session.queue(name), destination.delivery)
            for name, destination in session.destinations.items()
        ],
        "sources": _sources(session.client, session.settings),
        "workers": heartbeat.count(session.client),
    }


def circumstances(queue: lanes.Queue) -> dict[str, Any]:
    """Return whether deliveries to the destination are `paused` (its credentials are refused), its `breaker` (closed,
    or open: the service is dead), and the `reason` for either."""
    state = admission.read(queue)
    return {"paused": state.paused, "breaker": state.breaker, "reason": state.reason}


def render(status: dict[str, Any]) -> RenderableType:
    """Return the screen."""
    queues = Table(title="Destinations", title_justify="left")
    queues.add_column("name")
    for figure in _COLUMNS:
        queues.add_column(figure.removesuffix("_total"), justify="right")
    queues.add_column("oldest", justify="right")
    queues.add_column("state")
    for row in status["destinations"]:
        state = "paused" if row["paused"] else "delivering" if row["breaker"] == "closed" else "breaker open"
        state = f"{state}: {row['reason']}" if row["reason"] else state
        age = f"{row['oldest_age_s']:.0f} s" if row["waiting"] else "–"
        queues.add_row(row["name"], *(f"{row[figure]:,}" for figure in _COLUMNS), age, state)
    alarms = [f"alarm: {row['name']}: {row['alarm']}" for row in status["destinations"] if row["alarm"]]
    incoming = Table(title="Sources", title_justify="left")
    incoming.add_column("name")
    for figure in _SOURCE_FIGURES:
        incoming.add_column(figure, justify="right")
    for row in status["sources"]:
        incoming.add_row(row["name"], *(f"{row[f'{figure}_total']:,}" for figure in _SOURCE_FIGURES))
    long_lanes = [
        f"{row['name']}: a lane of {lane['length']:,} events (digest {lane['digest']}); does everybody share its key?"
        for row in status["destinations"]
        for lane in row["hot"]
    ]
    return Group(queues, *alarms, *long_lanes, incoming, f"Workers: {status['workers']}")


def _destination(queue: lanes.Queue, delivery: mapping.Delivery) -> dict[str, Any]:
    stats = lanes.stats(queue)
    return {
        "name": queue.name,
        **{figure: getattr(stats, figure) for figure in (*_COLUMNS, *_OTHERS)},
        "oldest_age_s": stats.oldest_age_s,
        "alarm": retention.exceeded(queue, delivery, int(time.time() * 1000)),
        "hot": [{"digest": lane.digest.hex(), "length": lane.length} for lane in stats.hot],
        **circumstances(queue),
    }


def _sources(client: redis.Redis, settings: Settings) -> list[dict[str, Any]]:
    totals = counters.totals(client)
    return [
        {
            "name": source.name,
            **{f"{figure}_total": totals.get(source.name, {}).get(figure, 0) for figure in _SOURCE_FIGURES},
        }
        for source in sources.sources(settings.document())
    ]
