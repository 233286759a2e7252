"""Activity: who did what in the console, the replays, and the receipts of erased people."""

from __future__ import annotations

from typing import Any, Final

from console import forget
from console.errors import CommandError
from console.web import audit_log
from console.web.visit import Page, Result, Visit

_PAGE: Final = 50


def page(visit: Visit) -> Result:
    """Show the audit log and the receipts, page by page."""
    first = _first(visit.asked("first"))
    who, act = visit.asked("who"), visit.asked("act")
    found = audit_log.read(visit.session.client, 0, audit_log.KEPT) if who or act else None
    if found is None:
        entries = audit_log.read(visit.session.client, first, _PAGE + 1)
    else:
        entries = [entry for entry in found if _is_wanted(entry, who, act)][first : first + _PAGE + 1]
    queues = visit.session.queues(visit.session.chosen(visit.destination))
    receipts = forget.rows(queues)
    shown = {
        "entries": entries[:_PAGE],
        "next": first + _PAGE if len(entries) > _PAGE else None,
        "first": first,
        "who": who,
        "act": act,
        "receipts": receipts[:_PAGE],
        "more_receipts": max(0, len(receipts) - _PAGE),
        "kept": audit_log.KEPT,
    }
    data = {"audit": entries[:_PAGE], "receipts": receipts}
    return Page(template="activity.html", title="Activity", data=data, command="segue receipts", shown=shown)


def _is_wanted(entry: dict[str, Any], who: str, act: str) -> bool:
    return who in ("", entry["who"]) and act in ("", entry["act"])


def _first(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal() or len(text) > 5:
        raise CommandError("first: must be the position of an entry")
    return int(text)
