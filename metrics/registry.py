"""Every metric: its name, kind, labels and what it says. docs/metrics.md has the same list.

The words are those of docs/glossary.md. Labels are names of the configuration and words of ours; never a person, an
event or a text of a sender. Units are seconds and bytes.

What Redis has is served by one process, `segue metrics`, so that a sum over processes counts it once. What a process
counts itself is served by the process.
"""

from __future__ import annotations

from typing import Final

from metrics.figures import Count, Histogram, Kind, Metric, Role

REGISTRY: Final[list[Metric]] = []


def _metric(kind: Kind, name: str, labels: str, meaning: str, served_by: Role | None = "metrics") -> Metric:
    """Add a metric that is read when it is asked for. `labels` are separated by spaces."""
    metric = Metric(name=name, kind=kind, labels=tuple(labels.split()), meaning=meaning, served_by=served_by)
    REGISTRY.append(metric)
    return metric


def _histogram(served_by: Role, name: str, labels: str, bounds: tuple[float, ...], meaning: str) -> Histogram:
    metric = Histogram(name=name, labels=tuple(labels.split()), meaning=meaning, served_by=served_by, bounds=bounds)
    REGISTRY.append(metric)
    return metric


def _count(served_by: Role, name: str, labels: str, meaning: str) -> Count:
    metric = Count(name=name, labels=tuple(labels.split()), meaning=meaning, served_by=served_by)
    REGISTRY.append(metric)
    return metric


# The set-up.
PROCESS_INFO: Final = _metric(
    "gauge", "segue_process_info", "role version", "1, with the role and the version of the process.", None
)
WORKERS: Final = _metric("gauge", "segue_workers", "", "Worker processes with a heartbeat in the last 5 s.")
PROCESSES: Final = _metric(
    "gauge",
    "segue_processes",
    "configuration",
    "Running processes by the digest of the configuration that they use.",
)
CONFIGURATION_REFUSALS: Final = _metric(
    "gauge",
    "segue_configuration_refusals",
    "",
    "Running processes that refused the configuration file at the last load.",
)

# Redis.
REDIS_UP: Final = _metric(
    "gauge", "segue_redis_up", "", "1 if Redis could be read; 0 if not, and then figures of Redis are absent."
)
REDIS_SAFE: Final = _metric(
    "gauge", "segue_redis_safe", "", "1 if Redis writes to disk, evicts nothing and is no replica, else 0."
)
REDIS_MEMORY: Final = _metric(
    "gauge", "segue_redis_memory_bytes", "", "The memory that Redis uses; of a cluster, that of the fullest primary."
)
REDIS_MEMORY_LIMIT: Final = _metric(
    "gauge", "segue_redis_memory_limit_bytes", "", "The `maxmemory` of the same Redis; 0 without one."
)

# What arrives.
INGEST_EVENTS: Final = _metric(
    "counter",
    "segue_ingest_events_total",
    "source result",
    "Events by what became of them at ingest: accepted, duplicates, suppressed, rejected, dropped.",
)
INGEST_REMARKS: Final = _metric(
    "counter",
    "segue_ingest_remarks_total",
    "source remark",
    "Events about which something is remarkable, such as `unlikely_ids` or `throttled`.",
)
INGEST_REFUSALS: Final = _metric(
    "counter",
    "segue_ingest_refusals_total",
    "source status cause",
    "Refused requests, and refused events of accepted ones, by HTTP status and the member at fault or the code.",
)
INGEST_DURATION: Final = _histogram(
    "ingest",
    "segue_ingest_request_duration_seconds",
    "status",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    "The time from the head of a request to its response, by HTTP status.",
)

# The queues.
QUEUE_EVENTS: Final = _metric(
    "gauge",
    "segue_queue_events",
    "destination state",
    "Unfinished events: ready, delayed, claimed or blocked.",
)
QUEUE_LIMIT: Final = _metric(
    "gauge", "segue_queue_limit_events", "destination", "The most unfinished events; beyond it ingest refuses events."
)
QUEUE_AGE: Final = _metric(
    "gauge",
    "segue_queue_oldest_age_seconds",
    "destination",
    "The time since the oldest unfinished event was accepted; 0 when there is none.",
)
QUEUE_CHANGES: Final = _metric(
    "counter",
    "segue_queue_changes_total",
    "destination change",
    "Events by what happened to them in the queue: duplicates, reordered, released, reaped, buried or missing.",
)
LONGEST_LANE: Final = _metric(
    "gauge",
    "segue_lane_longest_events",
    "destination",
    "The length of the longest lane; 0 while no lane has reached 1,000 events.",
)
EVENTS: Final = _metric(
    "counter",
    "segue_events_total",
    "destination source fate reason",
    "Events that were accepted, and events by their fate: sent, filtered, unmatched, dropped, forgotten and others.",
)
DEAD_LETTERS: Final = _metric(
    "gauge", "segue_dead_letters", "destination source reason", "Dead letters, by the reason of their failure."
)
DEAD_LETTERS_BLOCKING: Final = _metric(
    "gauge", "segue_dead_letters_blocking", "destination", "Dead letters whose successors wait."
)
REPLAY: Final = _metric(
    "gauge",
    "segue_replay_dead_letters",
    "destination state",
    "Dead letters of the running replays: processed or remaining.",
)

# What leaves.
LEDGER_AGE: Final = _metric(
    "gauge",
    "segue_ledger_age_seconds",
    "destination",
    "The time since the process of the ledger last ran; absent without a ledger.",
)
LEDGER_ENTRIES: Final = _metric(
    "counter",
    "segue_ledger_entries_total",
    "destination",
    "Requests, and groups of decisions, that were written to the files of the ledger.",
)
LEDGER_DISCARDED: Final = _metric(
    "counter",
    "segue_ledger_discarded_total",
    "destination",
    "Requests, and groups of decisions, that Redis had no room for until the ledger ran.",
)

DESTINATION_STATE: Final = _metric(
    "gauge",
    "segue_destination_state",
    "destination state",
    "1 for the present state, 0 for the others: delivering, paused_by_operator, paused, breaker_open, waiting.",
)
RATE: Final = _metric(
    "gauge",
    "segue_delivery_rate_requests_per_second",
    "destination",
    "The present rate limit, which 429 and slow responses lower for a time.",
)
RATE_LIMIT: Final = _metric(
    "gauge",
    "segue_delivery_rate_limit_requests_per_second",
    "destination",
    "The rate limit that an operator has set, else the configured one, `requests_per_s`.",
)
DELIVERY_REQUESTS: Final = _count(
    "worker",
    "segue_delivery_requests_total",
    "destination status",
    "Requests to Customer.io by HTTP status; `none` without a response.",
)
DELIVERY_DURATION: Final = _histogram(
    "worker",
    "segue_delivery_request_duration_seconds",
    "destination",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
    "The time from sending a request to its response.",
)
DELIVERY_LATENCY: Final = _histogram(
    "worker",
    "segue_delivery_latency_seconds",
    "destination",
    (0.05, 0.1, 0.25, 0.5, 1, 1.25, 1.5, 2, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600),
    "The time from the acceptance of an event to Customer.io's acknowledgement of it, for each of its operations.",
)

# What a process counts itself, by its role.
COUNTED: Final[dict[Role, tuple[Count | Histogram, ...]]] = {
    role: tuple(metric for metric in REGISTRY if isinstance(metric, Count | Histogram) and metric.served_by == role)
    for role in ("metrics", "ingest", "worker")
}
