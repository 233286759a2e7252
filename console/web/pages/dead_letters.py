"""Dead letters: the kinds of errors, the list behind a filter, and one dead letter."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

import orjson

import lanes
from console.dead import editing, listing
from console.errors import CommandError
from console.output import counted
from console.web import audit_log, choice, cookies, layout
from console.web.choice import Choice
from console.web.pages import people
from console.web.visit import NotFound, Page, Redirect, Result, Visit, address, number_of
from dead_letters import query, record
from dead_letters.query import Filter
from dead_letters.record import DeadLetter, Reason
from mapping.envelope import encoded

_MOST: Final = 50  # dead letters of a page
_MOST_READ: Final = 2000  # for one page
_MOST_KINDS: Final = 100
# What helps against dead letters of a reason.
REMEDIES: Final = {
    "invalid": "Change the mapping, or edit the events; then replay.",
    "rejected": "Read what Customer.io says, change the mapping or the events; then replay.",
    "exhausted": "The attempts ended before Customer.io accepted it. Replay when it is available.",
    "poison": "Workers ended while they had the event. Look at it before a replay.",
    "deleted": "The event is older than the deletion of its person. Skip it, unless the person is to return.",
    "internal": "Segue failed on the event: report it, and replay with a version without the fault.",
}


def page(visit: Visit) -> Result:
    """Show the kinds of errors, or with `view=list` the dead letters, that match the filter of the address."""
    queue = queue_of(visit)
    seen = layout.seen_now(visit.state, queue.name, visit.cookies.get(cookies.SEEN))
    return replace(_page(visit, queue), cookies={cookies.SEEN: seen})


def _page(visit: Visit, queue: lanes.Queue) -> Page:
    chosen = choice.of(visit.query, visit.user)
    shown: dict[str, Any] = {
        "destination": queue.name,
        "chosen": chosen,
        "chips": chips(queue.name, chosen, visit.asked("view")),
        "total": lanes.count_dead_letters(queue)[0],
        "reasons": list(Reason),
        "sources": [row["name"] for row in visit.state.figures()["sources"]],
        "remedies": REMEDIES,
        "view": visit.asked("view"),
        "picked": queue.name,
        "has_all": False,
    }
    command = f"segue dead list {chosen.options} --destination {queue.name}".replace("  ", " ")
    if visit.asked("view") != "list":
        rows, counted_at_ms = visit.state.groups.latest(queue, chosen.wanted)
        count = sum(row["count"] for row in rows or ())
        shown |= {"groups": rows and most_frequent(rows), "further": further(rows or [])}
        shown |= {"count": count, "counted_at_ms": counted_at_ms}
        return Page(template="dead.html", title="Dead letters", data=rows, command=f"{command} --group", shown=shown)
    after = _number(visit.asked("after"))
    found, read_to = _listed(queue, chosen.wanted, after)
    rows = [_row(visit, queue.name, dead_letter) for dead_letter in found]
    shown |= {"rows": rows, "read_to": read_to, "after": after}
    data = [masked(visit, listing.listed_json(visit.session, queue.name, each)) for each in found]
    return Page(template="dead.html", title="Dead letters", data=data, command=command, shown=shown)


def find(visit: Visit) -> Result:
    """Lead to the filter of a form. The person of the form is named by identity, in the address by digest."""
    fields = {name: visit.given(name) for name in (*choice.TEXTS, "view", "destination")}
    if fields["person"] and not fields["person"].startswith("digest:"):
        name = visit.session.only(fields["destination"] or None).name
        key = people.key_of(fields["person"], visit.session.destinations[name].identifiers)
        fields["person"] = f"digest:{lanes.digest(key).hex()}"
    choice.of({name: [value] for name, value in fields.items()}, visit.user)
    return Redirect(address("/dead", **fields))


def details(visit: Visit) -> Result:
    """Show a dead letter, with what sending it now would come to."""
    queue, dead_letter = _dead_letter(visit)
    destination = visit.session.destinations[queue.name]
    data = masked(visit, listing.details(queue, destination, dead_letter))
    person = listing.person_of(destination, dead_letter)
    shown = {
        "destination": queue.name,
        "person": visit.shown_key(person),
        "digest": lanes.digest(person).hex() if person else None,
        "is_edited": dead_letter.is_edited,
        "seen": seen(dead_letter),
        "can_edit": visit.user.is_revealing and visit.user.may("edit"),
        "remedy": REMEDIES[dead_letter.failure.reason],
        "can_test": visit.user.may("test"),
    }
    command = f"segue dead show {dead_letter.sequence} --destination {queue.name}"
    title = f"Dead letter {dead_letter.sequence}"
    return Page(template="dead_letter.html", title=title, data=data, command=command, shown=shown)


def edit(visit: Visit) -> Result:
    """Replace the event of a dead letter, unless it was changed after the form was made."""
    queue, dead_letter = _dead_letter(visit)
    if visit.given("seen") != seen(dead_letter):
        raise CommandError("The dead letter was edited meanwhile. Read it again; nothing was changed.")
    try:
        event = orjson.loads(visit.given("event"))
    except orjson.JSONDecodeError as error:
        raise CommandError(f"The event is not JSON: {error}. Nothing was changed.") from None
    if not isinstance(event, dict):
        raise CommandError("The event must be an object. Nothing was changed.")
    edits, destination = editing.Edits(is_dry_run=False), visit.session.destinations[queue.name]
    patch = encoded([{"op": "replace", "path": "", "value": event}]).decode()
    editing.edit_all(edits, queue, destination, Filter(ids=(dead_letter.sequence,)), patch)
    if edits.refused:
        raise CommandError(f"It cannot be edited: {edits.refused[0][1]}. Nothing was changed.")
    if edits.edited:
        audit_log.write(visit.session.client, visit.user, "edit", queue.name, sequence=dead_letter.sequence)
    done = "edited" if edits.edited else "unchanged"
    return Redirect(f"/dead/{queue.name}/{dead_letter.sequence}?done={done}")


def most_frequent(kinds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the kinds of errors that a page shows. They come with the most frequent first."""
    return kinds[:_MOST_KINDS]


