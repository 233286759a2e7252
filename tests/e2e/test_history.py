"""`segue send` against a whole pipeline: killed again and again, and beside live events."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.conftest import RedisServer
from tests.pipeline import Pipeline, configuration, wait_until

EVENTS = 20_000
REJECTED = 40
PEOPLE = 700
KILLS = 5
RUN_BYTES = 1_000_000
CONFIG = configuration(batch_items=100, delivery={"requests_per_s": 1000})
# A run in memory is small, so that the input is many times as large.
SEND = f"from console import cli; from console.send import sorting; sorting.RUN_BYTES = {RUN_BYTES}; cli.main()"


class Sender:
    """One run of `segue send` as a process, whose memory is measured."""

    def __init__(self, pipeline: Pipeline, *arguments: str) -> None:
        command = [sys.executable, "-c", SEND, "send", *arguments]
        self.process = subprocess.Popen(
            command, env=pipeline.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait(self) -> tuple[int, int]:
        """Wait for the end; return the exit code and the most resident memory in KiB."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.output, self.errors = self.process.stdout.read(), self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.process.returncode, used.ru_maxrss

    def kill(self) -> int:
        """Kill the process, and return the most memory that it had."""
        self.process.send_signal(signal.SIGKILL)
        return self.wait()[1]


def test_a_transfer_that_is_killed_five_times_loses_nothing_and_keeps_each_person_s_order(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    chance = random.Random(1)
    archive, work = tmp_path / "segment-logs", tmp_path / "segment-logs.segue"
    wanted = write_archive(archive, chance)
    command = [str(archive), "--rate", "10000"]

    with Pipeline(redis_server.url, workers=2, config=CONFIG) as pipeline:
        least_kib = Sender(pipeline, "--help").wait()[1]
        sender = Sender(pipeline, *command)
        wait_until(lambda: len(list((work / "sorted").glob("run-*"))) > 3, "some runs are written", 180)
        memory = [sender.kill()]
        assert pipeline.stats().accepted_total == 0, "the input is not sorted yet"
        for kill in range(1, KILLS):
            sender = Sender(pipeline, *command)
            target = EVENTS * kill // KILLS - chance.randrange(EVENTS // KILLS)
            wait_until(lambda target=target: pipeline.stats().accepted_total > target, "events are sent", 180)
            memory.append(sender.kill())
        sender = Sender(pipeline, *command)
        code, most_kib = sender.wait()
        pipeline.drain(deadline_s=180)
        pipeline.assert_accounted()
        figures, journal = pipeline.stats(), pipeline.journal()
        again = Sender(pipeline, *command).wait()[0]

    assert code == again == 1, sender.errors
    assert figures.accepted_total == figures.delivered_total == EVENTS
    assert figures.duplicates_total > 0, "a kill between a response and the checkpoint: the events are sent again"
    seen = defaultdict(list)
    for entry in journal:
        seen[entry["operation"]["identifiers"]["id"]].append(entry["operation"]["name"])
    assert {person: dict(Counter(names)) for person, names in seen.items()} == {
        person: dict.fromkeys(names, 1) for person, names in wanted.items()
    }
    assert seen == wanted, "in the order of the times"
    rejected = [json.loads(line) for line in (work / "rejected.jsonl").read_text().splitlines()]
    assert len(rejected) == REJECTED
    assert len({(row["file"], row["number"]) for row in rejected}) == REJECTED
    assert not list((work / "sorted").iterdir())
    size = sum(path.stat().st_size for path in archive.rglob("*.json"))
    assert max(*memory, most_kib) - least_kib < size / 1024 / 2, "the input was never in memory"


def write_archive(archive: Path, chance: random.Random) -> dict[str, list[str]]:
    """Write unsorted events to an archive; return the names of each person's events in the order of their times."""
    began = datetime(2024, 1, 1, tzinfo=UTC)
    filling = {"text": "x" * 1500}
    records: list[str] = []
    events: list[tuple[datetime, int, str, str]] = []
    for number in range(EVENTS):
        time, person = began + timedelta(seconds=chance.randrange(400_000)), f"user {chance.randrange(PEOPLE)}"
        event = {"type": "track", "event": f"e{number}", "userId": person, "timestamp": time.isoformat()}
        records.append(
            json.dumps(event | {"properties": filling} | ({"messageId": f"m{number}"} if number % 2 else {}))
        )
        events.append((time, number, person, f"e{number}"))
    faults = ['{"type":"track","event":NaN}', '{"type":"track","event":"x","userId":"u","timestamp":"never"}']
    for number in range(REJECTED):
        records.insert(chance.randrange(len(records)), faults[number % 2])
    third = len(records) // 3
    day = archive / "source" / "1704067200000"
    day.mkdir(parents=True)
    (day / "1.gz").write_bytes(gzip.compress("\n".join(records[:third]).encode()))
    (day / "2.json").write_text("\n".join(records[third : 2 * third]))
    (archive / "z.json").write_text("[\n" + ",\n".join(records[2 * third :]) + "\n]")
    wanted = defaultdict(list)
    for _, _, person, name in sorted(events):
        wanted[person].append(name)
    return wanted


def test_history_changes_no_newer_value_and_triggers_no_campaign(redis_server: RedisServer, tmp_path: Path) -> None:
    now = datetime.now(UTC)

    def event(days: float, **members: Any) -> str:
        return json.dumps({"userId": "ada", "timestamp": (now - timedelta(days=days)).isoformat(), **members})

    (tmp_path / "old.jsonl").write_text(
        "\n".join(
            [
                event(2.9, type="track", event="young"),
                event(400, type="identify", traits={"plan": "old", "city": "Turin"}),
                event(3.1, type="track", event="old"),
            ]
        )
    )
    with Pipeline(redis_server.url, workers=1, config=CONFIG) as pipeline:
        live = {"type": "identify", "userId": "ada", "traits": {"plan": "new"}, "timestamp": now.isoformat()}
        pipeline.send([live | {"messageId": "live"}])
        pipeline.drain()
        sender = Sender(pipeline, str(tmp_path / "old.jsonl"))
        assert sender.wait()[0] == 0, sender.errors
        pipeline.drain()
        (person,) = pipeline.people()

    assert "1 event is younger than 72 hours and may trigger campaigns" in sender.output
    assert (person["attributes"]["plan"], person["attributes"]["city"]) == ("new", "Turin")
    assert {each["name"]: each["may_trigger"] for each in person["events"]} == {"young": True, "old": False}
