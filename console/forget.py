"""`segue forget`, `segue unsuppress` and `segue receipts`: whom to forget, what came of it, and that it was done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from rich.console import Group, RenderableType

import mapping
from console import output
from console.errors import CommandError
from console.operator import operator
from dead_letters import spill_files
from delivery import admission
from privacy import erasure, receipts
from privacy.purge import Means
from privacy.receipts import Receipt
from workers import heartbeat

_LOOK_S = 0.1
_KINDS = {
    "events": "events on the queue",
    "letters": "dead letters",
    "spilled": "dead letters in spill files",
    "log": "entries of the delivery log",
    "message_ids": "message ids",
    "merged": "merges",
    "join": "ties of merged identities",
    "deleted": "deletions remembered",
    "identified": "times of updates",
    "recent": "recent updates",
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
    client: redis.Redis,
    destination: mapping.Destination,
    whom: mapping.Person,
    action: mapping.PrivacyAction | None,
    means: Means,
) -> dict[str, Any]:
    """Forget the person in one destination; return its receipt, the earlier ones, who else was named, and why it is
    not done if so."""
    if action is not None and not whom.user_ids and not whom.emails:
        raise CommandError(f"--{action}: Customer.io knows no anonymous ids; say --user-id or --email as well")
    try:
        if action is None:
            receipt, others = erasure.forget(client, destination, whom, means, operator())
        else:
            receipt, others = erasure.give(client, destination, whom, action, means, operator())
    except spill_files.TornFile as error:
        raise CommandError(f"{error}; mend or remove it, then run this again: not all is forgotten yet") from None
    receipt, why_not = _waited(client, destination.name, receipt)
    return {
        "destination": destination.name,
        **receipt.json(),
        "earlier": receipts.earlier(client, destination.name, receipt),
        "others": sorted(others),
        "waits_for": why_not,
    }


def _waited(client: redis.Redis, queue: str, receipt: Receipt) -> tuple[Receipt, str | None]:
    """Wait until the receipt is done; return it, or as it is with the reason why nobody works on it now."""
    while receipt.state != "done":
        state = admission.read(client, queue)
        if heartbeat.count(client) == 0:
            return receipt, "no worker runs; the next one that starts will finish it"
        if state.paused or state.breaker == "open":
            return receipt, f"deliveries are stopped ({state.reason}); it is finished when they go on"
        time.sleep(_LOOK_S)
        receipt = receipts.read(client, queue, receipt.id) or receipt
    return receipt, None


def told(results: Sequence[dict[str, Any]], rewriting: bool) -> Iterator[str]:
    """Yield the results as lines for people."""
    for one in results:
        again = f", again after {', '.join(one['earlier'])}" if one["earlier"] else ""
        yield f"{one['destination']}: receipt {one['id']} ({one['what']}): {one['state']}{again}"
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


def listed(client: redis.Redis, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return all receipts of the destinations, the newest first of each."""
    return [{"destination": name, **one.json()} for name in names for one in receipts.history(client, name)]


def render(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Return the receipts of `listed` as a list for people."""
    entries = []
    for row in rows:
        removed = f"{sum(row['removed'].values()):,} removed"
        facts = f"{output.utc(row['at_ms'])}  {row['destination']}: {row['what']}, {row['state']}, {removed}"
        entries.append((row["id"], facts, f"requested by {row['who']}"))
    return Group(output.entries(entries), output.counted(len(entries), "receipt"))
