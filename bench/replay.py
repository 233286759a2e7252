"""What a replay of dead letters costs: its rate, its memory, and the latency of live events meanwhile.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`. `segue dead replay` replays DEAD_LETTERS (30,000)
small track events of 100,000 people with two worker processes over an embedded server, to a service that answers
everything with 200 at once. Live events of the same people come in over HTTP meanwhile, LIVE_PER_S of them; their
latency runs from before the request to ingest to their arrival at the service.

The baseline of a latency is the same traffic without a replay, before and after it. The baseline of a memory is its
size after a tenth of the dead letters. Caveat: everything shares the cores of one machine, so the replay takes
processor time from live events. RATE limits that (500 a second, the default of the command).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson
import redis

import bench
import lanes
from bench.support import asgi_sink
from bench.support.stage import ROOT, is_ok, rss_mb
from console.local import programs
from console.local.supervisor import Program, Supervisor
from mapping.envelope import pack
from tests.pipeline import configuration, environment
from tests.queues import default_queue

DEAD_LETTERS = int(os.environ.get("DEAD_LETTERS", "30000"))
RATE = int(os.environ.get("RATE", "500"))
LIVE_PER_S = int(os.environ.get("LIVE_PER_S", "50"))
BASELINE_S = float(os.environ.get("BASELINE_S", "15"))
PEOPLE = 100_000
QUEUE = "bench"
CONFIG = configuration(QUEUE, delivery={"requests_per_s": 1000, "dead_letters": 100_000_000})


def run_sink(port: int) -> None:
    """Answer every request with 200; a GET returns the latencies of live events since the last one, in seconds."""
    seen: list[float] = []

    def take(body: bytes) -> None:
        if b"sent_at" in body:
            batch, now = orjson.loads(body)["batch"], time.time()
            seen.extend(now - item["attributes"]["sent_at"] for item in batch if "attributes" in item)

    def figures() -> list[float]:
        found = seen.copy()
        seen.clear()
        return found

    asgi_sink.serve(port, take, figures)


def make_dead_letters(client: redis.Redis) -> None:
    """Make the dead letters, as a wrong mapping would have made them."""
    now_ms = int(time.time() * 1000)
    why = {
        "class": "invalid",
        "message": "The root value is missing the required field 'name'.",
        "faults": [{"subscription": "Track Event", "action": "trackEvent", "message": "missing"}],
        "unsent": [],
        "attempts": [{"at_ms": now_ms, "worker": "bench:1", "reason": "missing"}],
        "expired_claims": 0,
        "keys": [],
        "accepted_at_ms": now_ms,
        "buried_at_ms": now_ms,
        "worker": "bench:1",
        "configuration": "0",
    }
    failure, stamp = orjson.dumps(why), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for first in range(0, DEAD_LETTERS, 500):
        page = []
        for n in range(first, min(first + 500, DEAD_LETTERS)):
            user = f"user {n % PEOPLE}"
            event = {"type": "track", "event": "Old", "userId": user, "messageId": f"m{n}", "timestamp": stamp}
            page.append(lanes.ImportedDeadLetter(None, now_ms, (f"id:{user}",), pack("bench", event), failure))
        lanes.import_dead_letters(default_queue(client, QUEUE), page)


@contextmanager
def live_events(ingest_url: str) -> Iterator[None]:
    """Send LIVE_PER_S events a second until the `with` ends."""
    over = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=ingest_url, auth=("bench", ""), timeout=30) as http:
            due, n = time.monotonic(), 0
            while not over.wait(max(0.0, due - time.monotonic())):
                due, n = due + 1 / LIVE_PER_S, n + 1
                event = {"event": "Live", "userId": f"user {n * 7919 % PEOPLE}", "properties": {"sent_at": time.time()}}
                http.post("/v1/track", json=event).raise_for_status()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def largest_mb(pids: list[int]) -> float:
    """Return the resident memory of the largest process."""
    return max(map(rss_mb, pids))


def measure(client: redis.Redis, variables: dict[str, str], workers: list[int], ingest: str, sink: str) -> None:
    """Replay all dead letters beside live events; `ingest` and `sink` are URLs, `workers` process ids."""
    with live_events(ingest):
        time.sleep(3)  # the processes warm up
        httpx.get(sink)
        time.sleep(BASELINE_S)
        usual = httpx.get(sink).json()

        started_at = time.monotonic()
        command = [sys.executable, "-m", "console.cli", "dead", "replay", "--all", "--rate", str(RATE), "--json"]
        console = subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.PIPE, text=True)
        after_a_tenth: tuple[float, float] | None = None
        while console.poll() is None:
            left = lanes.stats(default_queue(client, QUEUE)).dead
            if left:
                memory = largest_mb(workers), rss_mb(console.pid)
            if after_a_tenth is None and left <= DEAD_LETTERS * 0.9:
                after_a_tenth = memory
            time.sleep(0.2)
        while lanes.stats(default_queue(client, QUEUE)).waiting > LIVE_PER_S:
            time.sleep(0.05)
        elapsed_s = time.monotonic() - started_at
        meanwhile = httpx.get(sink).json()
        time.sleep(BASELINE_S)
        usual += httpx.get(sink).json()
    assert console.stdout is not None
    replay = json.loads(console.stdout.read())
    assert (replay["state"], replay["done"]) == ("done", DEAD_LETTERS), replay
    assert after_a_tenth is not None
    bench.figure("replay.dead_letters", DEAD_LETTERS, "dead letters")
    bench.figure("replay.rate", DEAD_LETTERS / elapsed_s, "events/s")
    bench.figure("replay.worker_memory", memory[0], "MB", after_a_tenth[0])
    bench.figure("replay.console_memory", memory[1], "MB", after_a_tenth[1])
    for share in (0.5, 0.99):
        name = f"replay.live_p{share * 100:.0f}"
        bench.figure(name, percentile(meanwhile, share) * 1000, "ms", percentile(usual, share) * 1000)


def main() -> None:
    """Start the processes, make the dead letters and measure."""
    with tempfile.TemporaryDirectory() as name, Supervisor(lambda _: None, output=None) as supervisor:
        directory = Path(name)
        config = directory / "segue.toml"
        config.write_text(CONFIG)
        redis_port, sink_port, ingest_port = (programs.free_port() for _ in range(3))
        sink = programs.url(programs.LOOPBACK, sink_port)
        redis_url = f"redis://{programs.LOOPBACK}:{redis_port}/0"
        variables = environment(redis_url, sink, config, PYTHONPATH=str(ROOT))
        arguments = [sys.executable, "-m", "bench.replay", "sink", str(sink_port)]
        supervisor.start(
            programs.embedded_redis(redis_url, directory / "redis"),
            Program("sink", "sink", arguments, variables, is_ok(sink)),
        )
        with redis.Redis.from_url(redis_url, socket_timeout=60) as client:
            make_dead_letters(client)
            ingest = programs.ingest(programs.LOOPBACK, ingest_port, variables)
            supervisor.start(*programs.workers(2, variables), ingest)
            workers = [pid for name, pid in supervisor.pids.items() if name.startswith("worker")]
            measure(client, variables, workers, programs.url(programs.LOOPBACK, ingest_port), sink)


if __name__ == "__main__":
    if sys.argv[1:2] == ["sink"]:
        run_sink(int(sys.argv[2]))
    else:
        main()
