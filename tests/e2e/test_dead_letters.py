"""Dead letters from end to end: they fail in five ways, are read, mended and replayed while people go on living."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import RedisServer
from tests.e2e.conftest import clean_environment
from tests.pipeline import Pipeline, wait_until

EVENTS = int(os.environ.get("DEAD_EVENTS", "3000"))
PEOPLE = 150

CONFIG = """
[sources.demo]
write_key = "demo"
destinations = ["demo"]
[destinations.demo]
site_id = "demo"
api_key = "demo"
[destinations.demo.delivery]
requests_per_s = 1000
after_burial = "{after_burial}"
"""
# Every tenth event fails for good, in one of five ways.
WAYS = [
    {"type": "page", "properties": {}},  # no URL
    {"type": "track", "event": "x" * 120},  # too long a name
    {"type": "track", "event": "Application Installed", "context": {"device": {"token": "t", "type": "toaster"}}},
    {"type": "identify", "traits": {"bio": "b" * 1200}},  # too long a value
    {"type": "identify", "traits": {f"trait {n}": n for n in range(301)}},  # too many attributes
]
MENDED = [
    {"type": "page", "properties": {"url": "https://example.com/mended"}},
    {"type": "track", "event": "Shortened"},
    {"type": "track", "event": "Application Installed", "context": {"device": {"token": "t", "type": "ios"}}},
    {"type": "identify", "traits": {"bio": "short"}},
    {"type": "identify", "traits": {"few": 1}},
]


def events() -> list[dict[str, Any]]:
    told = []
    for n in range(EVENTS):
        event = {"type": "track", "event": f"e{n}"} if n % 10 else dict(WAYS[n // 10 % len(WAYS)])
        told.append(event | {"userId": f"user {n % PEOPLE}", "messageId": f"m{n}"})
    return told


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "segue.toml"
    path.write_text(CONFIG.format(after_burial="go_on"))
    return path


class Operator:
    """Somebody with the command line of a running pipeline."""

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


def test_what_failed_is_grouped_mended_and_replayed_once_in_order_while_people_go_on(
    redis_server: RedisServer, config: Path
) -> None:
    with Pipeline(redis_server.url, workers=2, SEGUE_CONFIG=str(config), SEGUE_SETTLE_S="0.1") as pipeline:
        operator = Operator(pipeline, config)
        pipeline.send(events())
        pipeline.drain()
        failed = EVENTS // 10
        assert pipeline.stats().dead == failed

        (groups,) = operator.lines("list", "--group", "--json")
        assert [group["count"] for group in groups] == [failed // 5] * 5
        listed = operator.lines("list", "--json")
        assert [one["event"]["messageId"] for one in listed] == [f"m{n}" for n in range(0, EVENTS, 10)]

        for one in listed:
            mended = MENDED[int(one["event"]["messageId"][1:]) // 10 % len(MENDED)]
            edit(pipeline, one["sequence"], one["event"] | mended)
        (plan,) = operator.lines("replay", "--dry-run", "--json")
        assert (plan["letters"], plan["fail_again"]) == (failed, 0)

        replayed = [interrupted(operator, after_s) for after_s in (0.7, 1.1, 1.5)]
        pipeline.send({"type": "track", "event": f"live{n}", "userId": f"user {n % PEOPLE}"} for n in range(300))
        (last,) = operator.lines("replay", "--json")
        wait_until(lambda: pipeline.stats().dead == 0, "all letters are replayed")
        pipeline.drain()
        history = operator.lines("replays")
        journal, stats = pipeline.journal(), pipeline.stats()

    assert last["state"] == "done"
    assert {one["id"] for one in history} >= {last["id"]}
    assert all(one["who"] for one in history)
    assert len(history) >= sum(replayed)
    assert (stats.dead, stats.waiting) == (0, 0)
    happened = defaultdict(list)
    for entry in journal:
        operation = entry["operation"]
        happened[operation["identifiers"]["id"]].append(operation)
    names = Counter(operation.get("name") for operations in happened.values() for operation in operations)
    assert names["Shortened"] == names["https://example.com/mended"] == failed // 5
    for n in range(PEOPLE):
        mine = [int(o["name"][1:]) for o in happened[f"user {n}"] if str(o.get("name", "")).startswith("e")]
        assert mine == sorted(mine)


def edit(pipeline: Pipeline, sequence: int, event: dict[str, Any]) -> None:
    """Mend one letter as `segue dead edit` does, without starting a process each time."""
    import lanes
    from workers import graveyard

    letter = lanes.letter(pipeline.redis, "demo", sequence)
    assert letter is not None
    assert graveyard.edit(pipeline.redis, "demo", graveyard.read(letter), event)


def interrupted(operator: Operator, after_s: float) -> int:
    """Start a replay of everything and press Ctrl-C after a while; 1 when it was still being watched."""
    process = subprocess.Popen(
        [sys.executable, "-m", "console.cli", "dead", "replay", "--rate", "50"],
        env=operator.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    return int(process.wait(30) == 130)


def test_a_letter_that_holds_lets_the_person_go_on_in_order_after_replay_or_skip(
    redis_server: RedisServer, config: Path
) -> None:
    config.write_text(CONFIG.format(after_burial="hold"))
    with Pipeline(redis_server.url, workers=1, SEGUE_CONFIG=str(config), SEGUE_SETTLE_S="0.1") as pipeline:
        operator = Operator(pipeline, config)
        for user in ("mended", "skipped"):
            pipeline.send([{"type": "page", "properties": {}, "userId": user, "messageId": f"{user} bad"}])
            pipeline.send([{"type": "track", "event": f"after {n}", "userId": user} for n in range(3)])
        pipeline.send([{"type": "track", "event": "free", "userId": "other"}])
        wait_until(lambda: pipeline.stats().held == 2, "both letters hold")
        wait_until(lambda: pipeline.stats().delivered_total == 1, "others are not delayed")
        assert pipeline.stats().blocked == 6
        by_user = {one["event"]["userId"]: one["sequence"] for one in operator.lines("list", "--json")}

        patch = '{"properties": {"url": "https://example.com/mended"}}'
        assert operator.command("edit", str(by_user["mended"]), "--patch", patch).returncode == 0
        assert operator.command("replay", str(by_user["mended"])).returncode == 0
        assert operator.command("skip", str(by_user["skipped"])).returncode == 0
        pipeline.drain()
        happened = defaultdict(list)
        for entry in pipeline.journal():
            happened[entry["operation"]["identifiers"]["id"]].append(entry["operation"]["name"])
        dead = pipeline.stats().dead

    after = [f"after {n}" for n in range(3)]
    assert dead == 0
    assert happened == {
        "other": ["free"],
        "mended": ["https://example.com/mended", *after],
        "skipped": after,
    }


def test_bad_input_changes_nothing(redis_server: RedisServer, config: Path, tmp_path: Path) -> None:
    with Pipeline(redis_server.url, workers=1, SEGUE_CONFIG=str(config)) as pipeline:
        operator = Operator(pipeline, config)
        pipeline.send([{"type": "page", "properties": {}, "userId": "jo"}])
        wait_until(lambda: pipeline.stats().dead == 1, "there is a letter")
        (letter,) = operator.lines("list", "--json")
        exported = operator.command("export").stdout
        torn = tmp_path / "torn.jsonl"
        torn.write_text(exported + exported[: len(exported) // 2])

        for arguments, text in [
            (["show", "99"], "demo has no dead letter 99"),
            (["replay", "99"], "demo has no dead letter 99"),
            (["skip", "99"], "demo has no dead letter 99"),
            (["list", "--reason", "boredom"], "reason: Input should be 'invalid'"),
            (["list", "--destination", "moon"], 'there is no destination "moon"'),
            (["edit", str(letter["sequence"]), "--patch", "{"], "the patch is not JSON"),
            (["edit", str(letter["sequence"]), "--patch", "[]"], "the patch must be an object"),
            (["import", str(torn)], "line 2 is not JSON"),
            (["import", str(tmp_path / "absent")], "No such file"),
            (["purge"], "say --yes"),
            (["cancel", "nothing"], "demo has no replay nothing"),
        ]:
            done = operator.command(*arguments)
            assert (done.returncode, "Traceback" in done.stderr) == (2, False), arguments
            assert text in done.stderr
        assert operator.command("export").stdout == exported
        assert pipeline.stats().dead == 1

        assert operator.command("import", given=exported).returncode == 0
        assert pipeline.stats().dead == 2
        assert operator.command("purge", "--yes").returncode == 0
        assert pipeline.stats().dead == 0
