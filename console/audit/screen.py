"""The lines of `segue audit` for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from console.output import counted
from lanes import fates


def render(result: dict[str, Any]) -> Iterator[str]:
    """Yield a line that says whether the destination balances, its fates, and a line for each difference. `result`: of
    `accounts.gather`."""
    state = "balanced" if result["balanced"] else "NOT balanced"
    name = result["destination"] if result["configured"] else f"{result['destination']} (not configured)"
    yield f"destination {name}: {state}, {counted(result['accepted'], 'event')} accepted"
    for fate in (*fates.FATES, "waiting"):
        number = sum(row[fate] for row in result["hours"])
        if number:
            yield f"  {fate:<10} {number:>13,}"
    for row in result["hours"]:
        if row["difference"]:
            yield f"  {row['hour']} source {row['source'] or 'unknown'}: {row['difference']:+,} events differ"
    for missing in result["missing"]:
        event = f"event {missing['sequence']}, " if missing["sequence"] else ""
        message_id = f"message id {missing['message_id']}, " if missing["message_id"] else ""
        yield f"  {event}{message_id}{missing['text']}"
