"""Live: a tail of what passes. Without script it shows what passed before it was loaded."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

import redis
from starlette.concurrency import run_in_threadpool

import lanes
from console.errors import CommandError
from console.live import watching
from console.live.rows import FATES, Position, Row, Tail, Wanted
from console.live.watching import Share
from console.web import rendering
from console.web.pages import people
from console.web.visit import Page, Redirect, Result, Visit, address
from ingest.access import sources
from lanes.taps.tap import EVENTS_PER_S
from logs import events as log

_FILTERS: Final = ("source", "destination", "type", "event", "fate", "person")
_DIGEST: Final = re.compile(r"digest:([0-9a-f]{16})")
_LONGEST: Final = 200
_USUAL_ROWS: Final = 30
_MOST_ROWS: Final = 500
# A stream ends after some time, and the browser opens it again: then the session is checked again.
_STREAM_S: float = 30.0
_EVERY_S: Final = 1.0
_WATCH_S: Final = 5.0
# Fate → its words, and how it is marked.
WORDS: Final = {
    "refused": ("refused", "bad"),
    "duplicate": ("duplicate", ""),
    "suppressed": ("suppressed", ""),
    "accepted": ("accepted", ""),
    "released": ("returned to the queue", "warn"),
    "sent": ("sent", "good"),
    "shadowed": ("shadowed", ""),
    "filtered": ("filtered", ""),
    "unmatched": ("no subscription took it", ""),
    "dropped": ("dropped", ""),
    "dead": ("dead letter", "bad"),
}


def page(visit: Visit) -> Result:
    """Show the last rows that match the filter of the address, the newest first; as a stream, what follows them."""
    texts = {name: text for name in _FILTERS if (text := visit.asked(name))}
    wanted, most = _wanted(visit, texts), _most(visit)
    share = watching.watch(visit.session)
    tail = Tail(visit.session.client, visit.session.destinations)
    newest = reversed(tail.read()) if most else ()
    rows = [_shown(visit, row) for row in islice(filter(wanted.matches, newest), most)]
    return Page(
        template="live.html",
        title="Live",
        data={"share": share.json(), "rows": rows},
        command=" ".join(["segue live", *(f"--{name} {shlex.quote(text)}" for name, text in texts.items())]),
        shown={
            **_values(visit, rows, share),
            "texts": texts,
            "position": str(tail.position),
            "fates": FATES,
            "sources": [each.name for each in sources.sources(visit.session.document)],
        },
        stream=partial(_stream, visit, wanted),
    )


def find(visit: Visit) -> Result:
    """Lead to the filter of a form. The person of the form is named by identity, in the address by digest."""
    fields = {name: visit.given(name) for name in _FILTERS}
    if fields["person"] and not _DIGEST.fullmatch(fields["person"]):
        name = visit.session.chosen(fields["destination"] or None)[0]
        key = people.key_of(fields["person"], visit.session.destinations[name].identifiers)
        fields["person"] = f"digest:{lanes.digest(key).hex()}"
    return Redirect(address("/live", **fields))


def _wanted(visit: Visit, texts: dict[str, str]) -> Wanted:
    """Return the filter of the address. Raises CommandError, NotFound."""
    for name, text in texts.items():
        if len(text) > _LONGEST:
            raise CommandError(f"{name}: is longer than {_LONGEST} characters")
    if texts.get("fate", FATES[0]) not in FATES:
        raise CommandError(f"fate: must be one of {', '.join(FATES)}")
    person = _DIGEST.fullmatch(texts.get("person", ""))
    if "person" in texts and person is None:
        raise CommandError("person: addresses of this console name people by digest only")
    return Wanted(
        source=texts.get("source"),
        destination=visit.destination,
        type=texts.get("type"),
        event=texts.get("event"),
        fate=texts.get("fate"),
        person=bytes.fromhex(person[1]) if person else None,
    )


def _most(visit: Visit) -> int:
    text = visit.asked("most")
    if not text:
        return _USUAL_ROWS
    if not text.isdecimal() or len(text) > 3 or int(text) > _MOST_ROWS:
        raise CommandError(f"most: must be a number up to {_MOST_ROWS}")
    return int(text)


async def _stream(visit: Visit, wanted: Wanted) -> AsyncIterator[str]:
    """Yield the rows that are new or have changed as parts of the page, and the share of what passes.

    A fault of Redis ends it; the browser then opens it again.
    """
    after = Position.read(visit.last_event_id or visit.asked("after"))
    until, watched = time.monotonic() + _STREAM_S, 0.0
    try:
        tail = await run_in_threadpool(Tail, visit.session.client, visit.session.destinations, after)
        while True:
            share = None
            if time.monotonic() > watched + _WATCH_S:
                share, watched = await run_in_threadpool(watching.watch, visit.session), time.monotonic()
            text = await run_in_threadpool(_part, visit, wanted, tail, share)
            if text:
                yield _message(str(tail.position), text)
            if time.monotonic() >= until or visit.state.is_stopping():
                return
            await asyncio.sleep(_EVERY_S)
    except redis.RedisError:
        return
    except Exception as error:
        log.unhandled("the live tail", error)


def _part(visit: Visit, wanted: Wanted, tail: Tail, share: Share | None) -> str:
    """Return the HTML of the rows that are new or have changed, the oldest first, and of the share if it is given."""
    rows = [_shown(visit, row) for row in tail.read() if wanted.matches(row)]
    return rendering.html("live_part.html", _values(visit, rows, share)) if rows or share else ""


def _message(position: str, text: str) -> str:
    data = "".join(f"data: {line}\n" for line in re.split(r"\r\n|\r|\n", text))
    return f"id: {position}\nretry: 1000\n{data}\n"


def _values(visit: Visit, rows: Sequence[dict[str, Any]], share: Share | None) -> dict[str, Any]:
    """Return what the templates need."""
    return {"rows": rows, "share": share and _sentence(share), "words": WORDS, "user": visit.user}


def _sentence(share: Share) -> str:
    """Return which share of the events is shown."""
    if share.every == 1:
        passing = f" {share.per_s:,.1f} a second pass." if share.per_s else ""
        return f"Every event is shown.{passing} A process copies at most {EVENTS_PER_S} a second."
    return f"{share.per_s / share.every:,.0f} events a second of {share.per_s:,.0f} are shown: one in {share.every:,}."


def _shown(visit: Visit, row: Row) -> dict[str, Any]:
    """Return the JSON of a row as the user may see it."""
    data = row.json()
    return {
        **data,
        "message_id": visit.shown_id(data["message_id"]),
        "keys": [visit.shown_key(key) for key in data["keys"]],
        "text": visit.shown_text(data["text"]),
        "steps": [{**step, "text": visit.shown_text(step["text"])} for step in data["steps"]],
        "requests": [
            {**each, "reason": visit.shown_text(each["reason"]), "body": visit.shown_content(each["body"])}
            for each in data["requests"]
        ],
        "event": visit.shown_content(data["event"]),
    }
