"""What a worker process works with: one frozen object, built when it is first needed.

It is built again when the configuration file is loaded again, on SIGHUP or by `segue reload`. All or nothing: a file
with a fault, or one that this process must not use a queue with, changes nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

import lanes
import mapping
from delivery import admission
from delivery.admission import Admission
from delivery.customerio import TrackApi
from delivery.prepare import Trust
from delivery.recording import ledger
from delivery.sender import DeliveryLimits
from lanes import configurations, keys
from lanes.cluster import at
from lanes.queue import NO_LIMIT
from lanes.server.connect import connect
from logs import events as log
from logs.causes import cause
from metrics import traces
from privacy.purge import ErasureContext
from settings import Settings, SettingsError, digest
from workers import heartbeat
from workers.app import settings
from workers.lease import Leases

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

T = TypeVar("T")

# The name in `may` of a source that allows it to merge people.
_MERGE: Final = "mergePeople"
# Set when this process shall stop; `Runtime.stopping` is this event. It is here because a process may be stopped before
# its runtime was built.
stopping = threading.Event()


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The set-up of a process, and what its threads share. Mappings are by the destination's name."""

    settings: Settings
    client: redis.Redis
    destinations: Mapping[str, mapping.Destination]
    configuration: str  # a hash of the configuration file, to tell versions of it apart
    trust: Trust  # of the sources
    limits: DeliveryLimits
    queues: Mapping[str, lanes.Queue]
    clocks: Mapping[str, lanes.Clock]
    admissions: Mapping[str, Admission]
    track_apis: Mapping[str, TrackApi]
    leases: Leases  # of the claims that this process delivers
    # How many deliverers a destination may have in this process: one that is slow or down takes no slot of another.
    slots: Mapping[str, threading.BoundedSemaphore]
    # Held by the one deliverer of a destination in this process that polls for more, as polling loads Redis.
    poll_locks: Mapping[str, threading.Lock]
    tracer: Tracer | None  # None: spans are off
    stopping: threading.Event
    # Destinations whose queues were not opened yet, as Redis was unavailable when the process started.
    unopened: set[str] = field(default_factory=set)
    # Set when another configuration was loaded: deliverers that use this one make room for others.
    superseded: threading.Event = field(default_factory=threading.Event)
    # The names of destinations that have a ledger, as far as the last sweep knows.
    ledgers: set[str] = field(default_factory=set)

    @classmethod
    def build(
        cls, settings: Settings, client: redis.Redis, stopping: threading.Event, before: Runtime | None = None
    ) -> Runtime:
        """Return the runtime of these settings, with every queue opened. It shares the leases, slots and poll locks of
        the runtime `before` it, whose deliverers may still run. Without one, a queue that is unavailable is opened
        later: in a cluster, others may be available.

        Raises lanes.QueueError when this process must not use a queue, mapping.ConfigurationError and
        settings.SettingsError for faults of the configuration file; with a runtime before, redis.RedisError.
        """
        document = settings.document()
        destinations = mapping.destinations(document)
        configuration = digest(document)
        limits = DeliveryLimits.within(settings.lease_s, settings.retry_base_s)
        queues = {name: _queue(settings, client, destination) for name, destination in destinations.items()}
        runtime = cls(
            settings=settings,
            client=client,
            destinations=destinations,
            configuration=configuration,
            trust=_trust(document),
            limits=limits,
            queues=queues,
            clocks={
                name: lanes.Clock(queue=queue, lease_ms=int(limits.lease_s * 1000)) for name, queue in queues.items()
            },
            admissions={
                name: _admission(queues[name], destination, limits) for name, destination in destinations.items()
            },
            track_apis={name: _track_api(settings, destination, limits) for name, destination in destinations.items()},
            leases=before.leases if before else Leases(limits.lease_s),
            slots={name: threading.BoundedSemaphore(settings.concurrency) for name in destinations}
            | _shared(before.slots if before else {}, destinations),
            poll_locks={name: threading.Lock() for name in destinations}
            | _shared(before.poll_locks if before else {}, destinations),
            tracer=before.tracer if before else traces.tracer_of("worker", settings.traces),
            stopping=stopping,
            unopened=set(destinations),
        )
        runtime._open_all(tolerant=before is None)
        return runtime

    def open(self, name: str) -> None:
        """Open the queue of a destination, unless that was done. Raises lanes.QueueError, redis.RedisError."""
        if name in self.unopened:
            lanes.open_queue(self.queues[name])
            track_url = _track_url(self.settings, self.destinations[name])
            admission.begin(self.queues[name], f"{self.configuration} {track_url}")
            if ledger.is_kept(self.queues[name]):
                self.ledgers.add(name)
            self.unopened.discard(name)

    def _open_all(self, *, tolerant: bool) -> None:
        """Open the queues of each server at the same time: the time is that of the slowest server, also of one that is
        unavailable."""
        groups = self.by_server()
        with ThreadPoolExecutor(len(groups) or 1) as threads:
            for opened in [threads.submit(self._open_each, names) for names in groups]:
                try:
                    opened.result()
                except redis.RedisError as error:
                    if not tolerant:
                        raise
                    log.REDIS_UNAVAILABLE.write(destination=None, error=cause(error))

    def _open_each(self, names: list[str]) -> None:
        for name in names:
            self.open(name)

    def by_server(self) -> list[list[str]]:
        """Return the destinations in groups: those of one client of Redis together."""
        found: dict[redis.Redis, list[str]] = {}
        for name in self.destinations:
            found.setdefault(at(self.client, keys.base(name)), []).append(name)
        return list(found.values())

    def erasure_context(self, name: str) -> ErasureContext:
        """Return what erasing people of a destination needs."""
        return ErasureContext(self.queues[name], self.destinations[name], self.settings.spill_dir)


