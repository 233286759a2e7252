"""What the web console costs: the time, bytes and Redis commands of each page, and the throughput beside open consoles.

    python -m bench.console              # both parts
    python -m bench.console pages        # one of them: pages, watched

`pages` fills a queue with WAITING events (1,000,000) and DEAD dead letters (100,000), a delivery log, an hour of
figures and a person with a long lane. No worker runs. Every page of `console.web.routes`, some with filters, and every
search is asked for 20 times on one connection. The console forgets its figures before each time, as it keeps those of
the last second. `first` is the first request, before anything is kept. Times are those of a client on loopback. It
prints a Markdown table.

`watched`: CONSOLES (5) clients fetch a page each every 5 s, as the script of a page does. Meanwhile ingest and two
workers deliver EVENTS (200,000) a turn as fast as they can. Turns without and with the clients alternate for MINUTES
(2). Prints JSON lines `{"bench", "value", "unit", "baseline", "ratio"}`; the baseline is that without clients.
"""

from __future__ import annotations

import http.client
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Final, NamedTuple
from urllib.parse import urlencode

import bench
import lanes
from bench.support import filled
from bench.support.stage import Stage, unlimited
from console.local import programs
from console.web.routes import ROUTES
from dead_letters import replay as replays
from dead_letters.query import Filter
from settings import Settings
from tests.pipeline import QUEUE
from tests.queues import REMEMBER_DAYS

WAITING = int(os.environ.get("WAITING", "1000000"))
DEAD = int(os.environ.get("DEAD", "100000"))
CONSOLES = int(os.environ.get("CONSOLES", "5"))
MINUTES = float(os.environ.get("MINUTES", "2"))
EVENTS = int(os.environ.get("EVENTS", "200000"))
REQUESTS = 20
EVERY_S = 5.0
SLOW = 8  # a server that takes a while is asked as many times less often
_FORM: Final = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}


class Visit(NamedTuple):
    """A page: its address, and the form where it is asked for by POST."""

    path: str
    form: dict[str, str] | None = None

    def __str__(self) -> str:
        if self.form is None:
            return self.path
        fields = " ".join(f"{name}={value}" for name, value in self.form.items() if len(value) < 50)
        return f"POST {self.path} {fields}".strip().replace("\n", " ")


class Cost(NamedTuple):
    """What a page costs: ms of the first request, of the median and of the 95th percentile, bytes, Redis commands and
    the ms that Redis spends on these; and its status."""

    status: int
    first_ms: float
    median_ms: float
    p95_ms: float
    size: int
    commands: float
    redis_ms: float


