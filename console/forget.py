"""`segue forget`, `segue unsuppress`, `segue receipts`: the person that options name, and results as JSON and text.

`privacy.erasure` erases; this module waits for the workers to finish and prints the receipt. The console uses it too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType

import lanes
import mapping
from console import output
from console.errors import CommandError
from console.operator import operator
from console.state import available
from dead_letters import spill_files
from delivery import admission
from delivery.recording import ledger
from lanes import suppression
from privacy import erasure, purge, receipts
from privacy.erasure import Rewrite
from privacy.purge import ErasureContext
from privacy.receipts import Receipt

_POLL_S = 0.1
_ALONE = (
    f"more than {purge.MOST_TIED} identities were merged with this person and are not erased; "
    "erase those that belong to the person by name"
)
_NOT_COUNTED = "and, not counted here: rows of the ledger, lines of spill files, what is remembered of the identities"
# Kinds of removed data as receipts count them, and their names in the output.
KINDS: Final = {
    "events": "events on the queue",
    "dead_letters": "dead letters",
    "spilled": "dead letters in spill files",
    "log": "entries of the delivery log",
    "ledger": "rows of the ledger",
    "message_ids": "message ids",
    "merged": "merged identities",
    "join": "links between identities",
    "joined": "numbers of links",
    "cooled": "times of cooldowns",
    "identifier_changes": "numbers of changed identifiers",
    "address_conflicts": "address conflicts",
    "deleted": "times of deletions",
    "identified": "times of updates",
    "attribute_clocks": "attribute clocks",
    "recent_attributes": "recent attributes",
    "replays": "filters of replays",
}


def person(
    user_ids: Sequence[str],
    emails: Sequence[str],
    anonymous_ids: Sequence[str],
    action: mapping.PrivacyAction | None = None,
) -> mapping.Person:
    """Return the person that the options name.

    Raises CommandError: there is no identity, one is malformed, or Customer.io cannot identify the person of an action.
    """
    named = mapping.Person(tuple(user_ids), tuple(emails), tuple(anonymous_ids))
    if not named.texts():
        raise CommandError("name the person: --user-id, --email or --anonymous-id, each as often as needed")
    for option, texts in (("--user-id", user_ids), ("--email", emails), ("--anonymous-id", anonymous_ids)):
        if not all(texts):
            raise CommandError(f"{option}: must not be empty")
    if any("@" not in email for email in emails):
        raise CommandError("--email: must be an address like jo@example.com; use --user-id for an id")
    if action is not None and not user_ids and not emails:
        raise CommandError(f"--{action}: Customer.io does not know anonymous ids; add --user-id or --email")
    return named


def forget(context: ErasureContext, person: mapping.Person, action: mapping.PrivacyAction | None) -> dict[str, Any]:
    """Erase the person at one destination; with an action, Customer.io is asked to carry it out first.

    Returns the receipt's members and `{"destination", "earlier", "others", "is_alone", "waits_for"}`: the ids of
    earlier receipts of the same person, ordering keys of other people that the erased events named, whether too many
    identities were merged with the person to follow them, and why the receipt is not done, None when it is.

    Raises CommandError: a spill file is torn.
    """
    is_alone = purge.all_digests(context, person).is_too_large
    receipt, others = begin(context, person, action, operator())
    receipt, reason = _wait(context.queue, receipt)
    return {
        "destination": context.destination.name,
        **receipt.json(),
        "earlier": receipts.earlier(context.queue, receipt),
        "others": sorted(others),
        "is_alone": is_alone,
        "waits_for": reason,
    }


def begin(
    context: ErasureContext, person: mapping.Person, action: mapping.PrivacyAction | None, requested_by: str
) -> tuple[Receipt, set[str]]:
    """Erase the person at one destination as `forget` does, without waiting for what workers and the ledger do. A queue
    without a destination gets no privacy request.

    Returns the receipt, and ordering keys of other people that the erased events named. Raises CommandError: a spill
    file is torn.
    """
    try:
        if action is None or not context.is_configured:
            return erasure.erase(context, person, requested_by)
        return erasure.request(context, person, action, requested_by)
    except spill_files.TornFile as error:
        raise CommandError(f"{error}; repair or remove it, then repeat the command: some data is not erased") from None


def suppressed(context: ErasureContext, person: mapping.Person) -> int:
    """Return how many ordering keys of the person are suppressed."""
    return sum(suppression.suppressed(context.queue, sorted(purge.all_digests(context, person).digests)))


def plan(context: ErasureContext, person: mapping.Person) -> dict[str, Any]:
    """Return what `forget` would follow and remove at one destination: `{"destination"}` and the members of
    `privacy.purge.Plan`."""
    return {"destination": context.destination.name, **purge.plan(context, person)._asdict()}


def report_plans(plans: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the results of `plan` as lines."""
    for found in plans:
        yield f"{found['destination']}: nothing was erased; `segue forget` would erase:"
        for name in found["followed"]:
            yield f"  the merged identity {name}"
        if found["is_alone"]:
            yield f"  {_ALONE}"
        for kind in KINDS:
            if kind in found:
                yield f"  {KINDS[kind]}: {found[kind]:,}"
        yield f"  {_NOT_COUNTED}"


