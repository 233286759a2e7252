"""Dead letters from end to end: events fail in five ways, are read, edited and replayed while live events arrive.

DEAD_EVENTS is how many events the big run has; 10,000 take about a minute.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

import lanes
from dead_letters import query
from dead_letters import replay as replays
from dead_letters.query import Filter
from tests.chaos.stage import Stage
from tests.conftest import RedisServer
from tests.e2e.conftest import clean_environment
from tests.pipeline import Pipeline, configuration, wait_until
from tests.queues import queue_in

EVENTS = int(os.environ.get("DEAD_EVENTS", "3000"))
FAILED = EVENTS // 10
PEOPLE = 150

# What the mapping should have been.
CORRECTED = """
[[destinations.demo.subscriptions]]
name = "Track Page View"
mapping.url = "$.properties.wanted"
[[destinations.demo.subscriptions]]
name = "Track Screen View"
mapping.name = "$.properties.wanted"
[[destinations.demo.subscriptions]]
name = "Track Event"
mapping.name = "$.properties.wanted"
[[destinations.demo.subscriptions]]
name = "Create or Update Device"
mapping.platform = "$.properties.wanted"
[[destinations.demo.filters]]
if = "type = 'identify'"
action = "block"
fields = { traits = ["bio"] }
"""
# Every tenth event fails for good, in one of five ways.
WAYS: list[Callable[[int], dict[str, Any]]] = [
    lambda n: {"type": "page", "properties": {"wanted": f"d{n}"}},  # no URL
    lambda n: {"type": "screen", "properties": {"wanted": f"d{n}"}},  # no name
    lambda n: {"type": "track", "event": "x" * 120, "properties": {"wanted": f"d{n}"}},  # too long a name
    lambda n: {
        "type": "track",
        "event": "Application Installed",
        "properties": {"wanted": "ios"},
        "context": {"device": {"token": f"token {n}", "type": "toaster"}},
    },
    lambda n: {"type": "identify", "traits": {"bio": "b" * 1200, "edited": n}},  # too long a value
]


def of(n: int, event: dict[str, Any]) -> dict[str, Any]:
    return event | {"userId": f"user {n % PEOPLE}", "messageId": f"m{n}"}


def events() -> list[dict[str, Any]]:
    """Return events: track events (e), events that fail (d), updates."""
    return [
        of(n, WAYS[n // 10 % len(WAYS)](n))
        if n % 10 == 0
        else of(n, {"type": "identify", "traits": {"before": n}})
        if n % 10 == 5
        else of(n, {"type": "track", "event": f"e{n}", "properties": {"wanted": f"e{n}"}})
        for n in range(EVENTS)
    ]


def live(number: int) -> list[dict[str, Any]]:
    """A batch of live events (l) of the same people."""
    batch = []
    for n in range(number * 20, number * 20 + 20):
        deed = {"type": "track", "event": f"l{n}", "properties": {"wanted": f"l{n}"}}
        update = {"type": "identify", "traits": {"live": n}}
        batch.append({**(update if n % 3 == 0 else deed), "userId": f"user {n * 7 % PEOPLE}", "messageId": f"live {n}"})
    return batch


def wanted_people(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return who must be there after the events, applied one after the other."""
    people: dict[str, dict[str, Any]] = defaultdict(lambda: {"attributes": {}, "deeds": [], "devices": []})
    for event in events:
        person = people[event["userId"]]
        if event["type"] == "identify":
            person["attributes"] |= {name: value for name, value in event["traits"].items() if name != "bio"}
        elif event.get("event") == "Application Installed":
            person["devices"].append(event["context"]["device"]["token"])
        else:
            person["deeds"].append(event["properties"]["wanted"])
    return people


