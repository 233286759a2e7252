"""The Celery tasks, and the life of a worker process.

`deliver` delivers one destination's events for a while; `sweep` returns expired claims and requests what was missed.
Every worker process also sweeps on its own tick, so that neither a lost wake-up nor a dead scheduler stops anything.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from typing import Any, Final

from celery import signals
from celery.exceptions import CPendingDeprecationWarning, Ignore
from redis.exceptions import (
    ConnectionError,
    LockError,
    LockNotOwnedError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)
from redis.lock import Lock

import lanes
import mapping
from dead_letters import replay as replays
from dead_letters import retention, spill_files
from delivery import log as delivery_log
from lanes import keys
from lanes.clock import machine_ms
from lanes.cluster import at
from lanes.server import checks
from lanes.server.connect import connect
from lanes.server.redis_url import address
from lanes.taps import streams
from logs import events as log
from logs.causes import cause
from metrics import endpoint
from privacy import erasure, receipts
from series import sampling
from series.tally import Tally
from settings import digest
from workers import deliverer, heartbeat
from workers.app import app, request, settings, wake
from workers.runtime import (
    SET_UP_ERRORS,
    Runtime,
    follow_requests,
    forget_report,
    load_on_signal,
    runtime,
    stopping,
    write_stranded,
)

# How often the dead letters of a destination are checked, in seconds.
RETENTION_S = 30
# A lock ends by itself so long after its holder died, in seconds.
_LOCK_S = 5
_ERASING_LOCK_S = 60
# For how long a process that shall stop waits for Redis.
_PATIENCE_S = 8
# The destinations, and the parts of the regular work, that found Redis unavailable the last time.
_unavailable: set[str] = set()
# The last sweep of each slot of a cluster, by its first destination.
_sweeps: dict[str, threading.Thread] = {}
_tally = Tally()
# As the last heartbeat found. In a cluster, the server that knows may be unavailable.
_running_workers = 1


@app.task(name="deliver")  # type: ignore[untyped-decorator]
def deliver(name: str) -> None:
    """Deliver what is ready for the destination `name`, for one slice of time at most."""
    with _redis_errors_logged(name):
        deliverer.deliver(runtime(), name)


@app.task(name="replay")  # type: ignore[untyped-decorator]
def replay(name: str, replay_id: str) -> None:
    """Continue a replay of dead letters for one slice of time at most; the next sweep requests the rest."""
    until = time.monotonic() + deliverer.SLICE_S
    with _redis_errors_logged(name):
        queue, destination = runtime().queues[name], runtime().destinations[name]
        with _lock(replays.lock(queue, replay_id)) as lock:
            while not stopping.is_set() and time.monotonic() < until:
                lock.reacquire()
                if not replays.step(queue, replay_id, destination, replays.ReplayContext(stopping.wait, wake)):
                    return
        request("replay", name, replay_id)


@app.task(name="retention")  # type: ignore[untyped-decorator]
def check_retention(name: str) -> None:
    """Unblock what dead letters have blocked for too long, keep dead letters within their bounds, and log an alarm."""
    with _redis_errors_logged(name):
        queue, delivery, now_ms = runtime().queues[name], runtime().destinations[name].delivery, machine_ms()
        spill_dir = runtime().settings.spill_dir
        if retention.unblock_expired(queue, delivery, now_ms):
            wake(name)
        if spill_dir is None or replays.next_up(queue):
            _warn_of_excess(queue, delivery, now_ms)
            return
        try:
            with _lock(keys.SPILL_LOCK.of(name)) as lock:
                retention.spill_excess(queue, delivery, spill_dir, now_ms, lambda: _is_owned(lock))
            _warn_of_excess(queue, delivery, now_ms)
        except (OSError, spill_files.TornFile) as error:
            log.SPILL_FILE_UNUSABLE.write(destination=name, error=cause(error))


def _warn_of_excess(queue: lanes.Queue, delivery: mapping.Delivery, now_ms: int) -> None:
    if alarm := retention.exceeded(queue, delivery, now_ms):
        log.DEAD_LETTERS_EXCEED.write(destination=queue.name, limit=alarm)


@app.task(name="discard")  # type: ignore[untyped-decorator]
def discard(name: str, sequence: int) -> None:
    """Discard the events that wait before the privacy request of this sequence. While Redis is unavailable they are not
    discarded: they are sent before it."""
    with _redis_errors_logged(name):
        erasure.discard(runtime().erasure_context(name), sequence)


@app.task(name="finish_erasures")  # type: ignore[untyped-decorator]
def finish_erasures(name: str) -> None:
    """Erase what is left of people that Customer.io deleted; a sweep requests it again if it fails."""
    with _redis_errors_logged(name):
        lock, client = keys.ERASING_LOCK.of(name), runtime().client
        if not client.set(lock, "1", nx=True, ex=_ERASING_LOCK_S):
            return
        try:
            erasure.finish(runtime().erasure_context(name))
        except (OSError, spill_files.TornFile) as error:  # tried again when the lock has ended
            log.SPILL_FILE_UNUSABLE.write(destination=name, error=cause(error))
            return
        client.delete(lock)


@app.task(name="sweep")  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Return the events of expired claims to their lanes, and request every task that is due.

    In a cluster the destinations of each slot have a thread, so a server that is unavailable delays no other one.
    """
    groups = runtime().by_server()
    if len(groups) == 1:
        _sweep_each(runtime(), groups[0])
        return
    for names in groups:
        before = _sweeps.get(names[0])
        if before is None or not before.is_alive():
            _sweeps[names[0]] = threading.Thread(target=_sweep_each, args=(runtime(), names), daemon=True)
            _sweeps[names[0]].start()


