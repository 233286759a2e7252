"""The routes of the console, each with the permission that it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from console.web.access import Permission
from console.web.pages import (
    about,
    activity,
    as_of,
    cases,
    dead_letters,
    destinations,
    files,
    forgetting,
    live,
    overview,
    people,
    plans,
    sending,
    signing,
    sources,
    tester,
    transfers,
    workbench,
)
from console.web.state import State
from console.web.visit import MOST_BODY, Fields, Redirect, Result, Visit


@dataclass(frozen=True, slots=True)
class Rule:
    """One route: a `page` for users, or `raw` for requests of people who have not signed in."""

    method: Literal["GET", "POST"]
    path: str
    permission: Permission
    page: Callable[[Visit], Result] | None = None
    raw: Callable[[State, Request, Fields], Result | Response] | None = None
    most_body: int = MOST_BODY  # bytes of a POST
    takes_file: bool = False  # its form has a file
    is_slow: bool = False  # one request at a time: it takes a thread, and 16 MB, of which a flood would take all


def _get(path: str, page: Callable[[Visit], Result], permission: Permission = "look") -> Rule:
    return Rule("GET", path, permission, page)


def _post(path: str, page: Callable[[Visit], Redirect | Result], permission: Permission) -> Rule:
    return Rule("POST", path, permission, page)


ROUTES: Final = (
    Rule("GET", "/static/{name}", "public", raw=files.static),
    Rule("GET", "/health", "public", raw=files.health),
    Rule("GET", "/sign-in", "public", raw=signing.form),
    Rule("POST", "/sign-in", "public", raw=signing.sign_in, is_slow=True),
    Rule("POST", "/sign-out", "public", raw=signing.sign_out),
    _get("/", overview.page),
    _get("/live", live.page),
    _post("/live/find", live.find, "find"),
    _get("/destinations", destinations.table),
    _get("/destinations/{destination}", destinations.page),
    _get("/destinations/{destination}/workbench", workbench.form, "test"),
    _post("/destinations/{destination}/workbench", workbench.run, "test"),
    _post("/destinations/{destination}/pause", destinations.pause, "pause"),
    _post("/destinations/{destination}/resume", destinations.resume, "pause"),
    _post("/destinations/{destination}/rate", destinations.rate, "rate"),
    _get("/dead", dead_letters.page),
    _post("/dead/find", dead_letters.find, "find"),
    _get("/dead/{destination}/{sequence}", dead_letters.details),
    _post("/dead/{destination}/{sequence}/edit", dead_letters.edit, "edit"),
    _get("/replays", plans.history),
    _post("/replays/{destination}", plans.plan, "replay"),
    _get("/replays/{destination}/{id}", plans.progress),
    _post("/replays/{destination}/{id}/begin", plans.begin, "replay"),
    _post("/replays/{destination}/{id}/cancel", plans.cancel, "replay"),
    _get("/skip/{destination}", plans.skip_plan),
    _post("/skip/{destination}", plans.skip, "skip"),
    _get("/purge/{destination}", plans.purge_plan),
    _post("/purge/{destination}", plans.purge, "purge"),
    _post("/export/{destination}", transfers.export, "export"),
    _get("/import", transfers.form),
    Rule("POST", "/import", "import", transfers.plan, most_body=transfers.MOST_BODY, takes_file=True),
    Rule("POST", "/import/lines", "import", transfers.add, most_body=transfers.MOST_BODY),
    _get("/people/{digest}/forget", forgetting.form),
    _post("/people/{digest}/forget", forgetting.plan, "forget"),
    _post("/people/{digest}/erase", forgetting.erase, "forget"),
    _post("/people/{digest}/unsuppress", forgetting.unsuppress, "unsuppress"),
    _get("/receipts", forgetting.receipts_page),
    _get("/people", people.form),
    _post("/people", people.find, "find"),
    _get("/people/{digest}", people.page),
    _get("/people/{digest}/as-of", as_of.page),
    _get("/tester", tester.form, "test"),
    _post("/tester", tester.run, "test"),
    _get("/tester/send", tester.form, "test"),
    _post("/tester/send", sending.send, "send"),
    _get("/sources", sources.page),
    _get("/activity", activity.page),
    _get("/activity/export", activity.export),
    _get("/about", about.page),
    _post("/tester/case", cases.save, "test"),
    _post("/reveal", signing.reveal, "reveal"),
    _post("/hide", signing.hide, "look"),
)