def found_people(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    return {
        person["id"]: {
            "attributes": {name: person["attributes"].get(name) for name in ("before", "edited", "live")},
            "deeds": [event["name"] for event in person["events"]],
            "devices": [device["token"] for device in person["devices"]],
        }
        for person in pipeline.people()
    }


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "segue.toml"
    path.write_text(configuration(delivery={"requests_per_s": 1000, "after_burial": "go_on"}))
    return path


class Operator:
    """The command line of a running pipeline."""

    def __init__(self, pipeline: Pipeline, config: Path) -> None:
        self.environment = clean_environment(REDIS_URL=pipeline.redis_url, SEGUE_CONFIG=str(config))

    def command(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "console.cli", "dead", *arguments],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def lines(self, *arguments: str) -> list[Any]:
        done = self.command(*arguments)
        assert done.returncode == 0, done.stderr
        return [orjson.loads(line) for line in done.stdout.splitlines()]


def test_failed_events_are_grouped_and_replayed_once_in_order_while_live_events_arrive(
    redis_server: RedisServer, config: Path
) -> None:
    """Ctrl-C at three random moments and kill -9 of all workers in the middle make no difference."""
    dice = random.Random(EVENTS)
    variables = {"SEGUE_CONFIG": str(config), "SEGUE_SETTLE_S": "0.1", "SEGUE_LEASE_S": "3"}
    with Pipeline(redis_server.url, workers=2, **variables) as pipeline:
        operator = Operator(pipeline, config)
        before = events()
        pipeline.send(before)
        pipeline.drain(deadline_s=120)
        (groups,) = operator.lines("list", "--group", "--json")
        listed = operator.lines("list", "--json")

        config.write_text(config.read_text() + CORRECTED)
        for _ in range(2):
            pipeline.kill_worker(0)
            pipeline.start_worker()
        (counts,) = operator.lines("replay", "--dry-run", "--json")

        with living(pipeline) as sent:
            interruptions = [interrupted(operator, FAILED // 60, dice.uniform(0, 1)) for _ in range(3)]
            wait_until(lambda: pipeline.stats().dead < FAILED, "dead letters are requeued")
            for _ in range(2):
                pipeline.kill_worker(0)
                pipeline.start_worker()
            operator.lines("replay", "--all", "--json")
        pipeline.drain()
        pipeline.assert_accounted()
        history = operator.lines("replays", "--json")
        people, journal, figures = found_people(pipeline), pipeline.journal(), pipeline.stats()

    assert {(group["class"], group["action"], group["count"]) for group in groups} == {
        ("invalid", "trackPageView", FAILED // 5),
        ("invalid", "trackScreenView", FAILED // 5),
        ("rejected", "trackEvent", FAILED // 5),
        ("rejected", "createUpdateDevice", FAILED // 5),
        ("rejected", "createUpdatePerson", FAILED // 5),
    }
    assert [dead_letter["event"]["messageId"] for dead_letter in listed] == [f"m{n}" for n in range(0, EVENTS, 10)]
    assert (counts["dead_letters"], counts["fail_again"], counts["changed"]) == (
        FAILED,
        0,
        FAILED // 5 * 3,
    )
    # An update leaves out what a later one of its person has, which was refused as well.
    latest = {event["userId"] for event in before if "edited" in event.get("traits", {})}
    assert counts["changes"] == dict.fromkeys(("attributes.bio", "device.platform", "name"), FAILED // 5) | {
        "attributes.edited": FAILED // 5 - len(latest)
    }
    kinds = ("add_device", "event", "identify", "page", "screen")
    assert counts["operations"] == {f"person {kind}": FAILED // 5 for kind in kinds}

    replay, dry_run = history
    assert interruptions == [130] * 3, "each time it was under way, and joined again"
    assert (replay["state"], replay["mode"], replay["filter"], replay["done"]) == ("done", "mapped", {}, FAILED)
    assert (replay["missing"], dry_run["mode"]) == (0, "dry_run")
    assert "@" in replay["who"]
    assert (figures.dead, figures.waiting) == (0, 0)

    failed = [dead_letter["event"] for dead_letter in listed]
    failed_ids = {event["messageId"] for event in failed}
    good = [event for event in before if event["messageId"] not in failed_ids]
    assert people.keys() == {f"user {n}" for n in range(PEOPLE)}
    for name, person in wanted_people([*good, *failed, *sent]).items():
        found = people[name]
        assert found["attributes"] == person["attributes"] | dict.fromkeys(
            {"before", "edited", "live"} - person["attributes"].keys()
        )
        assert Counter(found["deeds"]) == Counter(person["deeds"])
        assert sorted(found["devices"]) == sorted(person["devices"])
        for kind in "edl":
            of_kind = [deed for deed in found["deeds"] if deed.startswith(kind)]
            assert of_kind == [deed for deed in person["deeds"] if deed.startswith(kind)], (name, kind)
    assert in_order(journal)


def in_order(journal: list[dict[str, Any]]) -> bool:
    """Whether what each person did, before, then and live, came for the first time in the order it was accepted in."""
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in journal:
        operation = entry["operation"]
        kind, number = str(operation.get("name", ""))[:1], str(operation.get("name", ""))[1:]
        if kind in ("e", "d", "l"):
            numbers[operation["identifiers"]["id"], kind].append(int(number))
    firsts = [list(dict.fromkeys(repeated)) for repeated in numbers.values()]
    return len(firsts) >= PEOPLE and all(first == sorted(first) for first in firsts)


@contextmanager
def living(pipeline: Pipeline) -> Iterator[list[dict[str, Any]]]:
    """Let the same people go on meanwhile; yield what they did."""
    over, sent = threading.Event(), list[dict[str, Any]]()

    def live_on() -> None:
        while not over.wait(0.1):
            batch = live(len(sent) // 20)
            pipeline.send(batch)
            sent.extend(batch)

    thread = threading.Thread(target=live_on)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()


def interruptible() -> None:
    """Let SIGINT end this process: a shell has the jobs that it starts in the background ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(operator: Operator, rate: int, after_s: float) -> int:
    """Replay everything, press Ctrl-C some time after it is under way, and return the exit code."""
    command = [sys.executable, "-m", "console.cli", "dead", "replay", "--all", "--rate", str(rate)]
    with subprocess.Popen(
        command,
        env=operator.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=interruptible,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"replay ")
        with suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        process.send_signal(signal.SIGINT)
        return process.wait(30)


def test_a_replay_survives_kill_9_of_redis_and_of_its_worker(tmp_path: Path) -> None:
    count = 400
    with Stage(tmp_path) as stage:
        address = f"redis://127.0.0.1:{stage.redis_port}/0"
        stage.start(
            address, f"http://127.0.0.1:{stage.simulator_port}", order="acknowledged", settle_s=0.1, reorder_ms=0
        )
        batch = [of(n, {"type": "page", "properties": {}}) for n in range(count)]
        for first in range(0, count, 100):
            stage.ingest.post("/v1/batch", json={"batch": batch[first : first + 100]}).raise_for_status()
        wait_until(lambda: lanes.stats(queue_in(stage.store, "demo")).dead == count, "all are dead letters")
        for dead_letter in query.matching(queue_in(stage.store, "demo"), Filter()):
            url = {"url": f"d{dead_letter.event['messageId'][1:]}"}
            assert query.edit(queue_in(stage.store, "demo"), dead_letter, dead_letter.event | {"properties": url})

        begun = replays.begin(queue_in(stage.store, "demo"), Filter(), who="jo@here", per_s=100)
        wait_until(lambda: lanes.stats(queue_in(stage.store, "demo")).dead < count, "it has begun")
        for name in ("worker-1", "worker-2", "worker-3"):
            stage.kill(name)
        stage.kill("redis")
        wait_until(lambda: ended(stage, begun.id), "it has come to its end")
        stage.settle_down()
        replay, figures = (
            replays.read(queue_in(stage.store, "demo"), begun.id),
            lanes.stats(queue_in(stage.store, "demo")),
        )
        people = stage.simulator.get("/_sim/people").json()["people"]
        journal = stage.simulator.get("/_sim/journal").json()["journal"]

    assert replay is not None
    assert (replay.done, replay.missing, figures.dead) == (count, 0, 0)
    deeds = Counter(event["name"] for person in people for event in person["events"])
    assert deeds == {f"d{n}": 1 for n in range(count)}
    assert in_order(journal)


def ended(stage: Stage, replay_id: str) -> bool:
    try:
        replay = replays.read(queue_in(stage.store, "demo"), replay_id)
    except redis.RedisError:
        return False
    return replay is not None and replay.state == "done"


def test_events_behind_a_blocking_dead_letter_are_delivered_in_order_after_replay_or_skip(
    redis_server: RedisServer, config: Path
) -> None:
    config.write_text(configuration(delivery={"requests_per_s": 1000, "after_burial": "hold"}))
    with Pipeline(redis_server.url, workers=1, SEGUE_CONFIG=str(config), SEGUE_SETTLE_S="0.1") as pipeline:
        operator = Operator(pipeline, config)
        for user in ("edited", "skipped"):
            pipeline.send([{"type": "page", "properties": {}, "userId": user, "messageId": f"{user} bad"}])
            pipeline.send([{"type": "track", "event": f"after {n}", "userId": user} for n in range(3)])
        pipeline.send([{"type": "track", "event": "free", "userId": "other"}])
        wait_until(lambda: pipeline.stats().blocking == 2, "both dead letters block")
        wait_until(lambda: pipeline.stats().delivered_total == 1, "others are not delayed")
        assert pipeline.stats().blocked == 6
        by_user = {found["event"]["userId"]: found["sequence"] for found in operator.lines("list", "--json")}

        patch = '{"properties": {"url": "https://example.com/edited"}}'
        assert operator.command("edit", str(by_user["edited"]), "--patch", patch).returncode == 0
        assert operator.command("replay", str(by_user["edited"])).returncode == 0
        assert operator.command("skip", str(by_user["skipped"])).returncode == 0
        pipeline.drain()
        pipeline.assert_accounted()
        happened = defaultdict(list)
        for entry in pipeline.journal():
            happened[entry["operation"]["identifiers"]["id"]].append(entry["operation"]["name"])
        dead = pipeline.stats().dead

    after = [f"after {n}" for n in range(3)]
    assert dead == 0
    assert happened == {
        "other": ["free"],
        "edited": ["https://example.com/edited", *after],
        "skipped": after,
    }
