"""The second stage: the sorted events are sent in order, one request after the other."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from threading import Event as Flag
from typing import Final

from console.errors import CommandError
from console.send import sorting
from console.send.backlog import Backlog
from console.send.checkpoint import Checkpoint, Folder
from console.send.endpoint import Endpoint, Stopped
from console.send.inputs import Input
from console.send.pace import Pace
from console.send.progress import Progress
from console.send.rejects import Rejects
from console.send.sorting import Event

# Ingest works on one request at a time, and a worker on one claim, which often has the events of a request. A live
# event waits for either. So requests are small, unless the rate would need more of them than _REQUESTS_PER_S.
LEAST_EVENTS: Final = 10
BATCH_EVENTS: Final = 100
BATCH_BYTES: Final = 400_000  # the body of a request has at most 512,000
_REQUESTS_PER_S: Final = 150
_SAVED_EVERY_S: Final = 1.0


def batch_size(rate: float) -> int:
    """Return the most events of a request at a rate in events/s: not more than come in a second."""
    return int(max(1, min(rate, LEAST_EVENTS), min(rate / _REQUESTS_PER_S, BATCH_EVENTS)))


def batches(events: Iterable[Event], most: int) -> Iterator[list[Event]]:
    """Yield the events of each request: at most `most` of them, and at most BATCH_BYTES."""
    batch: list[Event] = []
    size = 0
    for event in events:
        if batch and (len(batch) == most or size + len(event.body) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event.body) + 1
    if batch:
        yield batch


class Transfer:
    """Sends what the runs of a checkpoint have, and records how far it was acknowledged.

    The checkpoint is saved once a second. So at most the events of one second and of one request are sent again after a
    kill.
    """

    def __init__(
        self, folder: Folder, checkpoint: Checkpoint, rejects: Rejects, inputs: Sequence[Input], rate: float
    ) -> None:
        self._folder = folder
        self._checkpoint = checkpoint
        self._rejects = rejects
        self._inputs = inputs
        self._batch = batch_size(rate)
        self._saved_at = time.monotonic()

    def run(self, endpoint: Endpoint, pace: Pace, backlog: Backlog | None, stopping: Flag, progress: Progress) -> None:
        """Send what is not acknowledged. Raises Stopped and CommandError, after the checkpoint was saved."""
        state = self._checkpoint
        runs = [self._folder.runs / name for name in state.runs]
        try:
            for batch in batches(sorting.merged(runs, state.sent_until), self._batch):
                if backlog is not None and backlog.is_busy():
                    pace.slow_down()
                if stopping.wait(pace.take(len(batch))):
                    raise Stopped
                self._send(endpoint, batch)
                progress.sent(state.acknowledged, state.tally.events, pace.rate)
        finally:
            self._save()
        if state.acknowledged < state.tally.events:
            lost = f"{state.tally.events - state.acknowledged:,} of {state.tally.events:,} events are missing"
            text = f"{self._folder.runs} is damaged: {lost}; remove the working directory to begin again"
            raise CommandError(text)
        state.stage, state.runs = "done", []
        self._save()
        self._folder.remove_other_runs([])

    def _send(self, endpoint: Endpoint, batch: Sequence[Event]) -> None:
        state = self._checkpoint
        for item, field, reason in endpoint.send([event.body for event in batch]):
            position = batch[item].position
            self._rejects.add(self._inputs[position.file].name, position.number, field, reason)
            state.refused += 1
        state.acknowledged += len(batch)
        state.sent_until = batch[-1].position
        if time.monotonic() - self._saved_at > _SAVED_EVERY_S:
            self._save()

    def _save(self) -> None:
        self._checkpoint.rejects_bytes = self._rejects.sync()
        self._folder.save(self._checkpoint)
        self._saved_at = time.monotonic()
