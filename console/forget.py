"""`segue forget`, `segue unsuppress` and `segue receipts`: whom to forget, what came of it, and that it was done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

import lanes
import mapping
from console.errors import CommandError
from console.operator import operator
from dead_letters import spill_files
from delivery import admission
from privacy import erasure, receipts
from privacy.purge import ErasureContext
from privacy.receipts import Receipt
from workers import heartbeat

_LOOK_S = 0.1
_KINDS = {
    "events": "events on the queue",
    "dead_letters": "dead letters",
    "spilled": "dead letters in spill files",
    "log": "entries of the delivery log",
    "message_ids": "message ids",
    "merged": "merges",
    "join": "ties of merged identities",
    "deleted": "deletions remembered",
    "identified": "times of updates",
    "recent_attributes": "recent updates",
    "replays": "filters of replays",
}


def person(user_ids: Sequence[str], emails: Sequence[str], anonymous_ids: Sequence[str]) -> mapping.Person:
    """Return whom the options name; raise CommandError when that is nobody."""
    named = mapping.Person(tuple(user_ids), tuple(emails), tuple(anonymous_ids))
    if not named.texts():
        raise CommandError("say who: --user-id, --email or --anonymous-id, each as often as needed")
    for option, texts in (("--user-id", user_ids), ("--email", emails), ("--anonymous-id", anonymous_ids)):
        if not all(texts):
            raise CommandError(f"{option}: must not be empty")
    if any("@" not in email for email in emails):
        raise CommandError("--email: must be an address like jo@example.com; an id goes into --user-id")
    return named


def forget(
    context: ErasureContext,
    whom: mapping.Person,
    action: mapping.PrivacyAction | None,
) -> dict[str, Any]:
    """Forget the person in one destination; return its receipt, the earlier ones, who else was named, and why it is
    not done if so."""
    if action is not None and not whom.user_ids and not whom.emails:
        raise CommandError(f"--{action}: Customer.io knows no anonymous ids; say --user-id or --email as well")
    try:
        if action is None:
            receipt, others = erasure.erase(context, whom, operator())
        else:
            receipt, others = erasure.request(context, whom, action, operator())
    except spill_files.TornFile as error:
        raise CommandError(f"{error}; mend or remove it, then run this again: not all is forgotten yet") from None
    receipt, why_not = _waited(context.queue, receipt)
    return {
        "destination": context.destination.name,
        **receipt.json(),
        "earlier": receipts.earlier(context.queue, receipt),
        "others": sorted(others),
        "waits_for": why_not,
    }


def _waited(queue: lanes.Queue, receipt: Receipt) -> tuple[Receipt, str | None]:
    """Wait until the receipt is done; return it, or as it is with the reason why nobody works on it now."""
    while receipt.state != "done":
        state = admission.read(queue)
        if heartbeat.count(queue.client) == 0:
            return receipt, "no worker runs; the next one that starts will finish it"
        if state.paused or state.breaker == "open":
            return receipt, f"deliveries are stopped ({state.reason}); it is finished when they go on"
        time.sleep(_LOOK_S)
        receipt = receipts.read(queue, receipt.id) or receipt
    return receipt, None


def told(results: Sequence[dict[str, Any]], rewriting: bool) -> Iterator[str]:
    """Yield the results as lines for people."""
    for one in results:
        again = f", again after {', '.join(one['earlier'])}" if one["earlier"] else ""
        yield f"{one['destination']}: receipt {one['id']} ({one['request']}): {one['state']}{again}"
        if one["waits_for"]:
            yield f"  {one['waits_for']}; `segue receipts` shows it"
        for kind, count in one["removed"].items():
            yield f"  {count:,} {_KINDS.get(kind, kind)} removed"
        if not one["removed"]:
            yield "  nothing was there"
    others = sorted({key for one in results for key in one["others"]})
    if others:
        yield f"events named others beside them; if these are the same person, forget them too: {', '.join(others)}"
    if rewriting:
        yield "Redis was asked to rewrite its append-only file, which still holds what was removed until that has ended"
    yield "copies of Redis' snapshot (RDB) and backups made before now are not reached: see docs/privacy.md"


def listed(queues: Sequence[lanes.Queue]) -> list[dict[str, Any]]:
    """Return all receipts of the destinations, the newest first of each."""
    return [{"destination": queue.name, **one.json()} for queue in queues for one in receipts.history(queue)]


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return receipts as a table."""
    drawn = Table(box=None, header_style="bold")
    for column in ("destination", "receipt", "when", "who", "what", "state", "removed"):
        drawn.add_column(column, overflow="fold")
    for row in rows:
        when = datetime.fromtimestamp(row["at_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        total = f"{sum(row['removed'].values()):,}"
        drawn.add_row(row["destination"], row["id"], when, row["requested_by"], row["request"], row["state"], total)
    return drawn
