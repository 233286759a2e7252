"""The lines of `segue shadow report` and `segue shadow compare` for people."""

from __future__ import annotations

from collections.abc import Iterator

from console.output import counted, utc
from mapping.envelope import JsonObject, encoded

_WORDS = {"changed": "differ", "only_ours": "only here", "only_theirs": "only there"}


def report_lines(found: JsonObject) -> Iterator[str]:
    """Yield lines for each subscription, each fate without a request, and each refusal.

    `found`: of `report.gather`; with a file of requests also `{"not_in_the_ledger", "repeated"}`.
    """
    if found["since"] is None:
        yield f"{found['destination']}: no row of the ledger; is `segue ledger` running?"
        return
    since, until = utc(found["since"]), utc(found["until"])
    yield f"{found['destination']}: {counted(found['events'], 'shadow event')}, {since} to {until}"
    for name, items in found["subscriptions"].items():
        yield f"  would be sent: {counted(items, 'operation')} of {name}"
    for row in found["not_sent"]:
        reason = f": {row['reason']}" if row["reason"] else ""
        yield f"  {row['fate']}: {counted(row['events'], 'event')}{reason}"
    for row in found["refused_by_mapping"]:
        yield f"  would become dead letters: {counted(row['events'], 'event')}: {row['reason']}"
        yield f"    message ids: {', '.join(row['examples'])}"
    for row in found["refused_by_customerio"]:
        items = counted(row["items"], "operation")
        yield f"  Customer.io would refuse: {items} of {row['subscription']}: {row['reason']}"
        yield f"    message ids: {', '.join(row['examples'])}"
    if found.get("not_in_the_ledger"):
        yield f"  only in the file, so not compared: {counted(found['not_in_the_ledger'], 'event')}"
    if found.get("repeated"):
        yield f"  repeated in the file, and counted once: {counted(found['repeated'], 'operation')}"


def difference_lines(found: JsonObject, theirs: str) -> Iterator[str]:
    """Yield a line for each group of differences, with an example. `found`: of `Differences.json`."""
    equal = counted(found["operations"]["equal"], "operation")
    yield f"  against {theirs}: {counted(found['events'], 'event')}, {equal} equal"
    for group in found["differences"]:
        yield f"    {_WORDS[group['kind']]}: {counted(group['count'], 'operation')}, {group['what']}"
        for change in group["examples"][0]["changes"]:
            before, after = (encoded(change[side]).decode() for side in ("before", "after"))
            yield f"      {change['field']}: there {before}, here {after}"
        yield f"      message ids: {', '.join(example['message_id'] for example in group['examples'])}"