def _sweep_each(runtime: Runtime, names: list[str]) -> None:
    """Sweep for destinations of one server, while it is available. Another fault of one of them delays no other one."""
    for name in names:
        try:
            runtime.open(name)
            _sweep(runtime, name)
            _write_available(name)
        except (ConnectionError, TimeoutError) as error:
            _write_unavailable(error, name)
            return
        except RedisError as error:
            _write_unavailable(error, name)
        except SET_UP_ERRORS as error:
            _stop(error)
            return
        except Exception as error:
            log.unhandled("a sweep", error, destination=name)


def _sweep(runtime: Runtime, name: str) -> None:
    queue, delivery = runtime.queues[name], runtime.destinations[name].delivery
    if step_ms := runtime.clocks[name].follow():
        log.CLOCK_STEPPED.write(destination=name, seconds=step_ms / 1000)
    reaped = lanes.reap(queue)
    if reaped.events:
        log.CLAIMS_EXPIRED.write(destination=name, count=reaped.events)
    if reaped.wake and not wake(name):
        _deliver_alone(name)
    _trim_log(runtime, queue)
    _tally.write(queue)
    sampling.sample(queue, delivery.requests_per_s, lambda: _running_workers)
    for replay_id in replays.next_up(queue):
        request("replay", name, replay_id)
    if runtime.client.set(keys.RETENTION_DONE.of(name), 1, nx=True, ex=RETENTION_S):
        request("retention", name)
    if receipts.unfinished(queue):
        request("finish_erasures", name)


def _trim_log(runtime: Runtime, queue: lanes.Queue) -> None:
    """Trim the delivery log, and remember whether there is a ledger that its entries are kept for."""
    requests = runtime.destinations[queue.name].delivery.log_requests
    trimmed = delivery_log.trim(queue, requests, len(runtime.destinations))
    if trimmed.has_ledger:
        runtime.ledgers.add(queue.name)
    else:
        runtime.ledgers.discard(queue.name)
    if trimmed.discarded:
        log.LEDGER_ENTRIES_DISCARDED.write(destination=queue.name, count=trimmed.discarded)


def _deliver_alone(name: str) -> None:
    """Deliver in a thread of this process, without a message. A full Redis takes no message until events leave it."""
    threading.Thread(target=deliver, args=(name,), name=f"deliver-{name}", daemon=True).start()


def _write_unavailable(error: RedisError, name: str | None = None) -> None:
    if isinstance(error, ReadOnlyError):
        # After a failover, these connections lead to the old primary.
        runtime().client.connection_pool.disconnect(inuse_connections=False)
    if name is not None and isinstance(error, ConnectionError | TimeoutError):
        _unavailable.add(name)
    log.REDIS_UNAVAILABLE.write(destination=name, error=cause(error))


def _write_available(part: str) -> None:
    """Write that Redis is available again, when this was the last part that found it unavailable."""
    if part in _unavailable:
        _unavailable.intersection_update({*_REGULAR, *runtime().destinations} - {part})
        if not _unavailable:
            log.REDIS_AVAILABLE.write()


@contextmanager
def _redis_errors_logged(name: str) -> Iterator[None]:
    """Log that Redis is unavailable. A lock that another worker holds is no error: that worker does the work.

    Raises celery.exceptions.Ignore: there is no such destination any more.
    """
    try:
        if name not in runtime().destinations:
            raise Ignore
        runtime().open(name)
        yield
    except LockError:
        return
    except RedisError as error:
        _write_unavailable(error, name)


def _lock(name: str) -> Lock:
    """Return a lock for a `with` block. It ends after 5 s unless it is reacquired; entering it raises LockError while
    another worker holds it."""
    return Lock(at(runtime().client, name), name, timeout=_LOCK_S, blocking=False, raise_on_release_error=False)


def _is_owned(lock: Lock) -> bool:
    """Whether the lock is still ours; if so, for 5 s more."""
    try:
        return lock.reacquire()
    except LockNotOwnedError:
        return False


