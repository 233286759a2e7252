"""The state of the ledger of a destination, for `segue status`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import lanes
from console.output import counted, utc
from delivery.recording import ledger


def gather(queue: lanes.Queue) -> dict[str, Any]:
    """Return `{"ledger": {"runs", "seen_ms", "written_ms", "entries", "discarded", "discarded_ms"}}`; null without a
    ledger."""
    state = ledger.read(queue)
    return {"ledger": None if state is None else {"runs": ledger.runs(queue), **asdict(state)}}


def lines(state: dict[str, Any] | None) -> Iterator[str]:
    """Yield what is wrong with the ledger."""
    if state is None:
        return
    if not state["runs"]:
        away_s = time.time() - state["seen_ms"] / 1000
        kept = "Redis keeps what it has to write" if away_s < ledger.AWAY_S else "nothing is kept for it"
        yield f"the ledger has not run since {utc(state['seen_ms'])}: {kept}"
    if state["discarded"]:
        number, last = counted(state["discarded"], "request"), utc(state["discarded_ms"])
        yield f"the ledger lacks {number} that Redis had no room for, the last at {last}"
