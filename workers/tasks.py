"""The Celery tasks: `deliver` works off one destination's queue for a while, `sweep` brings back what was lost.

Every worker process also sweeps on its own tick, so that neither a lost wake-up nor a dead scheduler stops anything.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from functools import cache
from hashlib import sha256
from typing import Any

import orjson
import redis
from celery import signals
from kombu.exceptions import OperationalError
from redis.backoff import ExponentialBackoff
from redis.exceptions import LockError, LockNotOwnedError, RedisError
from redis.lock import Lock
from redis.retry import Retry

import lanes
import mapping
from dead_letters import replay as replays
from dead_letters import retention, spill_files
from delivery import log as delivery_log
from delivery.admission import Gate, Send
from delivery.customerio import TrackApi
from lanes import keys
from privacy import erasure, receipts
from privacy.purge import ErasureContext
from workers import heartbeat
from workers.app import WAKE_EXPIRES_S, app, settings
from workers.claim import Terms, work_off
from workers.lease import Lease, LeaseLost

log = logging.getLogger(__name__)

# One task's turn: then it makes room for another destination's.
SLICE_S = 10.0
# How long a deliverer that finds nothing goes on listening, and how often it looks.
LINGER_S = 0.5
LOOK_S = 0.02
CLAIM_EVENTS = 500
CLAIM_BYTES = 2_000_000
# How far a chain is followed: one request a depth, unless the destination trusts the order within a request.
CLAIM_DEPTH = {"barrier": 50, "trust": 500}
# How many claims share few people with long chains: with trust they pack, map and send side by side; otherwise each
# waits for answers most of the time, and more of them would only be more requests.
CLAIM_SHARING = {"barrier": 2, "trust": 4}
PROBE_EVENTS = 5
# How often dead letters are looked after.
TEND_S = 30
# Some wait all the same: an error that every event meets should not fill the dead letters.
GIVEN_UP_MS = 5_000
_FORGETTING_MS = 60_000
# A lock ends by itself so long after its holder died.
LOCK_S = 5

stopping = threading.Event()


@cache
def store() -> redis.Redis:
    """The connections of this process to the store; commands are tried again for some seconds when it is away."""
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), 10)
    return redis.Redis.from_url(settings.redis_url, socket_timeout=10, socket_connect_timeout=5, retry=retry)


@cache
def destinations() -> dict[str, mapping.Destination]:
    """The configured destinations by name."""
    return mapping.destinations(settings.document())


@cache
def terms() -> Terms:
    """A turn and a send must end well within the lease."""
    return Terms(
        retry_base_s=settings.retry_base_s,
        timeout_s=min(20.0, settings.lease_s / 3),
        turn_s=min(5.0, settings.lease_s / 6),
        lease_ms=int(settings.lease_s * 1000),
        configuration=sha256(orjson.dumps(settings.document(), option=orjson.OPT_SORT_KEYS)).hexdigest()[:12],
    )


@cache
def queues() -> dict[str, lanes.Queue]:
    """The queue of each destination, by name; raises lanes.QueueError when this process must not use one."""
    return {
        name: lanes.open_queue(
            lanes.Queue(client=store(), name=name, **settings.queue_config(destination.delivery.remember_days))
        )
        for name, destination in destinations().items()
    }


def erasure_context(name: str) -> ErasureContext:
    """What erasing people of a destination needs."""
    return ErasureContext(queues()[name], destinations()[name], settings.spill_dir)


@cache
def track_api(name: str) -> TrackApi:
    """The connections of this process to a destination's workspace."""
    destination = destinations()[name]
    url = settings.track_url or destination.url
    return TrackApi(url, destination.site_id, destination.api_key, terms().timeout_s)


@cache
def gate(name: str) -> Gate:
    """The gate of a destination, as this process sees it."""
    limit = destinations()[name].delivery.requests_per_s
    return Gate(queues()[name], limit, probe_wait_s=settings.retry_base_s, turn_s=terms().turn_s)


@cache
def seats() -> dict[str, threading.BoundedSemaphore]:
    """The deliverers of each destination in this process: one that is slow or dead takes no other's seats."""
    return {name: threading.BoundedSemaphore(settings.concurrency) for name in destinations()}


