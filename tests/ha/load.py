"""A pipeline on a Redis of any kind, and a load for it whose every event is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx

import lanes
from lanes.server.connect import connect
from tests.pipeline import QUEUE, Pipeline, configuration, free_port, wait_until

PEOPLE, BATCH, PAUSE_S = 16, 10, 0.25
MORE, ACCEPTED_S = 500, 120.0  # events for each destination between two faults
DRAINED_S = 120.0


class HaPipeline(Pipeline):
    """A pipeline with a second ingest, on a Redis of any kind, with a source for each of its destinations."""

    def __init__(self, url: str, names: Sequence[str] = (QUEUE,), workers: int = 4, **variables: str) -> None:
        document = "".join(map(configuration, names))
        super().__init__("redis://127.0.0.1:1/0", workers=workers, threads=2, config=document, **variables)
        self.redis_url, self.redis = url, connect(url, socket_timeout=5)
        self.names = names
        self.other_url = f"http://127.0.0.1:{free_port()}"

    def start_other(self) -> None:
        """Start the second ingest."""
        self.environment |= {"SEGUE_INGEST_PORT": self.other_url.rpartition(":")[2]}
        self._start("-m", "console.cli", "ingest")
        wait_until(lambda: self._answers(f"{self.other_url}/ready"), "the second ingest is ready")

    def drain(self, deadline_s: float = DRAINED_S) -> None:
        """Wait until every queue is empty."""
        queues = [lanes.Queue(client=self.redis, name=name) for name in self.names]
        wait_until(lambda: not any(lanes.stats(queue).waiting for queue in queues), "the queues are empty", deadline_s)

    def alive(self) -> bool:
        """Whether every worker runs, and both ingests answer."""
        return all(worker.poll() is None for worker in self.workers) and all(
            self._answers(f"{url}/health") for url in (self.ingest_url, self.other_url)
        )


class Sender(threading.Thread):
    """Sends the events of one person in their order, to one ingest after the other, until it is told to stop. A batch
    is repeated until it is accepted, for ACCEPTED_S at most."""

    def __init__(self, pipeline: HaPipeline, person: int, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.accepted = self.refused = 0
        self._urls = (pipeline.ingest_url, pipeline.other_url)
        self._person, self._over = f"p{person}", over
        self.name = pipeline.names[person % len(pipeline.names)]

    def run(self) -> None:
        """Send until it is over."""
        with httpx.Client(timeout=30, auth=(self.name, "")) as http:
            while not self._over.is_set():
                numbers = range(self.accepted, self.accepted + BATCH)
                batch = [self._event(number) for number in numbers]
                until = time.monotonic() + ACCEPTED_S
                while not self._is_accepted(http, batch):
                    if time.monotonic() > until:
                        return  # `Load.go_on` has raised by then
                    self.refused += 1
                    time.sleep(0.05)
                self.accepted += BATCH
                time.sleep(PAUSE_S)

    def _event(self, number: int) -> dict[str, Any]:
        name = f"{self._person}-{number}"
        return {"type": "track", "event": str(number), "userId": self._person, "messageId": name}

    def _is_accepted(self, http: httpx.Client, batch: list[dict[str, Any]]) -> bool:
        url = self._urls[(self.accepted // BATCH + self.refused) % 2]
        try:
            return http.post(f"{url}/v1/batch", json={"batch": batch}).status_code == 200
        except httpx.HTTPError:
            return False


class Load:
    """Senders for all destinations of a pipeline."""

    def __init__(self, pipeline: HaPipeline) -> None:
        self._over = threading.Event()
        self.senders = [Sender(pipeline, person, self._over) for person in range(PEOPLE)]

    def __enter__(self) -> Self:
        for sender in self.senders:
            sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for sender in self.senders:
            sender.join()

    def accepted(self, names: Sequence[str]) -> int:
        """Return how many events for some destinations were accepted."""
        return sum(sender.accepted for sender in self.senders if sender.name in names)

    def go_on(self, names: Sequence[str]) -> None:
        """Wait until so many more events for each of some destinations were accepted."""
        wanted = {name: self.accepted([name]) + MORE for name in names}
        wait_until(
            lambda: all(self.accepted([name]) >= count for name, count in wanted.items()),
            f"{MORE} more events are accepted for each of {', '.join(names)}",
            ACCEPTED_S,
        )
