"""Every event of the log: its name, its level, its fields and what it says. docs/operations.md has the same list.

An event is written where a state changes or a request has no success, and never for an event that was delivered. The
fields hold no personal data and no secret: names and numbers of ours, statuses, counts. Texts of senders and of
Customer.io stay in the dead letters, the delivery log and the status, which can be erased.

A line of an event with a `cause` is summed up with its repetitions (`logs.repeats`): it has the field `count`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

import structlog

from logs.causes import cause, frames
from logs.repeats import Fields, Repeats

logger: Final = logging.getLogger("segue")
logger.addHandler(logging.NullHandler())  # a command that configures no log is quiet
_log: Final[structlog.stdlib.BoundLogger] = structlog.wrap_logger(
    logger,
    processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    wrapper_class=structlog.stdlib.BoundLogger,
)
REGISTRY: Final[list[LogEvent]] = []
repeats = Repeats()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """An event of the log. `cause`: those of its fields by which repetitions are summed up."""

    name: str
    level: int
    meaning: str
    fields: tuple[str, ...] = ()
    cause: tuple[str, ...] = ()

    def write(self, *, count: int = 1, **fields: Any) -> None:
        """Write a line with the fields, or count it with the next line of its cause. `count`: how often it happened."""
        if not logger.isEnabledFor(self.level):
            return
        if self.cause:
            repeats.add(self._write, self.name, {name: fields.get(name) for name in self.cause}, fields, count)
        else:
            self._write(fields)

    def _write(self, fields: Fields) -> None:
        _log.log(self.level, self.name, **fields)


def _event(level: int, name: str, fields: str, meaning: str, *, cause: str = "") -> LogEvent:
    """Add an event to the registry. `fields` and `cause` are separated by spaces; `cause` are the first fields."""
    names = (*cause.split(), *fields.split())
    event = LogEvent(name=name, level=level, meaning=meaning, fields=names, cause=tuple(cause.split()))
    REGISTRY.append(event)
    return event


_INFO, _WARNING, _ERROR, _CRITICAL = logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL

# Processes.
PROCESS_STARTED: Final = _event(
    _INFO,
    "process_started",
    "version configuration redis listens metrics destinations",
    "A process is ready. `configuration` is a digest of the file, `redis` an address without credentials, `metrics` "
    "where it serves its metrics.",
)
CONNECTIONS_LIMITED: Final = _event(
    _INFO, "connections_limited", "limits", "How many connections an ingest process accepts, at its start."
)
PROCESS_STOPPING: Final = _event(
    _INFO, "process_stopping", "", "A worker got SIGTERM. It finishes the requests that are under way."
)
PROCESS_STOPPED: Final = _event(_INFO, "process_stopped", "", "A process ended.")
PROCESS_REFUSED: Final = _event(
    _CRITICAL, "process_refused", "reason", "A process cannot start or go on, because its configuration is wrong."
)
CONFIGURATION_LOADED: Final = _event(
    _INFO, "configuration_loaded", "configuration before", "A process uses another configuration, by its digest."
)
CONFIGURATION_REFUSED: Final = _event(
    _ERROR, "configuration_refused", "reason", "A changed configuration has a fault. The process keeps its own."
)
QUEUE_STRANDED: Final = _event(
    _WARNING,
    "queue_stranded",
    "destination waiting dead_letters",
    "A queue has events or dead letters, and its destination is not configured. Nothing delivers them.",
)
CHILD_PROCESS: Final = _event(_WARNING, "child_process", "report", "A process of `segue up` ended or was restarted.")
METRICS_UNSERVED: Final = _event(
    _ERROR, "metrics_unserved", "error", "A process cannot listen for requests of its metrics. It works without."
)

# Redis.
REDIS_UNAVAILABLE: Final = _event(
    _WARNING,
    "redis_unavailable",
    "",
    "Redis is unavailable for a worker, or refuses a command. It tries again.",
    cause="destination error",
)
REDIS_AVAILABLE: Final = _event(_INFO, "redis_available", "", "A worker can use Redis again.")
QUEUE_UNUSABLE: Final = _event(
    _ERROR, "queue_unusable", "destination reason error", "Ingest cannot append to a queue, and refuses its events."
)
QUEUE_USABLE: Final = _event(_INFO, "queue_usable", "destination", "Ingest can append to the queue again.")
REDIS_UNSUITABLE: Final = _event(
    _WARNING,
    "redis_unsuitable",
    "reason",
    "Something is wrong with Redis, as a worker found at its start. `segue check --redis` finds the same.",
)
HISTORY_NOT_REWRITTEN: Final = _event(
    _ERROR,
    "history_not_rewritten",
    "error",
    "Redis refused to rewrite its append-only file, which contains what was erased. It is tried again in ten minutes.",
)
CLOCK_STEPPED: Final = _event(
    _WARNING,
    "clock_stepped",
    "destination seconds",
    "The clock of Redis stepped, as after a failover; less than 0: back. What was to come was moved by as much.",
)
WAKEUP_LOST: Final = _event(
    _WARNING,
    "wakeup_lost",
    "",
    "A wake-up was not sent. The next sweep delivers the events.",
    cause="destination error",
)

# Ingest.
REQUESTS_REFUSED: Final = _event(
    _WARNING,
    "requests_refused",
    "",
    "Requests were refused. `code` is that of the response, `field` the member at fault.",
    cause="status code field",
)
EVENTS_REJECTED: Final = _event(
    _WARNING,
    "events_rejected",
    "",
    "Events of requests that were accepted in part, or of an array, were rejected.",
    cause="source status code field",
)
REQUESTS_UNAUTHORIZED: Final = _event(
    _WARNING,
    "requests_unauthorized",
    "key_ends_in",
    "Requests had no key or signature of a source. Of a long key, the line has the last four characters.",
    cause="kind",
)
CONNECTIONS_REFUSED: Final = _event(
    _WARNING,
    "connections_refused",
    "causes network of_network",
    "Connections were refused or closed within 10 s, with their causes; how many from the most frequent network.",
)
ALIASES_DROPPED: Final = _event(
    _INFO, "aliases_dropped", "", "An alias named one person twice, so it was dropped.", cause="source"
)
UNLIKELY_ID: Final = _event(
    _WARNING, "unlikely_id", "source field", "An event has an id such as `undefined`. Once per source and process."
)

# Delivery.
REQUEST_FAILED: Final = _event(
    _WARNING,
    "request_failed",
    "items of_items request_id retry_after_s",
    "Customer.io did not accept a request, or some of its items. `status` is absent without a response.",
    cause="destination status reason",
)
EVENT_BURIED: Final = _event(
    _WARNING,
    "event_buried",
    "sequence message_id",
    "An event became a dead letter. `segue dead show` explains the one of this `sequence`.",
    cause="destination reason subscription action status",
)
OPERATION_UNAPPLIED: Final = _event(
    _WARNING,
    "operation_unapplied",
    "sequence message_id",
    "Customer.io accepted an operation that it will not apply, by its rules. `reason`: `address_conflict` or "
    "`cio_id_deleted`.",
    cause="destination reason",
)
DESTINATION_PAUSED: Final = _event(
    _ERROR, "destination_paused", "destination reason", "A destination is paused: its credentials or address are wrong."
)
DESTINATION_RESUMED: Final = _event(
    _INFO, "destination_resumed", "destination", "A pause ended, or a worker started with another configuration."
)
BREAKER_OPENED: Final = _event(
    _ERROR, "breaker_opened", "destination reason", "The circuit breaker opened. Nothing but probes is sent."
)
BREAKER_HALF_OPEN: Final = _event(
    _INFO,
    "breaker_half_open",
    "",
    "A worker sends a probe to a stopped destination.",
    cause="destination",
)
PROBE_FAILED: Final = _event(
    _WARNING, "probe_failed", "destination reason", "A probe failed. The next one waits longer."
)
BREAKER_CLOSED: Final = _event(_INFO, "breaker_closed", "destination", "A probe succeeded. Delivery continues.")
RATE_LOWERED: Final = _event(
    _WARNING,
    "rate_lowered",
    "requests_per_s",
    "The rate was cut: `throttled` by a 429, or `slow` responses. It recovers within 30 s.",
    cause="destination reason",
)
CLAIM_LOST: Final = _event(
    _WARNING,
    "claim_lost",
    "",
    "A claim lost events before they were settled. They are sent again.",
    cause="destination",
)
LEASE_ENDED: Final = _event(
    _WARNING,
    "lease_ended",
    "",
    "A lease ended before its claim was delivered. The rest was not sent.",
    cause="destination",
)
CLAIMS_EXPIRED: Final = _event(
    _WARNING,
    "claims_expired",
    "",
    "Claims of a worker that ended or hangs expired. `count` events returned to their lanes.",
    cause="destination",
)
IDENTIFIERS_UNBOUNDED: Final = _event(
    _WARNING,
    "identifiers_unbounded",
    "limit",
    "Identifiers changed their person more often than `limit`. Their changes have no cooldown for two hours.",
    cause="destination",
)
REQUESTS_UNRECORDED: Final = _event(
    _WARNING,
    "requests_unrecorded",
    "",
    "Redis is full, so the delivery log lacks `count` requests, which were sent, or discarded events.",
    cause="destination error",
)

# The ledger.
LEDGER_ENTRIES_DISCARDED: Final = _event(
    _WARNING,
    "ledger_entries_discarded",
    "",
    "The ledger lacks `count` requests or groups of decisions: Redis keeps no more until the ledger runs.",
    cause="destination",
)

LEDGER_ENTRY_UNREADABLE: Final = _event(
    _ERROR,
    "ledger_entry_unreadable",
    "",
    "Entries of the delivery log cannot be read. The ledger leaves them out.",
    cause="destination",
)
LEDGER_UNWRITTEN: Final = _event(
    _ERROR,
    "ledger_unwritten",
    "",
    "The ledger cannot be written or read. Redis keeps what is not written; the process tries again.",
    cause="destination error",
)
LEDGER_WAITS: Final = _event(
    _WARNING, "ledger_waits", "", "Another process writes the ledger. This one waits until it ends.", cause="reason"
)

# Dead letters and privacy.
DEAD_LETTERS_EXCEED: Final = _event(
    _WARNING, "dead_letters_exceed", "", "A limit of dead letters is exceeded.", cause="destination limit"
)
DEAD_LETTERS_SPILLED: Final = _event(
    _WARNING, "dead_letters_spilled", "destination dead_letters file", "Dead letters were moved to a spill file."
)
DEAD_LETTERS_UNBLOCKED: Final = _event(
    _WARNING,
    "dead_letters_unblocked",
    "destination dead_letters hours",
    "Dead letters had blocked later events for `hold_hours` and were unblocked.",
)
DEAD_LETTER_UNWRITABLE: Final = _event(
    _ERROR,
    "dead_letter_unwritable",
    "sequence",
    "A dead letter cannot be written as a line, so no file has it.",
    cause="destination error",
)
SPILL_FILE_UNUSABLE: Final = _event(
    _WARNING,
    "spill_file_unusable",
    "",
    "A spill file cannot be written or changed. Dead letters stay in Redis, an erasure is not finished.",
    cause="destination error",
)

# All.
UNHANDLED_EXCEPTION: Final = _event(
    _ERROR,
    "unhandled_exception",
    "at sequence receipt",
    "An exception that no code expected. `at` lists the functions, the innermost first. Its text may have data of an "
    "event, so it is left out.",
    cause="destination where error",
)
LIBRARY_MESSAGE: Final = _event(
    _WARNING,
    "library_message",
    "logger message error at",
    "A line of a library, or of the queue (`logger` is `lanes`).",
)


def unhandled(where: str, error: BaseException, **fields: Any) -> None:
    """Write that an exception was raised that no code expected. `where` says what failed."""
    UNHANDLED_EXCEPTION.write(where=where, error=cause(error), at=frames(error), **fields)