@cache
def ears() -> dict[str, threading.Lock]:
    """Held by the one deliverer of each destination in this process that listens for more: looking has its cost."""
    return {name: threading.Lock() for name in destinations()}


@app.task(name="deliver")  # type: ignore[untyped-decorator]
def deliver(name: str) -> None:
    """Deliver what is ready for the destination `name`, for one slice of time at most."""
    seat = seats()[name]
    if not seat.acquire(blocking=False):
        return
    try:
        until = time.monotonic() + SLICE_S
        while not stopping.is_set() and time.monotonic() < until:
            if not deliver_once(name, listening=True) and not listen(name):
                return
        wake(name)
    except RedisError as error:
        log.warning("%s: the store is away: %s", name, error)
    finally:
        seat.release()


def listen(name: str) -> bool:
    """Wait for more to do, unless somebody else does already; return whether there was something, which is done."""
    ear, until = ears()[name], time.monotonic() + LINGER_S
    if not ear.acquire(blocking=False):
        return False
    try:
        while not stopping.wait(LOOK_S):
            listening = time.monotonic() < until
            if deliver_once(name, listening=listening):
                return True
            if not listening:
                return False
        return False
    finally:
        ear.release()


def deliver_once(name: str, *, listening: bool) -> bool:
    """Claim once and work it off; return whether there was anything."""
    admission = gate(name).admit()
    if admission == "shut":
        return False
    asked_at = time.monotonic()
    lease_ms = terms().lease_ms
    delivery = destinations()[name].delivery
    claim = lanes.claim(
        queues()[name],
        lease_ms=lease_ms,
        max_events=CLAIM_EVENTS if admission == "open" else PROBE_EVENTS,
        max_bytes=CLAIM_BYTES,
        max_depth=CLAIM_DEPTH[delivery.batch_order],
        max_sharing=CLAIM_SHARING[delivery.batch_order],
        poll_ms=int(5000 * LOOK_S) if listening else 0,
        by=heartbeat.NAME,
        batch_wait_ms=int(1000 * LOOK_S),
    )
    for _ in range(claim.wake):
        wake(name)
    if not claim.events:
        return False
    lease = Lease(queues()[name], claim.id, lease_ms, asked_at)
    try:
        send: Send = track_api(name).send
        recorder = delivery_log.Recorder(queues()[name], claim, heartbeat.NAME)
        if delivery.log_requests:
            send = recorder.recording(send)
        send = gate(name).guard(send)
        work_off(claim, lease, destinations()[name], send, terms(), stopping.is_set, before_settling=recorder.write)
    except LeaseLost:
        log.warning("%s: a lease ended before its claim was worked off; nothing more was sent", name)
    except RedisError:
        raise
    except Exception:
        # As if this worker had died of it, but with a shorter wait: such an event is told apart and set aside.
        log.exception("%s: a claim could not be worked off", name)
        lanes.extend(queues()[name], claim.id, lease_ms=GIVEN_UP_MS)
    return True


@app.task(name="replay")  # type: ignore[untyped-decorator]
def replay(name: str, replay_id: str) -> None:
    """Go on with a replay of dead letters, for one slice of time at most; a sweep sees to the rest."""
    until = time.monotonic() + SLICE_S
    means = replays.Means(stopping.wait, wake)
    try:
        with _lock(replays.lock(queues()[name], replay_id)) as lock:
            while not stopping.is_set() and time.monotonic() < until:
                lock.reacquire()
                if not replays.step(queues()[name], replay_id, destinations()[name], means):
                    return
        ask(replay, name, replay_id)
    except LockError:
        return  # another worker carries the replay on
    except RedisError as error:
        log.warning("%s: the store is away: %s", name, error)


