"""The writer of the ledger is killed ten times while workers record: every request is in the files, and once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import redis

import lanes
from ledger.storage import OBJECT_STORE
from tests.conftest import RedisServer
from tests.ledgers import QUEUE, all_rows, record, wait_until_written

KILLS = 10
WRITER = """
import sys, time
import redis
import lanes
from ledger import compaction, writing
from ledger.files import Files
from ledger.owner import Owner
from ledger.storage import storage_of

url, location = sys.argv[1:]
writing.BATCH_BYTES = 20_000
client, files = redis.Redis.from_url(url), Files(storage_of(location), "q")
queue = lanes.Queue(client=client, name="q", cooldown_ms=0, dedupe_s=60, join_s=60)
with Owner(client, files.storage) as owner:
    owner.ensure()
    files.recover()
    print("ready", flush=True)
    while True:
        for _ in range(5):
            if not writing.write_batch(files, queue, owner.ensure, contents=True):
                time.sleep(0.002)
        for hour in files.hours():
            compaction.compact(files, hour)
"""


def start(url: str, location: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, url, location]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", "a directory is free at once"
    return process


def test_a_writer_that_is_killed_ten_times_leaves_nothing_out_and_nothing_twice(
    redis_server: RedisServer, redis_client: redis.Redis, location: str
) -> None:
    chance, stopping, recorded = random.Random(1), threading.Event(), Counter[str]()

    def work() -> None:
        with redis.Redis.from_url(redis_server.url) as client:
            for number in range(100_000):
                if stopping.is_set():
                    return
                record(client, f"c{number}", [f"p{n}" for n in range(10)], start=10 * number)
                recorded[f"c{number}"] += 10
                if client.llen(lanes.keys.LOG.of(QUEUE)) > 200:
                    time.sleep(0.01)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(KILLS):
            writer = start(redis_server.url, location)
            time.sleep(chance.uniform(0, 0.15))  # at any moment of its work
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            if location.startswith(OBJECT_STORE):
                redis_client.delete(lanes.keys.LEDGER_OWNER.name)  # it expires 15 s after
    finally:
        stopping.set()
        worker.join()
    writer = start(redis_server.url, location)
    try:
        wait_until_written(redis_client)
    finally:
        writer.kill()
        writer.wait()

    rows = all_rows(location)
    assert sum(recorded.values()) > 100
    assert Counter(row.message_id.rpartition("-")[0] for row in rows) == recorded
    assert len({(row.id, row.sequence) for row in rows}) == len(rows)
