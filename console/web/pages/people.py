"""People: find a person by any identity, and see what waits and why, what failed, and what was sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import lanes
import mapping
from console.errors import CommandError
from console.person import drawing
from console.queues import lanes_view, message_search, why
from console.state import history
from console.web import choice
from console.web.visit import NotFound, Page, Redirect, Result, Visit, address
from ingest.access import sources
from lanes.keys import DIGEST_BYTES
from mapping.ordering_keys import IdentifierScheme, key_fault, person_key

_DIGEST: Final = re.compile(rf"[0-9a-f]{{{2 * DIGEST_BYTES}}}")
_LONGEST: Final = 500
_LAST_ATTEMPT: Final = "the last one: "  # what follows it is of Customer.io
KINDS: Final = (
    ("any", "any identity"),
    ("id", "user id"),
    ("email", "e-mail address"),
    ("anonymous_id", "anonymous id"),
    ("cio_id", "cio_id"),
    ("message", "message id"),
    ("sequence", "number of an event"),
)


def form(visit: Visit) -> Result:
    """Ask for a person; show the lanes with the most events, and who is blocked by dead letters."""
    rows = _busy(visit)
    shown = {"kinds": KINDS, "busy": rows}
    return Page(template="people.html", title="People", data={"hot": rows}, command="segue lanes show KEY", shown=shown)


def find(visit: Visit) -> Result:
    """Lead to the person with this identity. Several or none are shown on a page without an address."""
    text, kind = visit.given("person"), visit.given("kind") or "any"
    destination = visit.given("destination")
    if not text or len(text) > _LONGEST:
        raise CommandError("Type an identity, a message id, or # and the number of an event.")
    names = visit.session.chosen(destination or None)
    if kind == "sequence" or (kind == "any" and re.fullmatch(r"#\d{1,15}", text)):
        return _of_sequence(visit, names, text.removeprefix("#"))
    if kind == "message":
        return _of_message(visit, names, text)
    found = [row for name in names for row in _candidates(visit, name, kind, text)]
    known = [row for row in found if row["waiting"] or row["dead"]] or _recorded(visit, found)
    if len({row["digest"] for row in known}) == 1:
        return Redirect(address(f"/people/{known[0]['digest']}", destination=destination))
    if kind == "any" and not known and (events := _of_message(visit, names, text)).data["events"]:
        return events
    shown = {"kinds": KINDS, "found": known or found, "is_known": bool(known), "kind": kind, "busy": []}
    data = {"found": known}
    return Page(template="people.html", title="People", data=data, command="segue lanes show KEY", shown=shown)


def page(visit: Visit) -> Result:
    """Show the person whose ordering key has this digest."""
    digest = require_digest(visit.parts["digest"])
    names = visit.session.chosen(visit.destination)
    found = lanes_view.gather(visit.session, names, digest)
    items = [sent["item"] or {} for lane in found for sent in lane["sent"]]
    identities = sorted({identity for item in items for identity in _named(item)})
    data = [_masked(visit, lane) for lane in found]
    reasons = [(why.sentence(lane["why"]), lane["why"]) if lane["why"] else None for lane in data]
    shown = {
        "digest": digest,
        "lanes": data,
        "reasons": [reason and (*reason, drawing.drawing(reason[1]), drawing.nested(reason[1])) for reason in reasons],
        "identities": [(kind, str(visit.shown_key(f"{kind}:{value}")).partition(":")[2]) for kind, value in identities],
        "horizons": {name: history.horizon(visit.session, name) for name in names},
        "is_known": any(lane["length"] or lane["dead_letters"] or lane["sent"] for lane in found),
    }
    command = f"segue lanes show {digest}{choice.option(visit)}"
    return Page(template="person.html", title=f"Person {digest}", data=data, command=command, shown=shown)


def require_digest(text: str) -> str:
    """Return the digest in an address. Raises NotFound: it is none."""
    if not _DIGEST.fullmatch(text):
        raise NotFound("People are addressed by the digest of an ordering key: 16 hexadecimal digits.")
    return text


def key_of(text: str, scheme: IdentifierScheme) -> str:
    """Return the ordering key that a text most probably names. Raises CommandError: no event may have it."""
    key = text if key_fault(text, scheme) is None else person_key(text, scheme)
    fault = key_fault(key, scheme)
    if fault:
        raise CommandError(f"That names no person: it {fault}.")
    return key


def _candidates(visit: Visit, name: str, kind: str, text: str) -> Iterator[dict[str, Any]]:
    """Yield each ordering key that the text may mean, and what a queue knows of it."""
    destination, queue = visit.session.destinations[name], visit.session.queue(name)
    for key in _keys(text, kind, destination.identifiers):
        digest = lanes.digest(key)
        lane = lanes.inspect(queue, digest)
        yield {
            "destination": name,
            "digest": digest.hex(),
            "key": visit.shown_key(key),
            "waiting": lane.length if lane else 0,
            "dead": lanes.last_dead_letters_of(queue, digest, 0)[1],
        }


def _recorded(visit: Visit, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of the candidates of which the ledger or the delivery log has something."""
    session = visit.session
    return [
        row
        for row in found
        if history.all_for(session, session.queue(row["destination"]), bytes.fromhex(row["digest"]), 1)
    ]