@app.task(name="tend")  # type: ignore[untyped-decorator]
def tend(name: str) -> None:
    """Look after the dead letters: end holds that last too long, keep within the bounds, raise the alarm."""
    queue, now_ms, delivery = queues()[name], int(time.time() * 1000), destinations()[name].delivery
    try:
        if retention.end_holds(queue, delivery, now_ms):
            wake(name)
        if settings.spill_dir is None or replays.next_up(queue):
            alarm = retention.exceeded(queue, delivery, now_ms)
            if alarm:
                log.warning("%s: %s", name, alarm)
            return
        with _lock(keys.SPILL_LOCK.of(queue.name)) as lock:
            retention.keep_within(queue, delivery, settings.spill_dir, now_ms, lambda: _is_owned(lock))
    except LockError:
        return  # another worker does it
    except RedisError as error:
        log.warning("%s: the store is away: %s", name, error)
    except (OSError, spill_files.TornFile) as error:
        log.warning("%s: dead letters stay in Redis, a spill file could not be written: %s", name, error)


@app.task(name="forget")  # type: ignore[untyped-decorator]
def forget(name: str, sequence: int) -> None:
    """Drop what stands before the order to forget somebody that has this sequence."""
    try:
        erasure.drop(erasure_context(name), sequence)
    except RedisError as error:
        log.warning("%s: the store is away; what waits is sent before the deletion: %s", name, error)


@app.task(name="finish_forgetting")  # type: ignore[untyped-decorator]
def finish_forgetting(name: str) -> None:
    """Remove what is left of people whom Customer.io was told to delete; a sweep sees to what fails."""
    lock = keys.ERASING_LOCK.of(name)
    try:
        if store().set(lock, "1", nx=True, px=_FORGETTING_MS):
            erasure.finish(erasure_context(name))
            store().delete(lock)
    except RedisError as error:
        log.warning("%s: the store is away: %s", name, error)
    except (OSError, spill_files.TornFile) as error:  # tried again when the lock has ended
        log.warning("%s: somebody is not forgotten yet, a spill file cannot be changed: %s", name, error)


@app.task(name="sweep")  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Bring back the events of expired claims, and wake whoever was missed."""
    for name, destination in destinations().items():
        queue = queues()[name]
        if lanes.reap(queue).wake:
            wake(name)
        delivery_log.trim(queue, destination.delivery.log_requests)
        for replay_id in replays.next_up(queue):
            ask(replay, name, replay_id)
        if store().set(keys.RETENTION_DONE.of(queue.name), 1, nx=True, ex=TEND_S):
            ask(tend, name)
        if receipts.unfinished(queue):
            ask(finish_forgetting, name)
    erasure.rewrite_wanted_history(store())


def _lock(name: str) -> Lock:
    """Return the lock for a `with` block: entering raises LockError when another worker has it. It ends after LOCK_S
    unless it is reacquired."""
    return Lock(store(), name, timeout=LOCK_S, blocking=False, raise_on_release_error=False)


def _is_owned(lock: Lock) -> bool:
    try:
        return lock.reacquire()
    except LockNotOwnedError:
        return False


def wake(name: str) -> None:
    """Ask for a deliverer."""
    ask(deliver, name)


def ask(task: Any, *arguments: str) -> None:
    """Send a task; one that cannot be sent is made up for by the next sweep."""
    try:
        task.apply_async(args=arguments, expires=WAKE_EXPIRES_S)
    except (OperationalError, RedisError) as error:
        log.warning("%s: a wake-up could not be sent: %s", arguments[0], error)


def tick() -> None:
    """Sweep and say that this process lives, again and again until it stops."""
    while not stopping.wait(settings.sweep_s):
        try:
            heartbeat.announce(store())
            sweep()
        except RedisError as error:
            log.warning("the store is away: %s", error)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def start_ticking(**_: Any) -> None:
    """Begin the sweeps of this process."""
    # What was loaded stays; what a claim brings is many small objects without cycles, and gone with it.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    heartbeat.announce(store())
    threading.Thread(target=tick, name="sweep", daemon=True).start()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def stop_working(**_: Any) -> None:
    """Let deliverers put back what they have not sent, and finish."""
    stopping.set()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def say_goodbye(**_: Any) -> None:
    """Leave the list of living workers."""
    try:
        heartbeat.retire(store())
    except RedisError:
        log.info("the store is away; this worker will be missed by its silence")
