"""Activity: who did what in the console, the replays, and the receipts of erased people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import orjson

from console import forget
from console.errors import CommandError
from console.web import audit_log, choice
from console.web.pages.transfers import chunked
from console.web.visit import Download, Page, Result, Visit, address

_PAGE: Final = 50
_READ: Final = 500  # entries at once
_CONDITIONS: Final = ("who", "act", "destination", "since", "until")
# What is recorded, by the verbs of `console.web.audit_log`.
_ACTS: Final = (
    *("sign in", "reveal", "pause", "resume", "rate", "end rate", "plan", "replay", "cancel", "skip", "purge"),
    *("edit", "export", "import", "send", "forget", "unsuppress"),
)


def page(visit: Visit) -> Result:
    """Show the audit log and the receipts, page by page."""
    first, wanted = _first(visit.asked("first")), _wanted(visit)
    entries = list(islice(_entries(visit, wanted), first, first + _PAGE + 1))
    names = list(visit.session.destinations)
    queues = visit.session.queues(name for name in names if wanted["destination"] in ("", name))
    receipts = forget.rows(queues)
    shown = {
        "entries": entries[:_PAGE],
        "next": first + _PAGE if len(entries) > _PAGE else None,
        "first": first,
        "wanted": wanted,
        "acts": _ACTS,
        "named": names if wanted["destination"] in ("", *names) else [*names, wanted["destination"]],
        "conditions": [
            {"name": name, "value": value, "without": address("/activity", **{**wanted, name: ""})}
            for name, value in wanted.items()
            if value
        ],
        "receipts": receipts[:_PAGE],
        "more_receipts": max(0, len(receipts) - _PAGE),
        "kept": audit_log.KEPT,
    }
    data = {"audit": entries[:_PAGE], "receipts": receipts}
    return Page(template="activity.html", title="Activity", data=data, command="segue receipts", shown=shown)


def export(visit: Visit) -> Result:
    """Send the entries that the filter of the address matches as JSON lines, the newest first."""
    lines = (orjson.dumps(entry) for entry in _entries(visit, _wanted(visit)))
    return Download("segue-activity.jsonl", chunked(lines))


def _wanted(visit: Visit) -> dict[str, str]:
    """Return the conditions of the address. Raises CommandError: a time is invalid."""
    wanted = {name: visit.asked(name) for name in _CONDITIONS}
    for name in ("since", "until"):
        choice.moment(name, wanted[name])
    return wanted


def _entries(visit: Visit, wanted: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the entries that all conditions match, the newest first."""
    since_ms, until_ms = (choice.moment(name, wanted[name]) for name in ("since", "until"))
    for first in range(0, audit_log.KEPT, _READ):
        page = audit_log.read(visit.session.client, first, _READ)
        for entry in page:
            has_names = all(wanted[name] in ("", entry[name]) for name in ("who", "act", "destination"))
            is_later = since_ms is None or entry["at_ms"] >= since_ms
            if has_names and is_later and (until_ms is None or entry["at_ms"] < until_ms):
                yield entry
        if len(page) < _READ:
            return


def _first(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal() or len(text) > 5:
        raise CommandError("first: must be the position of an entry")
    return int(text)