def _keys(text: str, kind: str, scheme: IdentifierScheme) -> list[str]:
    """Return the ordering keys that a text may mean, the most probable first."""
    if kind in ("id", "anonymous_id", "cio_id", "email"):
        found = [f"{kind}:{text.lower() if kind == 'email' else text}"]
    elif key_fault(text, scheme) is None:
        found = [text]
    else:
        found = [person_key(text, scheme), f"id:{text}", f"anonymous_id:{text}"]
    valid = [key for key in dict.fromkeys(found) if key_fault(key, scheme) is None]
    if not valid:
        raise CommandError("No event may have such an identity.")
    return valid


def _of_sequence(visit: Visit, names: list[str], text: str) -> Result:
    """Lead to the dead letter with this number, or to the person of the waiting event. Destinations count apart, so
    several may have one: these are shown."""
    if not text.isdecimal() or len(text) > 15:
        raise CommandError("The number of an event has digits only.")
    found = [
        _event_row(visit, row, visit.session.destinations[name])
        for name in names
        for row in message_search.present(visit.session, name, [int(text)])
    ]
    rows = [row for row in found if row["digest"] or row["where"] == "dead letter"]
    if not rows:
        raise NotFound(f"No event with the number {text} waits or is a dead letter.")
    if len(rows) > 1:
        return _events_page({"events": rows, "searches": []}, "sequence")
    name, digest = rows[0]["destination"], rows[0]["digest"]
    return Redirect(address(f"/people/{digest}", destination=name) if digest else f"/dead/{name}/{text}")


def _of_message(visit: Visit, names: list[str], text: str) -> Page:
    """Show where the event with this message id is, or how much was searched for it."""
    of = [source.name for source in sources.sources(visit.session.document)]
    rows: list[dict[str, Any]] = []
    searches = []
    for name in names:
        destination, found = visit.session.destinations[name], _search(visit, name, of, text)
        rows += [_event_row(visit, row, destination) for row in found.rows]
        horizon = {"horizon": history.horizon(visit.session, name), "dedupe_s": visit.session.queue(name).dedupe_s}
        facts = {"read": found.read, "unread": found.unread, "is_remembered": found.is_remembered}
        searches.append({"destination": name, **facts, **horizon})
    return _events_page({"events": rows, "searches": searches}, "message", text)


def _events_page(data: dict[str, Any], kind: str, message: str = "") -> Page:
    shown = {"kinds": KINDS, **data, "kind": kind, "busy": [], "message": message}
    return Page(template="people.html", title="People", data=data, command="segue lanes find ID", shown=shown)


def _search(visit: Visit, name: str, of: list[str], text: str) -> message_search.Search:
    return message_search.search(visit.session, name, of, text, is_long=bool(visit.given("long")))


def _event_row(visit: Visit, row: dict[str, Any], destination: mapping.Destination) -> dict[str, Any]:
    """Return what a page shows of a place where an event was found."""
    names = row.get("keys") or [f"{kind}:{value}" for kind, value in _named(row.get("item") or {})]
    digest = lanes.digest(names[0]).hex() if names else None
    facts = {"where": row["where"], "destination": destination.name, "sequence": row.get("sequence"), "digest": digest}
    return facts | {"text": visit.shown_text(row.get("message") or row.get("refusal") or row.get("state") or "")}


def _masked(visit: Visit, lane: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of `segue lanes show` as the user may see it."""
    if visit.user.is_revealing:
        return lane
    return {
        **lane,
        "steps": [
            {**step, "reason": _masked_reason(visit, step["reason"]), "message_id": visit.shown_id(step["message_id"])}
            for step in lane["steps"]
        ],
        "why": lane["why"] and _masked_why(visit, lane["why"]),
        "dead_letters": [{**dead, "message": visit.shown_text(dead["message"])} for dead in lane["dead_letters"]],
        "sent": [
            {
                **sent,
                "message_id": visit.shown_id(sent["message_id"]),
                "refusal": visit.shown_text(sent["refusal"]),
                "item": visit.shown_content(sent["item"]),
            }
            for sent in lane["sent"]
        ],
    }


def _masked_why(visit: Visit, found: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of `console.queues.why` without ids and values of the last response."""
    last = found["last_attempt"]
    is_shown = last is None or why.is_plain(last)
    events = [{**event, "message_id": visit.shown_id(event["message_id"])} for event in found["events"]]
    return {**found, "last_attempt": last if is_shown else visit.shown_text(last), "events": events}


def _masked_reason(visit: Visit, reason: str) -> str:
    """Return why a step waits, without values of the last response."""
    before, last, response = reason.partition(_LAST_ATTEMPT)
    return f"{before}{last}{visit.shown_text(response)}"


def _named(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the identifiers of a request, each with its kind."""
    identifiers = item.get("identifiers")
    for kind, value in (identifiers if isinstance(identifiers, dict) else {}).items():
        if isinstance(value, str | int):
            yield kind, str(value)


def _busy(visit: Visit) -> list[dict[str, Any]]:
    """Return the hot lanes, and the lanes that a dead letter blocks."""
    found = []
    for row in visit.state.figures()["destinations"]:
        if visit.destination not in (None, row["name"]):
            continue
        queue = visit.session.queue(row["name"])
        found += [
            {"destination": queue.name, **lane, "key": visit.shown_key(lane["key"]), "why": "many events share the key"}
            for lane in row["hot"]
        ]
        for dead in lanes.get_dead_letters(queue, lanes.blocking_dead_letters(queue)[:20]):
            lane = lanes.inspect(queue, dead.keys[0]) if dead.keys else None
            if lane:
                facts = {"digest": dead.keys[0].hex(), "key": None, "length": lane.length}
                found.append({"destination": queue.name, **facts, "why": f"dead letter {dead.sequence} blocks it"})
    return found