class Client:
    """A browser with one connection to the console."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, visit: Visit) -> tuple[float, int, int]:
        """Return the ms until the whole response was there, its status and its bytes."""
        began = time.perf_counter()
        body = None if visit.form is None else urlencode(visit.form)
        headers = {"Accept": "text/html"} if visit.form is None else _FORM
        self._http.request("GET" if visit.form is None else "POST", visit.path, body, headers)
        response = self._http.getresponse()
        size = len(response.read())
        return (time.perf_counter() - began) * 1000, response.status, size

    def forget(self) -> None:
        """Have the console forget its figures, as every POST does."""
        self.ask(Visit("/hide", {"to": "/"}))


def pages(parts: dict[str, str]) -> list[Visit]:
    """Return every page, pages with filters, and the searches. `parts` has what stands for the parts of addresses."""
    routes = [rule.path for rule in ROUTES if rule.method == "GET" and rule.page is not None]
    found = [re.sub(r"{(\w+)(?::int)?}", lambda match: parts[match[1]], path) for path in routes]
    found = [f"{path}?reason=rejected" if path.startswith(("/skip", "/purge")) else path for path in found]
    found += [f"/people/{lanes.digest(filled.key_of(7)).hex()}"]
    found += [f"/dead?{query}" for query in ("reason=rejected", "view=list", "view=list&event=Event+7")]
    found += [f"/dead?view=list&after={parts['sequence']}", "/dead?view=list&text=no+such+text"]
    found += [f"/destinations/{QUEUE}?range={span}" for span in ("24h", "14d")]
    searches = [
        ("any", "user-000000"),
        ("any", "user-000007"),
        ("any", "never@example.com"),
        ("message", "ajs-no-such-message"),
        ("sequence", "#700"),
    ]
    forms = [Visit("/people", {"person": text, "kind": kind}) for kind, text in searches]
    forms += [Visit("/dead/find", {"person": "user-1000007", "view": "list", "destination": QUEUE})]
    forms += [Visit("/tester", {"event": '{"type": "track", "event": "x", "userId": "42"}'})]
    forms += [Visit(f"/destinations/{QUEUE}/workbench", {"toml": '[presets]\n"Track Event" = false\n'})]
    return [Visit(path) for path in found] + forms


def cost(stage: Stage, client: Client, visit: Visit) -> Cost:
    """Ask for the page, and return what it costs."""
    client.forget()
    first_ms, status, size = client.ask(visit)
    if status >= 500:
        raise SystemExit(f"{visit} answers {status}")
    took_ms, commands, redis_us = [], 0, 0.0
    for _ in range(REQUESTS):
        client.forget()
        before = used(stage)
        took_ms.append(client.ask(visit)[0])
        after = used(stage)
        commands, redis_us = commands + after[0] - before[0], redis_us + after[1] - before[1]
    p95_ms = quantiles(took_ms, n=20)[-1]
    redis_ms = redis_us / REQUESTS / 1000
    return Cost(status, first_ms, median(took_ms), p95_ms, size, commands / REQUESTS, redis_ms)


def used(stage: Stage) -> tuple[int, float]:
    """Return how many commands Redis has run, and the us that these took, without those that ask for it."""
    found = stage.store.info("commandstats")
    rows = [row for name, row in found.items() if name not in ("cmdstat_info", "cmdstat_client|setinfo")]
    return sum(row["calls"] for row in rows), sum(row["usec"] for row in rows)


def measure_pages() -> None:
    """Fill a queue, and print the cost of each page as a table."""
    variables = {"SEGUE_QUEUE_LIMIT": str(2 * WAITING), "SEGUE_CONSOLE_AUTH": "none"}
    with Stage(unlimited(), **variables) as stage:
        values = Settings(queue_limit=2 * WAITING).queue_config(REMEMBER_DAYS)
        queue = lanes.open_queue(lanes.Queue(client=stage.store, name=QUEUE, **values))
        filled.fill(queue, WAITING, DEAD)
        plan = replays.begin(queue, Filter(reason="rejected"), who="bench", per_s=1, mode="dry_run")
        sequence = str(lanes.count_dead_letters(queue)[1])
        digest = lanes.digest(filled.key_of(0)).hex()
        client = Client(start_console(stage))
        print(f"{WAITING:,} waiting, {DEAD:,} dead letters, {REQUESTS} requests a page\n")
        print("| page | first, ms | median, ms | p95, ms | bytes | Redis commands | in Redis, ms |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        parts = {"destination": QUEUE, "id": plan.id, "sequence": sequence, "digest": digest}
        for visit in pages(parts):
            found = cost(stage, client, visit)
            times = " | ".join(f"{ms:,.1f}" for ms in (found.first_ms, found.median_ms, found.p95_ms))
            print(
                f"| `{visit}` | {times} | {found.size:,} | {found.commands:,.1f} | {found.redis_ms:,.1f} |", flush=True
            )


def start_console(stage: Stage) -> int:
    """Start the console, and return its port."""
    port = programs.free_port()
    stage.supervisor.start(programs.console("127.0.0.1", port, stage.environment))
    return port


@contextmanager
def watching(port: int, paths: list[str]) -> Iterator[None]:
    """Fetch each path as a page does that is open, until the end of the block. Raises what a fetch raised."""
    ended = threading.Event()

    def watch(path: str) -> None:
        wait_s = 0.0
        while not ended.wait(wait_s):
            took_ms, _, _ = Client(port).ask(Visit(path))  # the console ends a connection that is idle for so long
            wait_s = max(EVERY_S, took_ms / 1000 * SLOW)

    with ThreadPoolExecutor(len(paths)) as threads:
        open_pages = [threads.submit(watch, path) for path in paths]
        try:
            yield
        finally:
            ended.set()
        for page in open_pages:
            page.result()


def measure_watched() -> None:
    """Measure the throughput and the latency beside open consoles and without, in turns."""
    with Stage(unlimited(), SEGUE_CONSOLE_AUTH="none") as stage:
        stage.start_segue()
        port = start_console(stage)
        shown = ["/", f"/destinations/{QUEUE}", "/dead", "/people", "/sources"]
        paths = [shown[number % len(shown)] for number in range(CONSOLES)]
        stage.rate(stage.port, 2_000)
        alone, watched = [], []
        until = time.monotonic() + 60 * MINUTES
        while time.monotonic() < until or not alone:
            alone.append(turn(stage))
            with watching(port, paths):
                watched.append(turn(stage))
        stage.check_order()
    for at, (name, unit) in enumerate((("throughput", "events/s"), ("p50", "s"), ("p99", "s"))):
        with_consoles, without = (median(each[at] for each in turns) for turns in (watched, alone))
        bench.figure(f"console.watched.{name}", with_consoles, unit, without)
    ratios = [beside[0] / before[0] for beside, before in zip(watched, alone, strict=True)]
    bench.figure("console.watched.throughput.ratio", median(ratios), "of 1")


def turn(stage: Stage) -> tuple[float, float, float]:
    """Return the events/s, and the seconds that an event took: the median and the 99th percentile."""
    rate = stage.rate(stage.port, EVENTS)
    wait_s = stage.sink()["wait_s"]
    return rate, wait_s["50"], wait_s["99"]


PARTS: Final[dict[str, Callable[[], None]]] = {"pages": measure_pages, "watched": measure_watched}


if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        if name not in PARTS:
            raise SystemExit(f"there is no part {name}; there are {', '.join(PARTS)}")
        PARTS[name]()