def _wait(queue: lanes.Queue, receipt: Receipt) -> tuple[Receipt, str | None]:
    """Wait until the receipt is done. Return it, and why it cannot be finished now, None when it is done."""
    while receipt.state != "done":
        if reason := waits_for(queue, receipt):
            return receipt, reason
        time.sleep(_POLL_S)
        receipt = receipts.read(queue, receipt.id) or receipt
    return receipt, None


def waits_for(queue: lanes.Queue, receipt: Receipt) -> str | None:
    """Return why a receipt cannot be finished now; None when it is done, or is being finished."""
    if receipt.state == "done":
        return None
    if receipt.state == "ledger":
        return None if ledger.runs(queue) else "no ledger is running; when it runs, it removes the rows of the person"
    if available.workers(queue.client) == 0:
        return "no worker is running; the next one finishes it"
    state = admission.read(queue)
    if state.paused or state.breaker == "open":
        return f"deliveries are stopped ({state.reason}); it is finished when they resume"
    return None


def report(results: Sequence[dict[str, Any]], rewrite: Rewrite) -> Iterator[str]:
    """Yield the results of `forget` as lines. `rewrite`: what became of the rewrite of Redis' append-only file."""
    for result in results:
        earlier = f"; earlier receipts: {', '.join(result['earlier'])}" if result["earlier"] else ""
        yield f"{result['destination']}: receipt {result['id']} ({result['request']}): {result['state']}{earlier}"
        if result["is_alone"]:
            yield f"  {_ALONE}"
        if result["waits_for"]:
            yield f"  {result['waits_for']}; `segue receipts` shows its state"
        for kind, count in result["removed"].items():
            yield f"  {KINDS.get(kind, kind)}: {count:,} erased"
        for name in result["files"]:
            yield f"  rewritten: {name}"
        if not result["removed"]:
            yield "  nothing to erase"
    others = sorted({key for result in results for key in result["others"]})
    if others:
        yield f"erased events also named {', '.join(others)}; if these are the same person, erase them too"
    if rewrite == "requested":
        yield "Redis rewrites its append-only file; until that ends, the file contains what was erased"
    elif rewrite == "refused":
        yield "Redis refuses to rewrite its append-only file, which contains what was erased; the workers try it again"
    yield "snapshots (RDB) and backups made before now still contain it: see docs/privacy.md"


def rows(queues: Iterable[lanes.Queue]) -> list[dict[str, Any]]:
    """Return all receipts of the destinations, the newest first of each: `{"destination"}` and a receipt's members."""
    return [{"destination": queue.name, **receipt.json()} for queue in queues for receipt in receipts.history(queue)]


def render(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Return the receipts of `rows` as a list for people."""
    entries = []
    for row in rows:
        erased = f"{sum(row['removed'].values()):,} erased"
        facts = f"{output.utc(row['at_ms'])}  {row['destination']}: {row['request']}, {row['state']}, {erased}"
        entries.append((row["id"], facts, f"requested by {row['requested_by']}"))
    return Group(output.entries(entries), output.counted(len(entries), "receipt"))
