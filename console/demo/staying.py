"""`segue demo --stay`: after the report, a few events go on arriving, so that the web console has something to show.

Now and then a page comes without its address, which the mapping needs: it becomes a dead letter. Nothing is checked any
more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from itertools import count, islice
from typing import Final

import httpx
from rich.console import Console

from console.demo import sample
from console.demo.clients import dated
from console.demo.run import Pipeline
from console.demo.sample import Event
from console.local import programs

_PER_S: Final = 20
_BROKEN: Final = 300  # one event of so many
_SAMPLE: Final = 1000  # events


def stay(pipeline: Pipeline, console: Console, seed: int) -> None:
    """Send events and keep the processes running until SIGINT or SIGTERM. A ledger runs too, where it is installed."""
    supervisor = pipeline.supervisor
    supervisor.handle_signals()
    if find_spec("pyarrow") is not None:
        supervisor.start(programs.configured("ledger", pipeline.environment))
    console.print(f"the web console is at {pipeline.console}; Ctrl-C ends the demo and removes its data")
    events = endless(seed + 1)
    while not supervisor.stopping.wait(1):
        supervisor.restart_ended()
        with suppress(httpx.HTTPError):  # while the endpoint starts again
            pipeline.ingest.post("/v1/batch", json={"batch": dated(list(islice(events, _PER_S)))})
    console.print("stopping", style="dim")


def endless(seed: int) -> Iterator[Event]:
    """Yield the events of one sample after the other, and a broken one now and then."""
    for number in count(seed):
        for at, event in enumerate(sample.events(_SAMPLE, number)):
            if at % _BROKEN == 0:
                yield {"type": "page", "userId": f"reader-{number}-{at}", "name": "Checkout", "properties": {}}
            yield event
