"""`segue shadow report`: what shadow events would have sent, and what Customer.io would refuse of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import orjson

from console.moving.rules import refusal
from mapping.envelope import JsonObject
from mapping.operation import METRICS_PATH

if TYPE_CHECKING:
    from ledger.rows import Row

SHADOWED = "shadowed"
_NOT_SENT = ("filtered", "unmatched", "dropped")
_MOST_EXAMPLES = 3


def gather(rows: Iterable[Row], destination: str) -> JsonObject:
    """Return `{"destination", "events", "since", "until", "subscriptions": {NAME: items}, "not_sent": [{"fate",
    "reason", "events"}], "refused_by_mapping": [{"reason", "events", "examples"}], "refused_by_customerio": [{"reason",
    "subscription", "items", "examples"}]}`.

    `rows` are those of the ledger; `since` and `until` are the times of the first and the last, Unix milliseconds, or
    null. `examples` are message ids.
    """
    subscriptions: Counter[str] = Counter()
    not_sent: Counter[tuple[str, str]] = Counter()
    mapping_faults: defaultdict[str, list[str]] = defaultdict(list)
    service_faults: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    events, times = set(), []
    for row in rows:
        times.append(row.sent_ms)
        if row.outcome in _NOT_SENT:
            not_sent[row.outcome, row.reason or ""] += 1
        elif row.outcome == SHADOWED and row.path is None:
            events.add(row.message_id)
            mapping_faults[row.reason or ""].append(row.message_id)
        elif row.outcome == SHADOWED:
            events.add(row.message_id)
            name = row.reason or "privacy request"
            subscriptions[name] += 1
            found = None if row.body is None or row.path == METRICS_PATH else refusal(orjson.loads(row.body))
            if found is not None:
                service_faults[found, name].append(row.message_id)
    return {
        "destination": destination,
        "events": len(events),
        "since": min(times, default=None),
        "until": max(times, default=None),
        "subscriptions": dict(subscriptions.most_common()),
        "not_sent": [
            {"fate": fate, "reason": reason, "events": count} for (fate, reason), count in not_sent.most_common()
        ],
        "refused_by_mapping": [
            {"reason": reason, "events": len(ids), "examples": ids[:_MOST_EXAMPLES]}
            for reason, ids in sorted(mapping_faults.items(), key=lambda each: -len(each[1]))
        ],
        "refused_by_customerio": [
            {"reason": reason, "subscription": name, "items": len(ids), "examples": ids[:_MOST_EXAMPLES]}
            for (reason, name), ids in sorted(service_faults.items(), key=lambda each: -len(each[1]))
        ],
    }


def operations(rows: Iterable[Row], outcomes: Iterable[str]) -> dict[str, list[JsonObject]]:
    """Return the operations of the items with one of these outcomes, by message id, in the order of sending."""
    wanted, found = frozenset(outcomes), defaultdict[str, list[JsonObject]](list)
    for row in sorted(rows, key=lambda row: (row.sent_ms, row.sequence)):
        if row.path is not None and row.body is not None and row.outcome in wanted:
            found[row.message_id].append(orjson.loads(row.body))
    return dict(found)
