"""The event tester: what becomes of an event at each destination, by the function of `segue test`. It sends nothing."""

from __future__ import annotations

from typing import Any, Final

import orjson

import lanes
from console import tester
from console.errors import CommandError
from console.web.visit import Page, Result, Visit
from dead_letters import record
from ingest.access import sources
from mapping.envelope import encoded
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
    text = _pretty(_SAMPLE if event is None else event)
    return _page(visit, text, destination=visit.asked("destination"))


def run(visit: Visit) -> Result:
    """Show what becomes of the event of the form."""
    text, chosen, source = visit.given("event"), visit.given("destination"), visit.given("source")
    try:
        event = tester.read_event(text)
        trials = [_trial(visit, event, name, source) for name in visit.session.chosen(chosen or None)]
    except CommandError as error:
        return _page(visit, text, destination=chosen, source=source, fault=str(error))
    return _page(visit, text, destination=chosen, source=source, trials=trials)


def _trial(visit: Visit, event: dict[str, Any], name: str, source: str) -> tester.Trial:
    session = visit.session
    return tester.tried(event, session, session.destinations[name], tester.source_for(session, name, source or None))


def _page(
    visit: Visit,
    text: str,
    *,
    destination: str = "",
    source: str = "",
    fault: str = "",
    trials: list[tester.Trial] | None = None,
) -> Page:
    data = [trial.json() for trial in trials or ()]
    shown = {
        "text": text,
        "chosen": destination,
        "source": source,
        "sources": [each.name for each in sources.sources(visit.session.settings.document())],
        "fault": fault,
        "recent": _recent(visit),
        "trials": data,
        "bodies": [[request.body().decode() for request in trial.requests] for trial in trials or ()],
        "was_run": trials is not None,
    }
    result = {"error": fault} if fault else data
    status = 400 if fault else 200
    return Page(
        template="tester.html", title="Event tester", data=result, command="segue test FILE", shown=shown, status=status
    )


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
    return str(event.get("event") or event.get("name") or "").strip()


def _pretty(event: dict[str, Any]) -> str:
    try:
        return orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()
    except TypeError:
        return encoded(event).decode()
