"""What a redrive of dead letters costs: how fast it goes, in how much memory, and what live events feel of it.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. LETTERS is how many, 30,000 unless told: small
track events of 100,000 people, replayed by `segue dead replay` with two worker processes over an embedded server, to a
service that answers everything with 200 at once. Live events of the same people come in over HTTP all the while,
LIVE_PER_S of them; their latency runs from before the call of ingest to their arrival at the service. The baseline of a
latency is the same traffic without a replay, before and after, that of a memory its size after a tenth of the letters.
Caveats: all of it shares the cores of one machine, so on a small one the replay takes processor time from what is live,
which RATE bounds (500 a second, that of the command); other work there makes the figures worse.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its files are named after the packages they measure

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
import redis

import lanes
from bench.support.stage import is_ok, report, rss_mb
from console.local import programs
from console.local.supervisor import Program, Supervisor
from mapping.envelope import pack
from settings import Settings

LETTERS = int(os.environ.get("LETTERS", "30000"))
RATE = int(os.environ.get("RATE", "500"))
LIVE_PER_S = int(os.environ.get("LIVE_PER_S", "50"))
BASELINE_S = float(os.environ.get("BASELINE_S", "15"))
PEOPLE = 100_000
QUEUE = "bench"
REMEMBER_DAYS = 30  # the default of a destination
CONFIG = """
[sources.bench]
write_key = "bench"
destinations = ["bench"]
[destinations.bench]
site_id = "bench"
api_key = "bench"
[destinations.bench.delivery]
requests_per_s = 1000
dead_letters = 100000000
"""


def run_sink(port: int) -> None:
    """Answer every request with 200; keep the latencies of live events until somebody asks for them."""
    import uvicorn

    seen: list[float] = []

    async def sink(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        answer = b"{}"
        if scope["method"] == "GET":
            answer = orjson.dumps(seen)
            seen.clear()
        elif b"sent_at" in body:
            told, now = orjson.loads(body), time.time()
            seen.extend(now - item["attributes"]["sent_at"] for item in told["batch"] if "attributes" in item)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    uvicorn.run(sink, host=programs.LOOPBACK, port=port, access_log=False, log_level="warning", lifespan="off")


def queue_of(client: redis.Redis) -> lanes.Queue:
    """Return the queue, with the values of the workers that will open it."""
    return lanes.open_queue(lanes.Queue(client=client, name=QUEUE, **Settings().queue_config(REMEMBER_DAYS)))


def bury(client: redis.Redis) -> None:
    """Make the letters, as a mapping that was wrong would have."""
    now_ms = int(time.time() * 1000)
    why = {
        "class": "invalid",
        "message": "The root value is missing the required field 'name'.",
        "faults": [{"subscription": "Track Event", "action": "trackEvent", "message": "missing"}],
        "unsent": [],
        "attempts": [{"at_ms": now_ms, "worker": "bench:1", "reason": "missing"}],
        "deaths": 0,
        "keys": [],
        "accepted_at_ms": now_ms,
        "buried_at_ms": now_ms,
        "worker": "bench:1",
        "configuration": "0",
    }
    letter, stamp = orjson.dumps(why), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for first in range(0, LETTERS, 500):
        page = []
        for n in range(first, min(first + 500, LETTERS)):
            user = f"user {n % PEOPLE}"
            event = {"type": "track", "event": "Old", "userId": user, "messageId": f"m{n}", "timestamp": stamp}
            page.append(lanes.ImportedDeadLetter(None, now_ms, (f"id:{user}",), pack("bench", event), letter))
        lanes.import_dead_letters(queue_of(client), page)


@contextmanager
def living(ingest_url: str) -> Iterator[None]:
    """Let people go on while the body runs."""
    over = threading.Event()

    def live_on() -> None:
        with httpx.Client(base_url=ingest_url, auth=("bench", ""), timeout=30) as http:
            due, n = time.monotonic(), 0
            while not over.wait(max(0.0, due - time.monotonic())):
                due, n = due + 1 / LIVE_PER_S, n + 1
                event = {"event": "Live", "userId": f"user {n * 7919 % PEOPLE}", "properties": {"sent_at": time.time()}}
                http.post("/v1/track", json=event).raise_for_status()

    thread = threading.Thread(target=live_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def largest_mb(pids: list[int]) -> float:
    return max(map(rss_mb, pids))


def measure(client: redis.Redis, environment: dict[str, str], workers: list[int], ingest: str, sink: str) -> None:
    with living(ingest):
        time.sleep(3)  # everybody is warm
        httpx.get(sink)
        time.sleep(BASELINE_S)
        usual = httpx.get(sink).json()

        started_at = time.monotonic()
        command = [sys.executable, "-m", "console.cli", "dead", "replay", "--rate", str(RATE), "--json"]
        console = subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        after_a_tenth: tuple[float, float] | None = None
        while console.poll() is None:
            left = lanes.stats(queue_of(client)).dead
            if left:
                memory = largest_mb(workers), rss_mb(console.pid)
            if after_a_tenth is None and left <= LETTERS * 0.9:
                after_a_tenth = memory
            time.sleep(0.2)
        while lanes.stats(queue_of(client)).waiting > LIVE_PER_S:
            time.sleep(0.05)
        elapsed_s = time.monotonic() - started_at
        meanwhile = httpx.get(sink).json()
        time.sleep(BASELINE_S)
        usual += httpx.get(sink).json()
    assert console.stdout is not None
    replay = json.loads(console.stdout.read())
    assert (replay["state"], replay["done"]) == ("done", LETTERS), replay
    assert after_a_tenth is not None
    report("replay.letters", LETTERS, "letters")
    report("replay.rate", LETTERS / elapsed_s, "events/s")
    report("replay.worker_memory", memory[0], "MB", after_a_tenth[0])
    report("replay.console_memory", memory[1], "MB", after_a_tenth[1])
    for share in (0.5, 0.99):
        name = f"replay.live_p{share * 100:.0f}"
        report(name, percentile(meanwhile, share) * 1000, "ms", percentile(usual, share) * 1000)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, Supervisor(lambda _: None, output=None) as supervisor:
        directory = Path(name)
        config = directory / "segue.toml"
        config.write_text(CONFIG)
        redis_port, sink_port, ingest_port = (programs.free_port() for _ in range(3))
        sink = programs.url(programs.LOOPBACK, sink_port)
        environment = {
            "REDIS_URL": f"redis://{programs.LOOPBACK}:{redis_port}/0",
            "SEGUE_CONFIG": str(config),
            "SEGUE_TRACK_URL": sink,
        }
        arguments = [sys.executable, __file__, "sink", str(sink_port)]
        supervisor.start(
            programs.embedded_redis(redis_port, directory / "redis"),
            Program("sink", "sink", arguments, {}, is_ok(sink)),
        )
        with redis.Redis.from_url(environment["REDIS_URL"], socket_timeout=60) as client:
            bury(client)
            ingest = programs.ingest(programs.LOOPBACK, ingest_port, environment)
            supervisor.start(*programs.workers(2, environment), ingest)
            workers = [pid for name, pid in supervisor.pids.items() if name.startswith("worker")]
            measure(client, environment, workers, programs.url(programs.LOOPBACK, ingest_port), sink)


if __name__ == "__main__":
    if sys.argv[1:2] == ["sink"]:
        run_sink(int(sys.argv[2]))
    else:
        main()
