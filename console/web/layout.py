"""What every page has around its content: the navigation, the destinations, the state in a sentence, and notices."""

from __future__ import annotations

from typing import Any, Final

import redis

import lanes
from console.errors import CommandError
from console.web import cookies, sentence
from console.web.access import User
from console.web.sentence import Cause
from console.web.state import State
from console.web.visit import fields_of
from mapping import ConfigurationError
from settings import SettingsError

# Path, name, and the key behind `g`.
NAVIGATION: Final = (
    ("/", "Overview", "o"),
    ("/live", "Live", "l"),
    ("/people", "People", "p"),
    ("/dead", "Dead letters", "d"),
    ("/destinations", "Destinations", "e"),
    ("/tester", "Tester", "t"),
    ("/sources", "Sources", "s"),
    ("/activity", "Activity", "a"),
    ("/about", "About", "b"),
)
# Pages whose address may name a destination.
_OF_DESTINATION: Final = ("/dead", "/people", "/replays")
_OF_ONE: Final = ("destination", "ids", "after", "done")  # fields that are lost with the choice of another one
_NO_BADGE: Final = {"new": 0, "blocking": 0}
# What a POST did, by the field `done` of the address to which it leads.
_NOTICES: Final = {
    "paused": "The destination is paused. Its events are accepted and wait.",
    "resumed": "The pause is ended.",
    "rate": "The rate is set. Workers follow from their next request on.",
    "configured": "The configured rate applies again.",
    "removed": "The dead letters are removed. Events behind them go on.",
    "changed": "The number of dead letters changed meanwhile, so this is a new plan.",
    "imported": "The dead letters are imported. A replay sends their events.",
    "erased": "The person is erased. The receipt is kept.",
    "unsuppressed": "Events of this person are accepted again. The request to Customer.io is on the queue.",
    "edited": "The event is changed. A replay sends it.",
    "unchanged": "The event is as it was. Nothing was changed.",
    "revealed": "Identities and contents are shown for 15 minutes. This is recorded.",
    "hidden": "Identities and contents are masked again.",
    "cancelled": "The replay is cancelled. What it has not requeued stays a dead letter.",
}


def values(
    state: State, user: User | None, path: str, query: str, seen: str | None = None, above: str | None = None
) -> dict[str, Any]:
    """Return the values that the layout needs. Without a user it shows nothing of the queues. `seen`: of `seen_now`.
    `above`: of the result of a POST, the address of a page in its place."""
    try:
        fields = fields_of(query)
    except CommandError:
        fields = {}
    causes = [] if user is None else now(state)
    return {
        "user": user,
        "navigation": NAVIGATION,
        "path": path,
        "address_now": above or (f"{path}?{query}" if query else path),
        "is_result": above is not None,
        "destinations": list(state.session.destinations) if user else [],
        "has_picker": path in _OF_DESTINATION or path.startswith("/people/"),
        "kept": [(name, text) for name, texts in fields.items() if name not in _OF_ONE for text in texts],
        "picked": fields.get("destination", [""])[0],
        "notice": _NOTICES.get(fields.get("done", [""])[0], ""),
        "cause": causes[0] if causes else None,
        "more_causes": len(causes) - 1,
        "badge": _NO_BADGE if user is None else _badge(state, seen),
        "auth": state.session.settings.console_auth,
    }


def now(state: State) -> list[Cause]:
    """Return the causes of this moment; one that says why they are unknown when they cannot be read."""
    try:
        return sentence.causes(state.figures(), state.findings())
    except redis.RedisError:
        return [Cause("bad", "Redis is unavailable: no event is accepted or sent.", "Check", command="segue check")]
    except (CommandError, SettingsError, ConfigurationError, lanes.QueueError) as error:
        return [Cause("bad", f"The figures cannot be read: {error}")]


def seen_now(state: State, destination: str, seen: str | None) -> tuple[str, int]:
    """Return the cookie of a user who looks at the dead letters of the destination now, and its seconds.

    It has how many were ever buried at each destination when the user last looked. `seen` is the cookie of before.
    """
    totals = {row["name"]: row["buried_total"] for row in state.figures()["destinations"]}
    content = {"buried": {**_buried(state, seen), destination: totals[destination]}}
    return cookies.signed(state.secret, cookies.SEEN, content, cookies.SEEN_S), cookies.SEEN_S


def _badge(state: State, seen: str | None) -> dict[str, int]:
    """Return `{"new", "blocking"}`: dead letters since the user last looked, and those that block a person's events.
    Both are 0 when they are not known."""
    try:
        rows, buried = state.figures()["destinations"], _buried(state, seen)
    except (redis.RedisError, CommandError, SettingsError, ConfigurationError, lanes.QueueError):
        return _NO_BADGE
    new = (min(row["dead"], max(0, row["buried_total"] - buried[row["name"]])) for row in rows if row["name"] in buried)
    unseen = (row["dead"] for row in rows if row["name"] not in buried)
    return {"new": sum(new) + sum(unseen), "blocking": sum(row["blocking"] for row in rows)}


def _buried(state: State, seen: str | None) -> dict[str, int]:
    content = cookies.content_of(state.secret, cookies.SEEN, seen) if seen else None
    return dict(content["buried"]) if content else {}
