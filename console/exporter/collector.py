"""The metrics of what Redis has: read when Prometheus asks, at a cost that does not depend on how much waits.

Counters are totals that Redis keeps, so they survive the end of every process, and of this one.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import redis
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

import lanes
from dead_letters import replay
from delivery import admission, overrides
from delivery.admission import AdmissionState
from delivery.overrides import Overrides
from delivery.recording import ledger
from ingest import counters
from ingest.acceptance import Configuration
from lanes import configurations
from lanes.cluster import ClusterClient, servers
from metrics import registry
from metrics.figures import Labels, Metric
from settings import Settings
from workers import heartbeat

_KEPT_S: Final = 1.0  # several scrapers cost as much as one
_STATES: Final = ("ready", "delayed", "claimed", "blocked")
_CHANGES: Final = ("duplicates", "reordered", "released", "reaped", "buried", "missing")
_RESULTS: Final = ("accepted", "duplicates", "suppressed", "rejected", "dropped")
_REMARKS: Final = (
    *("unlikely_ids", "unreadable_times", "future_times", "reordered", "too_late", "clock_off"),
    *("forbidden", "throttled"),
)
_DESTINATION_STATES: Final = ("delivering", "paused_by_operator", "paused", "breaker_open", "waiting")


class Samples:
    """The values of some metrics, in the order in which the metrics came."""

    def __init__(self) -> None:
        self._samples: defaultdict[Metric, list[tuple[Labels, float]]] = defaultdict(list)

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Add the value of a metric for these values of its labels."""
        self._samples[metric].append((labels, value))

    def extend(self, others: Samples) -> None:
        """Add the values of other samples."""
        for metric, values in others._samples.items():
            self._samples[metric] += values

    def families(self) -> list[Family]:
        """Return the metrics as prometheus_client serves them."""
        return [metric.family(samples) for metric, samples in self._samples.items()]


class QueueCollector(Collector):
    """The metrics of the queues and sources of a configuration, which may be replaced by another one."""

    def __init__(self, client: redis.Redis, settings: Settings, configuration: Configuration) -> None:
        self.configuration = configuration
        self._client = client
        self._settings = settings
        self._lock = threading.Lock()
        self._families: list[Family] = []
        self._read_at = float("-inf")

    def collect(self) -> Iterable[Family]:
        """Return the metrics. They are read from Redis at most once a second."""
        with self._lock:
            if time.monotonic() - self._read_at > _KEPT_S:
                self._families = self._read()
                self._read_at = time.monotonic()
            return self._families

    def _read(self) -> list[Family]:
        samples, is_up = Samples(), True
        for add in self._parts():
            part = Samples()
            try:
                add(part)
                samples.extend(part)
            except redis.RedisError:
                is_up = False
                if not isinstance(self._client, ClusterClient):  # in a cluster, other servers may answer
                    samples = Samples()
                    break
        samples.add(registry.REDIS_UP, is_up)
        return samples.families()

    def _parts(self) -> Iterator[Callable[[Samples], None]]:
        """Yield what adds the figures. Each part reads one server of a cluster, but for the first two."""
        yield partial(_add_redis, client=self._client)
        yield partial(_add_sources, client=self._client, configuration=self.configuration)
        yield partial(_add_processes, client=self._client)
        for name in self.configuration.destinations:
            yield partial(self._add_destination, name=name)

    def _add_destination(self, samples: Samples, name: str) -> None:
        delivery = self.configuration.destinations[name].delivery
        queue = lanes.Queue(client=self._client, name=name, **self._settings.queue_config(delivery.remember_days))
        _add_queue(samples, queue)
        _add_fates(
            samples, queue, (source.name for source in self.configuration.sources if name in source.destinations)
        )
        _add_replays(samples, queue)
        _add_ledger(samples, queue)
        _add_admission(samples, queue, delivery.requests_per_s)


def _add_redis(samples: Samples, client: redis.Redis) -> None:
    try:
        infos: list[dict[str, Any]] = [
            server.info("memory", "persistence", "replication") for server in servers(client).values()
        ]
    except redis.ResponseError:  # an ACL may forbid INFO
        return
    samples.add(registry.REDIS_SAFE, all(map(_is_safe, infos)))
    fullest = max(infos, key=lambda info: info["used_memory"] / (info["maxmemory"] or math.inf))
    samples.add(registry.REDIS_MEMORY, fullest["used_memory"])
    samples.add(registry.REDIS_MEMORY_LIMIT, fullest["maxmemory"])


