"""What a worker process works with: one frozen object, built once, when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

import lanes
import mapping
from delivery import admission
from delivery.admission import Admission
from delivery.customerio import TrackApi
from delivery.prepare import Trust
from delivery.sender import DeliveryLimits
from lanes.queue import NO_LIMIT
from privacy.purge import ErasureContext
from settings import Settings, digest
from workers.app import settings
from workers.lease import Leases

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
    admissions: Mapping[str, Admission]
    track_apis: Mapping[str, TrackApi]
    leases: Leases  # of the claims that this process delivers
    # How many deliverers a destination may have in this process: one that is slow or down takes no slot of another.
    slots: Mapping[str, threading.BoundedSemaphore]
    # Held by the one deliverer of a destination in this process that polls for more, as polling loads Redis.
    poll_locks: Mapping[str, threading.Lock]
    stopping: threading.Event

    @classmethod
    def build(cls, settings: Settings, client: redis.Redis, stopping: threading.Event) -> Runtime:
        """Return the runtime of these settings, with every queue opened.

        Raises lanes.QueueError when this process must not use a queue, mapping.ConfigurationError and
        settings.SettingsError for faults of the configuration file, redis.RedisError.
        """
        document = settings.document()
        destinations = mapping.destinations(document)
        configuration = digest(document)
        limits = DeliveryLimits.within(settings.lease_s, settings.retry_base_s)
        queues = {name: _open_queue(settings, client, destination) for name, destination in destinations.items()}
        for name, destination in destinations.items():
            admission.begin(queues[name], f"{configuration} {_track_url(settings, destination)}")
        return cls(
            settings=settings,
            client=client,
            destinations=destinations,
            configuration=configuration,
            trust=_trust(document),
            limits=limits,
            queues=queues,
            admissions={
                name: _admission(queues[name], destination, limits) for name, destination in destinations.items()
            },
            track_apis={name: _track_api(settings, destination, limits) for name, destination in destinations.items()},
            leases=Leases(limits.lease_s),
            slots={name: threading.BoundedSemaphore(settings.concurrency) for name in destinations},
            poll_locks={name: threading.Lock() for name in destinations},
            stopping=stopping,
        )

    def erasure_context(self, name: str) -> ErasureContext:
        """Return what erasing people of a destination needs."""
        return ErasureContext(self.queues[name], self.destinations[name], self.settings.spill_dir)


_building = threading.Lock()
_runtime: Runtime | None = None


def runtime() -> Runtime:
    """Return the runtime of this process; the first call builds it, and raises what `Runtime.build` raises."""
    global _runtime
    with _building:
        if _runtime is None:
            _runtime = Runtime.build(settings, _connect(settings.redis_url), stopping)
        return _runtime


def _connect(url: str) -> redis.Redis:
    """Return a client that tries a command again for some seconds while Redis is unavailable."""
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), 10)
    return redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5, retry=retry)


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


def _open_queue(settings: Settings, client: redis.Redis, destination: mapping.Destination) -> lanes.Queue:
    values = settings.queue_config(destination.delivery.remember_days)
    if destination.delivery.order == "applied":  # every event has a cooldown
        values["most_cooling_ms"] = NO_LIMIT
    return lanes.open_queue(lanes.Queue(client=client, name=destination.name, **values))
