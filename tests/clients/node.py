"""`python -m tests.clients.node [--runs 20] [--reorder-ms 1000] [--pause-ms 40]`: bursts of people through
@segment/analytics-node.

30 people act at the same time, and the client sends batches of ten events side by side. Prints a JSON line for each
run, and one with the sums. Exits with 1 when a call is lost, or a person is out of order or wrong although the times in
the requests show the order of their calls.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from tests.clients.needed import FOLDER, why_not
from tests.clients.network import Faults, Network
from tests.clients.runs import Run, finished, redis_url, report
from tests.clients.story import CALLS, identifiers, person_of, stories
from tests.pipeline import QUEUE, Pipeline

PEOPLE = 30
_DEADLINE_S = 60.0


def pipeline(url: str, reorder_ms: int) -> Pipeline:
    """Return a pipeline whose events wait for that long."""
    return Pipeline(url, workers=2, SEGUE_REORDER_MS=str(reorder_ms), SEGUE_SETTLE_S="0.2")


def run(running: Pipeline, seed: int, most_pause_ms: int) -> Run:
    """Let people act that have not acted in a run with another seed, and compare what took effect.

    Between two calls of a person are at most `most_pause_ms`; 0: all calls are made in one tick.
    """
    people = range(seed * PEOPLE, (seed + 1) * PEOPLE)
    before = running.stats()
    with Network(running.ingest_url, seed, Faults()) as network:
        given = {"host": network.url, "writeKey": QUEUE, "stories": stories(people, seed, most_pause_ms)}
        subprocess.run(
            ["node", "node_client.mjs"],
            cwd=FOLDER,
            input=json.dumps(given),
            stdout=sys.stderr,
            text=True,
            check=True,
            timeout=_DEADLINE_S,
        )
    assert running.stats().accepted_total - before.accepted_total == PEOPLE * CALLS
    made = finished(running, people, network, before.reordered_total)
    return replace(made, indistinguishable=indistinguishable(network.bodies))


def indistinguishable(bodies: Iterable[bytes]) -> frozenset[int]:
    """Return the people with calls of one millisecond in two requests whose times are equal too (docs/ingest.md)."""
    requests: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for number, body in enumerate(map(json.loads, bodies)):
        first, last = body["batch"][0]["timestamp"], body["batch"][-1]["timestamp"]
        for event in body["batch"]:
            for identifier in identifiers(event):
                requests[identifier, event["timestamp"], first, last, body["sentAt"]].add(number)
    return frozenset(person_of(identifier) for (identifier, *_), numbers in requests.items() if len(numbers) > 1)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.node", description="Run Segment's Node client.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--reorder-ms", type=int, default=1000)
    parser.add_argument("--pause-ms", type=int, default=40, help="the longest pause between two calls of a person")
    options = parser.parse_args(arguments)
    if reason := why_not():
        parser.error(reason)
    with redis_url() as url, pipeline(url, options.reorder_ms) as running:
        is_right = report(
            options.runs,
            lambda seed: run(running, seed, options.pause_ms),
            client="analytics-node",
            reorder_ms=options.reorder_ms,
            pause_ms=options.pause_ms,
        )
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