SET_UP_ERRORS: Final = (lanes.QueueError, mapping.ConfigurationError, SettingsError)
_building = threading.Lock()
_runtime: Runtime | None = None
_process = configurations.Process(heartbeat.NAME)
_signalled = threading.Event()


def runtime() -> Runtime:
    """Return the runtime of this process; the first call builds it, and raises what `Runtime.build` raises."""
    global _runtime
    with _building:
        if _runtime is None:
            _runtime = Runtime.build(settings, _connect(settings.redis_url), stopping)
        return _runtime


def reload() -> Runtime:
    """Make the runtime of the configuration file, as it is now, that of this process, and return it.

    Raises what `Runtime.build` raises; then the runtime stays as it is.
    """
    global _runtime
    before = runtime()
    with _building:
        if digest(settings.document()) == before.configuration:
            return before
        _runtime = Runtime.build(settings, before.client, stopping, before)
        before.superseded.set()
        log.CONFIGURATION_LOADED.write(configuration=_runtime.configuration, before=before.configuration)
        write_stranded(_runtime)
        return _runtime


def write_stranded(runtime: Runtime) -> None:
    """Write a line for each queue whose destination is not configured any more, and that is not empty."""
    for queue in lanes.stranded(runtime.client, runtime.destinations):
        log.QUEUE_STRANDED.write(destination=queue.name, waiting=queue.waiting, dead_letters=queue.dead)


def load_on_signal() -> None:
    """Have SIGHUP load the file at the next tick, in place of Celery's restart. Call it from the main thread."""
    signal.signal(signal.SIGHUP, lambda *_: _signalled.set())


def follow_requests() -> None:
    """Report the configuration of this process, and load the file if that was requested.

    Raises redis.RedisError; then the request stands.
    """
    client = runtime().client
    _process.configuration = runtime().configuration
    request = configurations.report(client, _process)
    if request == _process.request and not _signalled.is_set():
        return
    _signalled.clear()
    try:
        _process.fault = _load()
    except redis.RedisError:
        _signalled.set()
        raise
    _process.configuration, _process.request = runtime().configuration, request
    configurations.report(client, _process)


def forget_report() -> None:
    """Remove the report of this process, which stops."""
    configurations.forget(runtime().client, _process)


def _load() -> str | None:
    """Load the file; return why it was refused, None when this process uses it. Raises redis.RedisError."""
    try:
        reload()
    except redis.RedisError:
        raise
    except SET_UP_ERRORS as error:
        log.CONFIGURATION_REFUSED.write(reason=error)
        return str(error)
    except Exception as error:  # of a file whose tables of sources are none: ingest alone checks those
        log.unhandled("loading the configuration", error)
        return str(error)
    return None


def _shared(of_before: Mapping[str, T], destinations: Mapping[str, Any]) -> dict[str, T]:
    return {name: of_before[name] for name in of_before.keys() & destinations.keys()}


def _connect(url: str) -> redis.Redis:
    """Return a client that tries a command again for some seconds while Redis is unavailable."""
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), 10)
    return connect(url, socket_timeout=10, socket_connect_timeout=5, retry=retry)


def _trust(document: Mapping[str, Any]) -> Trust:
    """Return which sources are evidence of who a person is. One without `trust` may merge, as ingest lets it."""
    sources: Mapping[str, Any] = document.get("sources", {})
    trusted = frozenset(name for name, source in sources.items() if source.get("trust") == "server")
    merging = frozenset(
        name for name, source in sources.items() if source.get("trust") != "public" or _MERGE in source.get("may", ())
    )
    return Trust(trusted, merging)


def _admission(queue: lanes.Queue, destination: mapping.Destination, limits: DeliveryLimits) -> Admission:
    return Admission(
        queue=queue,
        requests_per_s=destination.delivery.requests_per_s,
        probe_wait_s=limits.retry_base_s,
        turn_s=limits.turn_s,
    )


def _track_api(settings: Settings, destination: mapping.Destination, limits: DeliveryLimits) -> TrackApi:
    return TrackApi(_track_url(settings, destination), destination.site_id, destination.api_key, limits.timeout_s)


def _track_url(settings: Settings, destination: mapping.Destination) -> str:
    return settings.track_url or destination.url


def _queue(settings: Settings, client: redis.Redis, destination: mapping.Destination) -> lanes.Queue:
    values = settings.queue_config(destination.delivery.remember_days)
    if destination.delivery.order == "applied":  # every event has a cooldown
        values["most_cooling_ms"] = NO_LIMIT
    return lanes.Queue(client=client, name=destination.name, **values)
