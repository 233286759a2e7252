"""`python -m tests.clients.browser [--runs 5] [--reorder-ms 1000] [--browser-batch-ms 300] [--outage-s 0]`: visitors
with analytics.js in headless Chromium.

40 visitors act at the same time, each in a browser context of its own. Requests take 5 to 80 ms; 1 % are reset and 1 %
are refused. Prints a JSON line for each run, and one with the sums. Exits with 1 when a call is lost, or a person is
out of order or wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.clients.needed import CHROMIUM, FOLDER, SCRIPT, why_not
from tests.clients.network import Faults, Network
from tests.clients.runs import Run, configuration, finished, redis_url, report
from tests.clients.story import CALLS, stories
from tests.pipeline import QUEUE, Pipeline, wait_until

PEOPLE = 40
LOSSY = Faults(resets=0.01, refusals=0.01)
_MOST_PAUSE_MS = 60
# analytics.js gives a visitor a new anonymous id when the user id changes. To ingest that is another client, and times
# of two clients that are closer than 250 ms say nothing.
_LOGIN_MS = 300
_DEADLINE_S = 180.0  # of the browser
SNIPPET, UMD = "page.html", "umd.html"


def pipeline(url: str, reorder_ms: int, browser_batch_ms: int | None = None) -> Pipeline:
    """Return a pipeline that also serves the script of analytics.js."""
    return Pipeline(
        url,
        workers=2,
        config=configuration(browser_batch_ms),
        SEGUE_REORDER_MS=str(reorder_ms),
        SEGUE_SETTLE_S="0.2",
        SEGUE_ANALYTICS_JS=str(SCRIPT),
    )


def run(running: Pipeline, seed: int, faults: Faults, count: int = PEOPLE, page: str = SNIPPET) -> Run:
    """Let people act on a page that have not acted in a run with another seed, and compare what took effect."""
    people = range(seed * count, (seed + 1) * count)
    before = running.stats()
    with Network(running.ingest_url, seed, faults) as network, _pages() as pages, _browser() as browser:
        given = {
            "chromium": CHROMIUM,
            "page": f"{pages}/{page}",
            "host": network.url,
            "writeKey": QUEUE,
            "stories": stories(people, seed, _MOST_PAUSE_MS, _LOGIN_MS),
        }
        assert browser.stdin is not None
        assert browser.stdout is not None
        browser.stdin.write(json.dumps(given) + "\n")
        browser.stdin.flush()
        acted = browser.stdout.readline()
        assert acted, "the browser ended early"
        wanted = before.accepted_total + count * CALLS
        with suppress(AssertionError):  # the report says how many are lost
            wait_until(lambda: running.stats().accepted_total >= wanted, "all calls arrive")
    made = finished(running, people, network, before.reordered_total)
    return replace(made, elsewhere=frozenset(json.loads(acted)["elsewhere"]))


@contextmanager
def _browser() -> Iterator[subprocess.Popen[str]]:
    """Start the browser, which is killed after _DEADLINE_S."""
    command = ["node", "browser_client.mjs"]
    with subprocess.Popen(command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        deadline = threading.Timer(_DEADLINE_S, process.kill)
        deadline.start()
        try:
            yield process
        finally:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
            deadline.cancel()


@contextmanager
def _pages() -> Iterator[str]:
    """Serve the page from another origin than ingest, so that the browser asks before it sends; yield the origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Pages, directory=str(FOLDER))) as server:
        thread = threading.Thread(target=server.serve_forever, name="pages", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Pages(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.browser", description="Run analytics.js.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--reorder-ms", type=int, default=1000)
    parser.add_argument("--browser-batch-ms", type=int, default=300, help="0: analytics.js sends single events")
    parser.add_argument("--outage-s", type=float, default=0.0, help="refuse all events for so long, in place of faults")
    options = parser.parse_args(arguments)
    if reason := why_not(browser=True):
        parser.error(reason)
    given = {name: value for name, value in vars(options).items() if name not in ("runs", "people")}
    faults = Faults(outage_s=options.outage_s) if options.outage_s else LOSSY
    with redis_url() as url, pipeline(url, options.reorder_ms, options.browser_batch_ms) as running:
        is_right = report(
            options.runs, lambda seed: run(running, seed, faults, options.people), client="analytics.js", **given
        )
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