def _is_safe(info: dict[str, Any]) -> bool:
    return (info.get("aof_enabled"), info.get("maxmemory_policy"), info.get("role")) == (1, "noeviction", "master")


def _add_processes(samples: Samples, client: redis.Redis) -> None:
    samples.add(registry.WORKERS, heartbeat.count(client))
    processes = configurations.running(client)
    for configuration, number in Counter(process.configuration for process in processes).items():
        samples.add(registry.PROCESSES, number, configuration)
    samples.add(registry.CONFIGURATION_REFUSALS, sum(process.fault is not None for process in processes))


def _add_sources(samples: Samples, client: redis.Redis, configuration: Configuration) -> None:
    totals = counters.totals(client)
    for source in configuration.sources:
        found = totals.get(source.name, {})
        for result in _RESULTS:
            samples.add(registry.INGEST_EVENTS, found.get(result, 0), source.name, result)
        for remark in _REMARKS:
            samples.add(registry.INGEST_REMARKS, found.get(remark, 0), source.name, remark)
    for refused in counters.refusals(client):
        samples.add(registry.INGEST_REFUSALS, refused.number, refused.source, str(refused.status), refused.cause)


def _add_queue(samples: Samples, queue: lanes.Queue) -> None:
    name, stats = queue.name, lanes.stats(queue)
    for state in _STATES:
        samples.add(registry.QUEUE_EVENTS, getattr(stats, state), name, state)
    samples.add(registry.QUEUE_LIMIT, queue.limit, name)
    samples.add(registry.QUEUE_AGE, stats.oldest_age_s, name)
    for change in _CHANGES:
        samples.add(registry.QUEUE_CHANGES, getattr(stats, f"{change}_total"), name, change)
    samples.add(registry.LONGEST_LANE, stats.hot[0].length if stats.hot else 0, name)
    samples.add(registry.DEAD_LETTERS_BLOCKING, stats.blocking, name)


def _add_fates(samples: Samples, queue: lanes.Queue, sources: Iterable[str]) -> None:
    """Add the events by fate. What has not happened yet is 0, so that a rate has a beginning."""
    found = {(source, fate, ""): 0 for source in sources for fate in ("accepted", "sent")}
    found |= {(source, fate, reason): events for fate, source, reason, events in lanes.fate_totals(queue)}
    dead = {(source, reason): events for (source, fate, reason), events in found.items() if fate == "dead"}
    for (source, fate, reason), events in found.items():
        if fate != "dead":
            samples.add(registry.EVENTS, events, queue.name, source, fate, reason)
    for (source, reason), events in dead.items() or [(("", ""), 0)]:
        samples.add(registry.DEAD_LETTERS, events, queue.name, source, reason)


def _add_replays(samples: Samples, queue: lanes.Queue) -> None:
    running = [found for found in (replay.read(queue, each) for each in replay.running(queue)) if found is not None]
    processed = sum(each.processed for each in running)
    samples.add(registry.REPLAY, processed, queue.name, "processed")
    samples.add(registry.REPLAY, sum(each.total for each in running) - processed, queue.name, "remaining")


def _add_ledger(samples: Samples, queue: lanes.Queue) -> None:
    state = ledger.read(queue)
    if state is not None:
        samples.add(registry.LEDGER_AGE, max(0.0, time.time() - state.seen_ms / 1000), queue.name)
        samples.add(registry.LEDGER_ENTRIES, state.entries, queue.name)
        samples.add(registry.LEDGER_DISCARDED, state.discarded, queue.name)


def _add_admission(samples: Samples, queue: lanes.Queue, limit_per_s: float) -> None:
    state, by_hand = admission.read(queue), overrides.read(queue)
    limit = by_hand.rate.requests_per_s if by_hand.rate else limit_per_s
    present = _state(state, by_hand)
    for each in _DESTINATION_STATES:
        samples.add(registry.DESTINATION_STATE, each == present, queue.name, each)
    samples.add(registry.RATE, state.rate(limit), queue.name)
    samples.add(registry.RATE_LIMIT, limit, queue.name)


def _state(state: AdmissionState, by_hand: Overrides) -> str:
    if by_hand.pause is not None:
        return "paused_by_operator"
    if state.paused:
        return "paused"
    if state.breaker == "open":
        return "breaker_open"
    return "waiting" if state.reason else "delivering"
