"""The event tester: what becomes of an event at each destination, by the function of `segue test`.

A test sends nothing. The page of a result has a second button, which sends exactly the requests that it shows: see
`console.web.pages.sending`.
"""

from __future__ import annotations

import shlex
import time
from typing import Any, Final
from uuid import uuid4

import lanes
from console import tester
from console.errors import CommandError
from console.output import counted
from console.web.rendering import in_form
from console.web.visit import Page, Result, Visit
from dead_letters import record
from delivery.batching import Request
from ingest.access import sources
from mapping.envelope import encoded, name_of
from series import recent_events

_MOST_RECENT: Final = 100
_SAMPLE: Final = {
    "type": "track",
    "event": "Order Placed",
    "userId": "42",
    "properties": {"total": 99.5, "currency": "EUR"},
}


def form(visit: Visit) -> Result:
    """Ask for an event: a sample, or the dead letter or the recent event that the address names."""
    event = _event_of(visit) or _recent_of(visit)
    text = in_form(_SAMPLE if event is None else event)
    return page(visit, text, destination=visit.asked("destination"))


def run(visit: Visit) -> Result:
    """Show what becomes of the event of the form."""
    text, chosen, source = visit.given("event"), visit.given("destination"), visit.given("source")
    try:
        event, at_ms = _identified(tester.read_event(text)), int(time.time() * 1000)
        trials = [trial_of(visit, event, name, source, at_ms) for name in visit.session.chosen(chosen or None)]
    except CommandError as error:
        return page(visit, text, destination=chosen, source=source, fault=str(error))
    return page(visit, text, destination=chosen, source=source, trials=trials, event=event, at_ms=at_ms)


def _identified(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event with a message id, so that its requests are always the same."""
    return event if event.get("messageId") else {**event, "messageId": f"segue-{uuid4()}"}


def trial_of(visit: Visit, event: dict[str, Any], name: str, source: str, at_ms: int) -> tester.Trial:
    """Return what becomes of an event with a message id at this time. Raises CommandError."""
    session = visit.session
    found = tester.source_for(session, name, source or None)
    return tester.tried(event, session, session.destinations[name], found, at_ms / 1000)


def page(
    visit: Visit,
    text: str,
    *,
    destination: str = "",
    source: str = "",
    fault: str = "",
    trials: list[tester.Trial] | None = None,
    event: dict[str, Any] | None = None,
    at_ms: int = 0,
    outcomes: list[dict[str, Any]] | None = None,
) -> Page:
    """Return the page of the tester with an event, what becomes of it, and what was answered."""
    data = [trial.json() for trial in trials or ()]
    shown = {
        "event": encoded(event).decode() if event else "",
        "event_shown": in_form(event) if event else "",
        "at_ms": at_ms,
        "marks": [trial.mark for trial in trials or ()],
        "curls": [[_curl(trial.url, request) for request in trial.requests] for trial in trials or ()],
        "regions": [visit.session.destinations[trial.destination].region for trial in trials or ()],
        "before": [_before(visit, trial) for trial in trials or ()],
        "shadows": [
            tester.is_shadow(trial, visit.session.destinations[trial.destination], at_ms) for trial in trials or ()
        ],
        "is_real": visit.session.settings.track_url is None,
        "outcomes": outcomes,
        "text": text,
        "chosen": destination,
        "source": source,
        "sources": [each.name for each in sources.sources(visit.session.document)],
        "fault": fault,
        "recent": _recent(visit),
        "trials": data,
        "was_run": trials is not None,
    }
    result = {"error": fault} if fault else data
    command = f"segue test FILE --destination {destination}" if destination else "segue test FILE"
    status = 400 if fault else 200
    return Page(template="tester.html", title="Event tester", data=result, command=command, shown=shown, status=status)


def _curl(url: str, request: Request) -> str:
    """Return a command that sends the request, with the credentials of the environment."""
    body = shlex.quote(request.body().decode())
    credentials = '"$CUSTOMERIO_SITE_ID:$CUSTOMERIO_API_KEY"'
    return f"curl {shlex.quote(url + request.path)} -u {credentials} -H 'Content-Type: application/json' -d {body}"


def _before(visit: Visit, trial: tester.Trial) -> list[str]:
    """Return what the event would wait for now, by ordering key."""
    queue = visit.session.queue(trial.destination)
    keys = trial.explanation.ordering.keys if trial.explanation else ()
    lengths = [(key, lane.length) for key in keys if (lane := lanes.inspect(queue, lanes.digest(key)))]
    return [f"{counted(length, 'event')} of {key}" for key, length in lengths if length]


def _event_of(visit: Visit) -> dict[str, Any] | None:
    """Return the event of the dead letter that the address names, if the user may see it."""
    text = visit.asked("dead")
    if not text.isdecimal() or len(text) > 15 or not visit.user.is_revealing:
        return None
    found = lanes.get_dead_letters(visit.session.queue(visit.named_destination()), [int(text)])
    return record.read(found[0]).event if found else None


def _recent(visit: Visit) -> list[dict[str, str]]:
    """Return the kinds of the recent events, each once."""
    names = visit.session.chosen(visit.destination)
    kinds = {
        (name, kept.source, str(kept.event.get("type")), _title(kept.event))
        for name in names
        for kept in recent_events.read(visit.session.queue(name))
    }
    return [
        {"destination": name, "source": source, "type": kind, "name": title}
        for name, source, kind, title in sorted(kinds)[:_MOST_RECENT]
    ]


def _recent_of(visit: Visit) -> dict[str, Any] | None:
    """Return a recent event of the kind that the address names, if the user may see it."""
    if not visit.asked("type") or not visit.user.is_revealing:
        return None
    wanted = (visit.asked("source"), visit.asked("type"), visit.asked("name"))
    found = recent_events.read(visit.session.queue(visit.named_destination()))
    kinds = ((kept.event, (kept.source, str(kept.event.get("type")), _title(kept.event))) for kept in found)
    return next((event for event, kind in kinds if kind == wanted), None)


def _title(event: dict[str, Any]) -> str:
    return name_of(event).strip()