def further(kinds: list[dict[str, Any]]) -> str:
    """Return what a page says of the other kinds: `20 more kinds with 35 dead letters`; empty without others."""
    others = kinds[_MOST_KINDS:]
    if not others:
        return ""
    return f"{counted(len(others), 'more kind')} with {counted(sum(row['count'] for row in others), 'dead letter')}"


def seen(dead_letter: DeadLetter) -> str:
    """Return a text that changes when the dead letter is edited."""
    return sha256(dead_letter.stored.body + dead_letter.stored.failure).hexdigest()[:16]


def queue_of(visit: Visit) -> lanes.Queue:
    """Return the queue of the destination that the address names; else the first one that has dead letters."""
    if visit.destination:
        return visit.session.queue(visit.destination)
    queues = listing.queues(visit.session, None)
    return next((queue for queue in queues if lanes.count_dead_letters(queue)[0]), queues[0])


def chips(destination: str, chosen: Choice, view: str) -> list[dict[str, str]]:
    """Return the conditions of a filter, each with the address of the page without it."""
    texts = chosen.fields
    found = []
    for name, value in texts.items():
        if value:
            fields = {other: text for other, text in texts.items() if other != name}
            shown = f"{len(value):,} selected" if name == "ids" else str(value)
            found.append(
                {
                    "name": name,
                    "value": shown,
                    "without": address("/dead", destination=destination, view=view, **fields),
                }
            )
    return found


def masked(visit: Visit, json: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a dead letter as the user may see it."""
    if visit.user.is_revealing:
        return json
    found = {
        **json,
        "message": visit.shown_text(json["message"]),
        "faults": [_masked_request(visit, fault) for fault in json["faults"]],
        "accepted": [_masked_request(visit, request) for request in json["accepted"]],
        "unsent": [_masked_request(visit, request) for request in json["unsent"]],
        "attempts": [{**attempt, "reason": visit.shown_text(attempt["reason"])} for attempt in json["attempts"]],
        "keys": [visit.shown_key(key) for key in json["keys"]],
        "event": visit.shown_content(json["event"]),
    }
    if "original" in json:
        found["original"] = visit.shown_content(json["original"])
    if "person" in json:
        found["person"] = visit.shown_key(json["person"])
    if "would_send" in json:
        found["would_send"] = _masked_dry_run(visit, json["would_send"])
        found["waiting"] = [
            {**waiting, "message_id": visit.shown_id(waiting["message_id"])} for waiting in json["waiting"]
        ]
    return found


def _masked_request(visit: Visit, json: dict[str, Any]) -> dict[str, Any]:
    found = dict(json)
    if "message" in json:
        found["message"] = visit.shown_text(json["message"])
    for name in ("payload", "request"):
        if json.get(name) is not None:
            found[name] = visit.shown_content(json[name])
    if json.get("response"):
        found["response"] = {**json["response"], "body": visit.shown_text(json["response"]["body"])}
    return found


def _masked_dry_run(visit: Visit, json: dict[str, Any]) -> dict[str, Any]:
    return {
        "operations": [visit.shown_content(operation) for operation in json["operations"]],
        "failures": [visit.shown_text(failure) for failure in json["failures"]],
        "changes": [
            {
                "field": visit.shown_text(change["field"]),
                "before": visit.shown_content(change["before"]),
                "after": visit.shown_content(change["after"]),
            }
            for change in json["changes"]
        ],
        "risks": json["risks"],
    }


def _dead_letter(visit: Visit) -> tuple[lanes.Queue, DeadLetter]:
    """Return the dead letter of the address. Raises NotFound."""
    queue, text = visit.session.queue(visit.named_destination()), visit.parts["sequence"]
    sequence = number_of(text, 10**15)
    found = [] if sequence is None else lanes.get_dead_letters(queue, [sequence])
    if not found:
        raise NotFound(f"{queue.name} has no dead letter {text[:20]}. It was replayed, skipped or removed.")
    return queue, record.read(found[0])


def _listed(queue: lanes.Queue, wanted: Filter, after: int) -> tuple[list[DeadLetter], int | None]:
    """Return the next dead letters that match, and the sequence behind which more may follow, None at the end."""
    found: list[DeadLetter] = []
    read = 0
    while read < _MOST_READ:
        page, last = query.page(queue, wanted, after=after)
        if last is None:
            return found, None
        for dead_letter in page:
            found.append(dead_letter)
            if len(found) == _MOST:
                return found, dead_letter.sequence
        after, read = last, read + query.PAGE
    return found, after


def _row(visit: Visit, name: str, dead_letter: DeadLetter) -> dict[str, Any]:
    destination = visit.session.destinations[name]
    person = listing.person_of(destination, dead_letter)
    return {
        "sequence": dead_letter.sequence,
        "name": dead_letter.name,
        "source": dead_letter.source,
        "reason": dead_letter.failure.reason.value,
        "action": dead_letter.action,
        "message": visit.shown_text(dead_letter.failure.message),
        "buried_at_ms": dead_letter.failure.buried_at_ms,
        "blocks": dead_letter.blocks,
        "person": visit.shown_key(person),
        "digest": lanes.digest(person).hex() if person else None,
    }


def _number(text: str) -> int:
    if text and not (text.isdecimal() and len(text) < 16):
        raise CommandError("after: must be the number of a dead letter")
    return int(text or 0)
