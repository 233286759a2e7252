"""Erasing a person, and lifting a suppression, by the functions of `segue forget` and `segue unsuppress`.

The identities are typed, and go by POST: no address has one. The first page asks for them; the second one shows what
each step would remove and has the buttons; the receipt has an address without the person.
"""

from __future__ import annotations

import re
from typing import Any, Final

import lanes
import mapping
from console import forget
from console.errors import CommandError
from console.web import audit_log
from console.web.pages.people import require_digest
from console.web.visit import NotFound, Page, Redirect, Result, Visit, address
from mapping import Person
from privacy import erasure, purge, receipts
from privacy.purge import ErasureContext

_KINDS: Final = ("user_ids", "emails", "anonymous_ids")
_REQUESTS: Final[dict[str, mapping.PrivacyAction | None]] = {"erase": None, "delete": "delete", "suppress": "suppress"}
_DIGEST: Final = re.compile("[0-9a-f]{16}")
_MOST: Final = 50  # identities of a kind


def form(visit: Visit) -> Result:
    """Ask for the identities of the person."""
    return _page(visit, {"destination": visit.asked("destination"), "request": "erase", "person": None})


def plan(visit: Visit) -> Result:
    """Show what an erasure of the person would remove, and whether the person is suppressed."""
    request, person, contexts = _asked(visit)
    rows = [forget.plan(context, person) for context in contexts]
    for row, context in zip(rows, contexts, strict=True):
        row["suppressed"] = forget.suppressed(context, person)
        if not visit.user.is_revealing:
            row["followed"] = tuple(str(visit.shown_key(key)) for key in row["followed"])
    given = {"destination": visit.given("destination"), "request": request, "person": person}
    return _page(visit, given, rows)


def erase(visit: Visit) -> Result:
    """Erase the person, and show the receipts."""
    request, person, contexts = _asked(visit)
    begun = [(each, *forget.begin(each, person, _REQUESTS[request], visit.user.name)) for each in contexts]
    for context, receipt, _ in begun:
        facts = {"request": request, "receipt": receipt.id}
        audit_log.write(visit.session.client, visit.user, "forget", context.queue.name, **facts)
    erasure.rewrite_history(visit.session.client)
    others = sorted({lanes.digest(key).hex() for _, _, keys in begun for key in keys})
    ids = [receipt.id for _, receipt, _ in begun]
    return Redirect(address("/receipts", id=ids, other=others[:_MOST], done="erased"))


def unsuppress(visit: Visit) -> Result:
    """Accept events of the person again, here and at Customer.io."""
    _, person, contexts = _asked(visit)
    for context in (each for each in contexts if each.is_configured):
        count = erasure.unsuppress(context, person)
        audit_log.write(visit.session.client, visit.user, "unsuppress", context.queue.name, count=count)
    return Redirect(f"/people/{visit.parts['digest']}?done=unsuppressed")


def receipts_page(visit: Visit) -> Result:
    """Show the receipts that the address names, each with what it waits for."""
    ids, others = visit.query.get("id", ())[:_MOST], visit.query.get("other", ())[:_MOST]
    rows: list[dict[str, Any]] = []
    for queue in visit.session.all_queues(None):
        found = [receipt for each in ids if (receipt := receipts.read(queue, each)) is not None]
        rows += [
            {"destination": queue.name, **each.json(), "waits_for": forget.waits_for(queue, each)} for each in found
        ]
    if not rows:
        raise NotFound("There is no such receipt.")
    shown = {"kinds": forget.KINDS, "others": [each for each in others if _DIGEST.fullmatch(each)]}
    return Page(template="receipts.html", title="Receipt", data=rows, command="segue receipts", shown=shown)


def _asked(visit: Visit) -> tuple[str, Person, list[ErasureContext]]:
    """Return the request, the person and the queues of the form.

    Raises CommandError: no identity is given, one is malformed, or they are not of the person of the address.
    """
    request = visit.given("request") or "erase"
    if request not in _REQUESTS:
        raise CommandError(f"request: must be one of {', '.join(_REQUESTS)}")
    user_ids, emails, anonymous_ids = (_lines(visit.given(kind)) for kind in _KINDS)
    person = forget.person(user_ids, emails, anonymous_ids, _REQUESTS[request])
    contexts = visit.session.erasure_contexts(visit.given("destination") or None)
    if not any(_digest(visit) in purge.all_digests(context, person).digests for context in contexts):
        raise CommandError("None of these identities is of the person of this page. Nothing was changed.")
    return request, person, contexts


def _lines(text: str) -> list[str]:
    found = [line.strip() for line in text.split("\n") if line.strip()]
    if len(found) > _MOST:
        raise CommandError(f"Give at most {_MOST} identities of a kind.")
    return found


def _digest(visit: Visit) -> bytes:
    """Return the digest of the address. Raises NotFound."""
    return bytes.fromhex(require_digest(visit.parts["digest"]))


def _page(visit: Visit, given: dict[str, Any], rows: list[dict[str, Any]] | None = None) -> Page:
    person = given["person"] or Person()
    shown = {
        "digest": _digest(visit).hex(),
        "rows": rows,
        "kinds": forget.KINDS,
        "request": given["request"],
        "picked": given["destination"],
        "texts": {kind: "\n".join(getattr(person, kind)) for kind in _KINDS},
    }
    command = "segue forget --user-id ID --dry-run"
    return Page(template="forget.html", title="Erase a person", data=rows, command=command, shown=shown)
