"""Whether a plan says what the replay does: the figures of a plan, and those of the replay, side by side.

    python -m bench.replay_plan [DEAD LETTERS]

Ingest, two workers and the simulator make DEAD LETTERS (10,000) of two kinds, invalid and rejected, in ten groups. Some
fail again, some are older than 72 hours, some are of people who were updated, deleted or suppressed since, and a new
filter drops some. The configuration is corrected, a dry run counts, a replay sends. What the replay did is counted in
the simulated workspace, and among the dead letters that are left. Prints a Markdown table; the exit code is 1 when a
figure differs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import bench  # noqa: F401  # see bench/bench.py
import lanes
from bench.support import embedded
from console.dead import replays as views
from dead_letters import dry_run, query
from dead_letters import replay as replays
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from delivery.identity_memory import TIMES_KEPT_S, named_in
from lanes import fates, keys, suppression
from mapping.envelope import JsonObject
from tests.pipeline import QUEUE, Pipeline, configuration, wait_until
from tests.queues import queue_in

_DEADLINE_S: Final = 600.0
_PER_S: Final = 5_000
_TOO_LONG: Final = "x" * 1001
# Page views need an address. The name of tracked events is read from a field that no event has.
_PAGES: Final = """
[[destinations.demo.subscriptions]]
name = "Track Page View"
mapping.url = "$.properties.url"
"""
FAULTY: Final = (
    _PAGES
    + """
[[destinations.demo.subscriptions]]
name = "Track Event"
mapping.name = "$.properties.title"
"""
)
_CORRECTED: Final = (
    _PAGES
    + """
[[destinations.demo.filters]]
if = "properties.internal = true"
action = "drop"