def _heartbeat() -> None:
    global _running_workers
    _running_workers = heartbeat.send(runtime().client)


def _rewrite_history() -> None:
    erasure.rewrite_wanted_history(runtime().client)


def _follow_tap() -> None:
    streams.follow(deliverer.tap, runtime().client)


# What a process does at once and every `sweep_s` seconds. Each has a thread: in a cluster, it may wait for a server of
# its own.
_REGULAR: Final[Mapping[str, Callable[[], None]]] = {
    "heartbeat": _heartbeat,
    "configuration": follow_requests,
    "sweep": sweep,
    "history": _rewrite_history,
    "tap": _follow_tap,
}


def _regularly(part: str) -> None:
    """Do a part of the regular work until the process stops."""
    while not stopping.is_set():
        try:
            _REGULAR[part]()
            _write_available(part)
        except RedisError as error:
            _write_unavailable(error)
            if isinstance(error, ConnectionError | TimeoutError):
                _unavailable.add(part)
        except SET_UP_ERRORS as error:
            _stop(error)
            return
        except Exception as error:
            log.unhandled(f"the regular work: {part}", error)
        log.repeats.flush()
        stopping.wait(settings.sweep_s)


def _stop(error: Exception) -> None:
    """Stop this process, which must not use a queue."""
    log.PROCESS_REFUSED.write(reason=error)
    os.kill(os.getpid(), signal.SIGTERM)


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def check_set_up(**_: Any) -> None:
    """Build the runtime before anything is claimed, and begin to sweep; exit when this process cannot or must not run.

    Celery becomes ready when Redis takes its messages; events are delivered before. It swallows every other exception
    of this function, and then runs without a sweep.
    """
    try:
        runtime()
    except RedisError as error:
        _write_unavailable(error)
    except SET_UP_ERRORS as error:
        log.PROCESS_REFUSED.write(reason=error)
        raise SystemExit(1) from None
    except Exception as error:
        log.unhandled("the set-up of a worker", error)
        log.PROCESS_REFUSED.write(reason=cause(error))
        raise SystemExit(1) from None
    for part in _REGULAR:
        threading.Thread(target=_regularly, args=(part,), name=part, daemon=True).start()


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def ignore_warning(**_: Any) -> None:
    """Ignore a warning of each outage, about tasks that are acknowledged late. Celery has just turned it on."""
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def settle_in(**_: Any) -> None:
    """Write that this process is ready, and take what is loaded out of the garbage collector's view."""
    _write_started(metrics=endpoint.start("worker", settings.metrics_host, settings.metrics_port))
    _check_redis()
    # What was loaded stays; what a claim brings is many small objects without cycles, and gone with it.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    load_on_signal()


def _check_redis() -> None:
    """Write what is wrong with Redis, as `segue check --redis` finds it, and which queues have no destination."""
    try:
        for finding in (*checks.broker_findings(settings.broker_url), *checks.findings(runtime().client)):
            log.REDIS_UNSUITABLE.write(reason=finding.text)
        write_stranded(runtime())
    except RedisError as error:
        _write_unavailable(error)


@signals.beat_init.connect  # type: ignore[untyped-decorator]
def _write_started(metrics: str | None = None, **_: Any) -> None:
    """Write that this process is ready, with what it works with. The file was read when the process started."""
    document = settings.document()
    urls = {name: settings.track_url or each.url for name, each in mapping.destinations(document).items()}
    log.PROCESS_STARTED.write(
        version=metadata.version("segue"),
        configuration=digest(document),
        redis=address(settings.redis_url),
        metrics=metrics,
        destinations=" ".join(f"{name}={url}" for name, url in urls.items()),
    )


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def stop_delivering(**_: Any) -> None:
    """Have deliverers release what they have not sent, and finish."""
    stopping.set()
    log.PROCESS_STOPPING.write()
    threading.Thread(target=_end_without_redis, name="end", daemon=True).start()


def _end_without_redis() -> None:
    """End this process when Redis has not answered for some seconds: it can settle nothing, and its leases end."""
    answered_at = time.monotonic()

    def ask() -> None:
        nonlocal answered_at
        while True:
            with (
                suppress(RedisError),
                connect(settings.redis_url, socket_timeout=1, socket_connect_timeout=1) as client,
            ):
                client.ping()
                answered_at = time.monotonic()
            time.sleep(1)

    threading.Thread(target=ask, name="ask", daemon=True).start()
    while time.monotonic() - answered_at < _PATIENCE_S:
        time.sleep(0.1)
    log.repeats.flush(all_at_once=True)
    log.PROCESS_STOPPED.write()
    os._exit(0)


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def stop_heartbeat(**_: Any) -> None:
    """Leave the list of running workers."""
    try:
        heartbeat.remove(runtime().client)
        forget_report()
    except (RedisError, *SET_UP_ERRORS):
        pass  # this worker stays listed until its heartbeat is too old
