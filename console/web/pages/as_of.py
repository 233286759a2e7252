"""A person as of a moment, and at two moments side by side."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from console.output import utc
from console.person import as_of
from console.web import choice, masking
from console.web.pages.people import require_digest
from console.web.visit import Page, Result, Visit


def page(visit: Visit) -> Result:
    """Show what was sent made the person until `at`, and until `and` beside it, times in UTC."""
    digest = require_digest(visit.parts["digest"])
    asked = [choice.moment(name, visit.asked(name)) for name in ("at", "and")]
    moments = sorted(moment for moment in asked if moment is not None) or [int(time.time() * 1000)]
    names = visit.session.chosen(visit.destination)
    data = [_masked(visit, as_of.gather(visit.session, name, digest, moments)) for name in names]
    shown = {
        "digest": digest,
        "people": data,
        "at": [datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") for moment in moments],
        "not_in_it": as_of.NOT_IN_IT,
        "most_events": as_of.MOST_EVENTS,
    }
    command = f"segue people show {digest} --at {utc(moments[0]).replace(' ', 'T')}{choice.option(visit)}"
    return Page(template="as_of.html", title=f"Person {digest} as of a moment", data=data, command=command, shown=shown)


def _masked(visit: Visit, found: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of `console.person.as_of` as the user may see it."""
    if visit.user.is_revealing:
        return found
    moments = [_masked_moment(visit, moment) for moment in found["moments"]]
    changes = [
        {
            **change,
            "name": _shown_name(change["what"], change["name"]),
            "before": change["before"] and _masked_value(visit, change["what"], change["before"]),
            "after": change["after"] and _masked_value(visit, change["what"], change["after"]),
        }
        for change in found["changes"]
    ]
    return {**found, "moments": moments, "changes": changes}


def _masked_moment(visit: Visit, moment: dict[str, Any]) -> dict[str, Any]:
    ended = moment["ended"]
    return {
        **moment,
        "ended": ended and {**_masked_origin(visit, ended), "into": visit.shown_key(ended["into"])},
        "keys": [visit.shown_key(key) for key in moment["keys"]],
        "attributes": [_masked_value(visit, "attribute", each) for each in moment["attributes"]],
        "devices": [_masked_value(visit, "device", each) for each in moment["devices"]],
        "events": [_masked_origin(visit, each) for each in moment["events"]],
        "merges": [{**_masked_origin(visit, each), "key": visit.shown_key(each["key"])} for each in moment["merges"]],
    }


def _masked_value(visit: Visit, what: str, value: dict[str, Any]) -> dict[str, Any]:
    shown = {"name": _shown_name(what, value["name"]), "value": visit.shown_content([value["value"]])[0]}
    return {**_masked_origin(visit, value), **shown}


def _shown_name(what: str, name: str) -> str:
    """Return the name of an attribute without what may be an identity; of a device the end of its token."""
    return masking.identity(name) if what == "device" else next(iter(masking.content({name: None})))


def _masked_origin(visit: Visit, value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "message_id": visit.shown_id(value["message_id"])}