[[destinations.demo.filters]]
if = "type = 'identify'"
action = "block"
fields = { traits = ["bio"] }
"""
)


class Row(NamedTuple):
    """A figure of the plan, and what the replay did."""

    name: str
    predicted: int
    actual: int


_BIO: Final = {"bio": _TOO_LONG, "plan": "free"}
# Each group: its hours of age, and what its events have.
GROUPS: Final[dict[str, tuple[float, JsonObject]]] = {
    "order": (1, {"type": "track", "event": "Order Placed"}),
    "old": (100, {"type": "track", "event": "Order Placed"}),
    "deleted": (1, {"type": "track", "event": "Order Placed"}),
    "suppressed": (1, {"type": "track", "event": "Order Placed"}),
    "internal": (1, {"type": "track", "event": "Order Placed", "properties": {"internal": True}}),
    "page": (1, {"type": "page", "name": "Checkout"}),
    "bio": (1, {"type": "identify", "traits": _BIO}),
    "updated": (1, {"type": "identify", "traits": _BIO}),
    "history": (3, {"type": "identify", "traits": _BIO}),
    "about": (1, {"type": "identify", "traits": {"about": _TOO_LONG}}),
}


def config(destination: str) -> str:
    """Return a configuration with these subscriptions and filters."""
    delivery = {"requests_per_s": 10_000}
    return configuration(QUEUE, delivery=delivery).replace("[sources.demo]", '[sources.demo]\ntrust = "server"') + (
        destination
    )


def compare(pipeline: Pipeline, count: int) -> list[Row]:
    """Make dead letters, plan and run a replay of all of them, and return the figures of both. The pipeline has the
    configuration `config(FAULTY)`."""
    queue = queue_in(pipeline.redis, QUEUE)
    groups = [name for name in GROUPS for _ in range(-(-count // len(GROUPS)))][:count]
    now = datetime.now(UTC)
    pipeline.send(_event(name, number, now) for number, name in enumerate(groups))
    wait_until(lambda: lanes.stats(queue).dead == count, f"{count} dead letters", _DEADLINE_S)
    _change_people(pipeline, queue, groups)
    _correct(pipeline)
    before = {dead_letter.sequence: dead_letter for dead_letter in query.matching(queue, Filter())}
    seen = len(pipeline.journal())
    plan = _run(queue, "dry_run")
    replay = _run(queue, "mapped")
    pipeline.drain(_DEADLINE_S)
    return list(_rows(plan, replay, before, _Done(pipeline, queue, before, seen)))


def _event(group: str, number: int, now: datetime) -> JsonObject:
    hours, members = GROUPS[group]
    at = now - timedelta(hours=hours)
    return members | {"userId": f"{group}-{number}", "messageId": f"m{number}", "timestamp": at.isoformat()}


def _change_people(pipeline: Pipeline, queue: lanes.Queue, groups: list[str]) -> None:
    """Update, delete and suppress the people of three groups."""
    people = [f"{name}-{number}" for number, name in enumerate(groups)]
    deleted = [user for user in people if user.startswith("deleted")]
    updated = [user for user in people if user.startswith("updated")]
    pipeline.send({"type": "track", "event": "User Deleted", "userId": user} for user in deleted)
    pipeline.send({"type": "identify", "userId": user, "traits": {"plan": "pro"}} for user in updated)
    suppression.suppress(queue, [lanes.digest(f"id:{user}") for user in people if user.startswith("suppressed")])
    pipeline.drain(_DEADLINE_S)


def _correct(pipeline: Pipeline) -> None:
    """Write the corrected configuration, and have all processes load it."""
    Path(pipeline.environment["SEGUE_CONFIG"]).write_text(config(_CORRECTED))
    command = [sys.executable, "-m", "console.cli", "reload"]
    subprocess.run(command, env=pipeline.environment, check=True, stdout=subprocess.DEVNULL)


def _run(queue: lanes.Queue, mode: replays.Mode) -> replays.Replay:
    """Run a dry run or a replay of all dead letters to its end."""
    begun = replays.begin(queue, Filter(), who="bench", per_s=_PER_S, mode=mode)

    def now() -> replays.Replay:
        found = replays.read(queue, begun.id)
        assert found is not None
        return found

    wait_until(lambda: now().state == "done", f"the end of the replay {begun.id}", _DEADLINE_S)
    return now()


class _Done:
    """What a replay did: the operations that were accepted, and the dead letters that are left."""

    def __init__(self, pipeline: Pipeline, queue: lanes.Queue, before: Container[int], seen: int) -> None:
        self.again = [dead for dead in query.matching(queue, Filter()) if dead.sequence not in before]
        refused = [fault.request for dead in self.again for fault in dead.failure.faults if fault.request]
        accepted: list[JsonObject] = [entry["operation"] for entry in pipeline.journal()[seen:]]
        self.sent = accepted + refused
        self.people = pipeline.people()
        totals = fates.counts(cast(dict[bytes, bytes], queue.client.hgetall(keys.FATE_TOTALS.of(queue.name))))
        self.fates = Counter({count.fate: count.events for count in totals})

    def count(self, reason: str) -> int:
        """Return how many events became dead letters again for a reason."""
        return sum(dead.failure.reason == reason for dead in self.again)


def _rows(plan: replays.Replay, replay: replays.Replay, before: dict[int, DeadLetter], done: _Done) -> Iterator[Row]:
    """Yield each figure of the plan beside that of the replay."""
    result = views.dry_run_json(plan)
    risks = Counter(result["risks"])
    yield Row("dead letters", result["dead_letters"], replay.processed)
    yield Row("stay: their person is suppressed", risks.pop(dry_run.SUPPRESSED), replay.skipped)
    sent = Counter(f"{body['type']} {body['action']}" for body in done.sent)
    for kind in sorted({*sent, *result["operations"]}):
        yield Row(f"sent: {kind}", result["operations"].get(kind, 0), sent[kind])
    yield Row(
        "people", result["people"], len({person for body in done.sent for person in named_in(body, "email_or_id")})
    )
    yield Row("would be invalid again", result["fail_again"], done.count("invalid"))
    yield from _changed(result, before, done)
    yield from (Row(name, number, _happened(name, done)) for name, number in sorted(risks.items()))


def _changed(result: dict[str, Any], before: dict[int, DeadLetter], done: _Done) -> Iterator[Row]:
    """Yield how many requests differ from the refused ones, and in which attributes."""
    fields: Counter[str] = Counter()
    changed = 0
    now = {body["identifiers"]["id"]: body for body in done.sent if body["action"] == "identify"}
    for dead_letter in before.values():
        for fault in dead_letter.failure.faults:
            if fault.request and (body := now.get(fault.request["identifiers"]["id"])):
                names = fault.request["attributes"].keys() - body["attributes"].keys()
                changed += bool(names)
                fields.update(names)
    yield Row("differ from what was refused", result["changed"], changed)
    for name in sorted({*fields, *(field.removeprefix("attributes.") for field in result["changes"])}):
        yield Row(f"changes attributes.{name}", result["changes"].get(f"attributes.{name}", 0), fields[name])


def _happened(risk: str, done: _Done) -> int:
    """Return to how many dead letters the risk happened, as the workspace shows."""
    events = [event for person in done.people for event in person["events"]]
    updates = [body for body in done.sent if body["action"] == "identify"]
    match risk.partition(":")[0]:
        case "more than 72 h old":
            return sum(not event["may_trigger"] for event in events)
        case "at most 72 h old":
            return sum(event["may_trigger"] for event in events)
        case "older than an update that was sent since":
            return sum(person["attributes"].get("plan") == "pro" for person in done.people)
        case "older than the hours for which updates are remembered":
            return sum(time.time() - body["timestamp"] > TIMES_KEPT_S for body in updates)
        case "older than the deletion of its person":
            return done.fates["dropped"]
        case "a filter excludes it, or no subscription takes it":
            return done.fates["filtered"] + done.fates["unmatched"]
        case "the same request was refused before":
            return done.count("rejected")
    raise ValueError(f"no group has the risk {risk}")


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| | plan | replay |", "| --- | ---: | ---: |"]
    return "\n".join([*lines, *(f"| {row.name} | {row.predicted:,} | {row.actual:,} |" for row in rows)])


def main(count: int) -> int:
    """Print the table; return 1 when a figure differs."""
    with embedded.pipeline(config(FAULTY), workers=2) as pipeline:
        rows = compare(pipeline, count)
    print(table(rows))
    return int(any(row.predicted != row.actual for row in rows))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
