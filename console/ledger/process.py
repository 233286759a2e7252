"""The process of `segue ledger`: it moves what workers recorded to files, and keeps the files in order.

Every second it says in Redis that it runs, and removes people who were erased. Every WRITE_S seconds it writes what
waits. Every minute it merges files of past hours, and removes days that are over their age. What fails is tried again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from importlib import metadata
from typing import Final

import pyarrow as pa
import redis

import lanes
import mapping
from console.configured import Configured
from delivery.recording import ledger
from lanes.clock import machine_ms
from lanes.server.connect import connect
from lanes.server.redis_url import address
from ledger import compaction, erasing, writing
from ledger.files import Files
from ledger.owner import Owner
from ledger.storage import NotOwner, Storage
from logs import events as log
from logs import output
from logs.causes import cause
from privacy import receipts
from settings import Settings

WRITE_S: Final = 10.0
# Workers and ingest come first where they share processors. Redis keeps what is written later.
_NICENESS: Final = 5
_TICK_S: Final = 1.0
_TIDY_S: Final = 60.0
_REDIS_S: Final = 10.0
_DAY_MS: Final = 86_400_000
# Past hours in which entries may have been written late: Redis keeps them for three days.
_COMPACTED_HOURS: Final = 80


def run(settings: Settings, storage: Storage) -> None:
    """Write the ledger until SIGINT or SIGTERM. SIGHUP loads the configuration file again.

    Raises what `Configuration.of` raises, and OSError: the files cannot be used.
    """
    output.configure(settings.process_name or "ledger", settings.log_format, settings.log_level)
    os.nice(_NICENESS)
    pa.set_cpu_count(1)
    stopping, signalled = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    signal.signal(signal.SIGHUP, lambda *_: signalled.set())
    with connect(settings.redis_url, socket_timeout=_REDIS_S, socket_connect_timeout=_REDIS_S) as client:
        configured = Configured(client, settings, "ledger")
        _write_started(settings, configured)
        while not stopping.is_set():
            try:
                with Owner(client, storage) as owner:
                    _keep(Ledger(client, settings, configured, storage, owner), signalled, stopping)
            except NotOwner as error:
                log.LEDGER_WAITS.write(reason=str(error))
                configured.follow(signalled)
                stopping.wait(_TICK_S)
        configured.forget()
    log.repeats.flush()
    log.PROCESS_STOPPED.write()


class Ledger:
    """The ledger of every destination. Its process owns the files."""

    def __init__(
        self, client: redis.Redis, settings: Settings, configured: Configured, storage: Storage, owner: Owner
    ) -> None:
        self._client = client
        self._storage = storage
        self._settings = settings
        self._configured = configured
        self._owner = owner
        self._write_at = self._tidy_at = 0.0
        self._recovered: set[str] = set()

    def tick(self, signalled: threading.Event, *, is_last: bool = False) -> None:
        """Do what is due, for one destination after the other. Raises NotOwner."""
        self._configured.follow(signalled)
        now = time.monotonic()
        writes, tidies = is_last or now >= self._write_at, now >= self._tidy_at
        for destination in self._configured.configuration.destinations.values():
            try:
                self._owner.ensure()
                self._keep(destination, writes=writes, tidies=tidies)
            except (OSError, redis.RedisError, pa.ArrowException) as error:
                self._recovered.discard(destination.name)
                log.LEDGER_UNWRITTEN.write(destination=destination.name, error=cause(error))
            except NotOwner:
                raise
            except Exception as error:
                self._recovered.discard(destination.name)
                log.unhandled("the ledger", error, destination=destination.name)
        if writes:
            self._write_at = now + WRITE_S
        if tidies:
            self._tidy_at = now + _TIDY_S

    def _keep(self, destination: mapping.Destination, *, writes: bool, tidies: bool) -> None:
        files, queue = Files(self._storage, destination.name), self._queue(destination)
        if destination.name not in self._recovered:
            files.recover()
            self._recovered.add(destination.name)
        ledger.report_seen(queue)
        if writes:
            self._write(files, queue, contents=destination.delivery.ledger_contents)
        for erasure in ledger.erasures(queue):
            self._erase(files, queue, erasure)
        if tidies:
            now_ms = machine_ms()
            files.remove_before(now_ms - destination.delivery.ledger_days * _DAY_MS)
            for hour in compaction.due(files, now_ms, _COMPACTED_HOURS):
                self._prolong(queue)
                compaction.compact(files, hour)

    def _write(self, files: Files, queue: lanes.Queue, *, contents: bool) -> None:
        """Write what waits now; what is recorded meanwhile has its turn later."""
        waiting = queue.client.llen(lanes.keys.LOG.of(queue.name))
        while waiting > 0:
            written = writing.write_batch(files, queue, self._owner.ensure, contents=contents)
            ledger.report_written(queue, written)
            self._prolong(queue)
            waiting -= written or waiting

    def _erase(self, files: Files, queue: lanes.Queue, erasure: ledger.Erasure) -> None:
        """Remove the rows of a person, with what belongs to them in Redis, and finish the receipt."""
        for rewriting in erasing.rewritings(files, erasure):
            self._prolong(queue)
            ids = lanes.erase_message_ids(queue, rewriting.message_ids())
            receipts.add_file(queue, erasure.receipt_id, rewriting.name)
            rewriting.apply()
            receipts.add(queue, erasure.receipt_id, +Counter(ledger=rewriting.going.num_rows, message_ids=ids))
        ledger.finish_erasure(queue, erasure.receipt_id)
        receipts.finish(queue, erasure.receipt_id)

    def _prolong(self, queue: lanes.Queue) -> None:
        """Keep the right to write during long work, and say that the process runs."""
        self._owner.ensure()
        ledger.report_seen(queue)

    def _queue(self, destination: mapping.Destination) -> lanes.Queue:
        values = self._settings.queue_config(destination.delivery.remember_days)
        return lanes.Queue(client=self._client, name=destination.name, **values)


def _keep(kept: Ledger, signalled: threading.Event, stopping: threading.Event) -> None:
    while not stopping.is_set():
        kept.tick(signalled)
        log.repeats.flush()
        stopping.wait(_TICK_S)
    kept.tick(signalled, is_last=True)


def _write_started(settings: Settings, configured: Configured) -> None:
    log.PROCESS_STARTED.write(
        version=metadata.version("segue"),
        configuration=configured.configuration.digest,
        redis=address(settings.redis_url),
        metrics=None,
        destinations=" ".join(configured.configuration.destinations),
    )
