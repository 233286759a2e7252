"""What `segue send` prints: the dry run, and the summary at the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from console.output import counted
from console.send.progress import duration
from console.send.tally import TRIGGERING, Tally

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def contents(tally: Tally) -> Iterator[str]:
    """Yield lines for what was read: counts, types and times, and what the operator should know of them."""
    yield f"{counted(tally.events, 'event')} to send, {counted(tally.rejected, 'record')} rejected"
    if not tally.events:
        return
    yield ", ".join(f"{kind} {count:,}" for kind, count in sorted(tally.types.items()))
    yield f"times from {_time(tally.first_ms)} to {_time(tally.last_ms)}"
    if tally.untimed:
        yield f"{counted(tally.untimed, 'event')} without a time: the time of their file is taken"
    if tally.unlikely_ids:
        yield f"{counted(tally.unlikely_ids, 'event')} with an unlikely id, such as undefined"
    if tally.removals:
        yield f"{counted(tally.removals, 'event')} of the types alias and delete: they merge or delete people as of now"


def campaigns(tally: Tally) -> Iterator[str]:
    """Yield the sentences on campaigns. An update has no age for them."""
    if tally.may_trigger:
        is_or_are = "is" if tally.may_trigger == 1 else "are"
        yield f"{counted(tally.may_trigger, 'event')} {is_or_are} younger than 72 hours and may trigger campaigns"
    elif not TRIGGERING.isdisjoint(tally.types):
        yield "no track, page or screen is younger than 72 hours, so none of them triggers a campaign"
    if updates := sum(tally.types.get(kind, 0) for kind in ("identify", "group")):
        what = counted(updates, "event") + (" updates" if updates == 1 else " update")
        yield f"{what} attributes: people may enter segments, which trigger campaigns at any age"


def expected(events: int, rate: float) -> str:
    """Return the line on the time that a transfer takes at most of its rate."""
    return f"at {rate:,.0f} events/s this takes {duration(events / rate)}"


def _time(ms: int) -> str:
    """Return a time as `2026-11-20 09:30:00Z`, also one before 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
