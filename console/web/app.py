"""The application: from a request to a visit, from what a page returns to a response, and from an error to words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from itertools import chain
from typing import Any, Final
from urllib.parse import quote

import redis
from redis.exceptions import OutOfMemoryError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

import lanes
from console.errors import CommandError, of_redis
from console.web import cookies, layout, rendering, users
from console.web.access import User
from console.web.guard import Guard
from console.web.routes import ROUTES, Rule
from console.web.state import State
from console.web.visit import (
    LONGEST_FIELD,
    MOST_BODY,
    Download,
    Forbidden,
    NotFound,
    Page,
    Redirect,
    Result,
    Visit,
    address,
    fields_of,
    upload_of,
)
from dead_letters.import_export import ImportRefused
from logs import events as log
from mapping import ConfigurationError
from mapping.envelope import encoded
from settings import SettingsError

_TITLES: Final = {
    400: "That is not possible",
    401: "Sign in first",
    403: "You may not do this",
    404: "There is no such page",
    405: "There is no such page",
    413: "That is too long",
    503: "Redis is unavailable",
    507: "Redis is full",
}


def create(state: State, rules: Sequence[Rule] = ROUTES) -> ASGIApp:
    """Return the application of a console process."""
    routes = [Route(rule.path, _endpoint(state, rule), methods=[rule.method]) for rule in rules]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _not_routed(state)})
    return Guard(app, (state.session.settings.console_hosts or "localhost").split(","))


def _endpoint(state: State, rule: Rule) -> Callable[[Request], Any]:
    turn = asyncio.Semaphore(1) if rule.is_slow else nullcontext()

    async def endpoint(request: Request) -> Response:
        try:
            body = await _body(request, await _most_body(state, rule, request))
        except ClientDisconnect:
            return Response(status_code=400)
        async with turn:
            return await run_in_threadpool(_answer, state, rule, request, body)

    return endpoint


async def _most_body(state: State, rule: Rule, request: Request) -> int:
    """Return how many bytes the request may have: more than others on some routes, of a user who may use them."""
    if rule.most_body > MOST_BODY:
        with suppress(redis.RedisError):
            user = await run_in_threadpool(users.user_of, request, state)
            return rule.most_body if user is not None and user.may(rule.permission) else MOST_BODY
    return MOST_BODY


async def _body(request: Request, most: int) -> bytes | None:
    """Return the body of a POST; None when it is too long."""
    body = bytearray()
    if request.method == "POST":
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                return None
    return bytes(body)


def _answer(state: State, rule: Rule, request: Request, body: bytes | None) -> Response:
    """Return the response to a request, also of one that fails."""
    user = None
    try:
        user = None if rule.permission == "public" else users.user_of(request, state)
        if body is None:
            raise HTTPException(413, "The request has more bytes than this page takes.")
        if rule.permission != "public" and user is None:
            return _to_sign_in(request)
        if user is not None and not user.may(rule.permission):
            raise Forbidden(_why_not(user, rule))
        return _response(state, user, request, _result(state, rule, user, request, body))
    except Exception as error:
        return _failed(state, user, request, error)


def _failed(state: State, user: User | None, request: Request, error: Exception) -> Response:
    """Return the page of an error; without the figures around it when these cannot be read either."""
    page = _error_page(*_described(error))
    try:
        return _response(state, user, request, page)
    except Exception as second:
        log.unhandled("the layout of the console", second)
        return _response(state, None, request, page)


def _result(state: State, rule: Rule, user: User | None, request: Request, body: bytes) -> Result | Response:
    if rule.raw is not None:
        return rule.raw(state, request, fields_of(body.decode("utf-8", "replace")))
    assert user is not None
    assert rule.page is not None
    content_type = request.headers.get("content-type", "")
    if rule.takes_file:
        form, upload = upload_of(body, content_type)
    else:
        form = fields_of(body.decode("utf-8", "replace"), max(LONGEST_FIELD, rule.most_body - MOST_BODY))
        upload = b""
    visit = Visit(
        state=state,
        user=user,
        parts=request.path_params,
        cookies=request.cookies,
        upload=upload,
        query=fields_of(request.url.query),
        form=form,
        last_event_id=request.headers.get("last-event-id", ""),
    )
    result = rule.page(visit)
    if rule.method == "POST":
        state.forget_figures()
    return result


def _response(state: State, user: User | None, request: Request, result: Result | Response) -> Response:
    if isinstance(result, Response):
        return result
    if isinstance(result, Redirect):
        return _with_cookies(RedirectResponse(result.to, 303), state, request, result.cookies)
    if isinstance(result, Download):
        # RFC 8187: the name of a destination may have any characters.
        saved = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(result.name, safe='')}"}
        first = next(result.chunks, b"")  # a fault of it is shown as a page
        return StreamingResponse(chain((first,), result.chunks), media_type=result.media_type, headers=saved)
    if result.stream is not None and "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(result.stream(), media_type="text/event-stream")
    if _wants_json(request):
        return Response(encoded(result.data) + b"\n", result.status, media_type="application/json")
    seen = result.cookies.get(cookies.SEEN, (request.cookies.get(cookies.SEEN), 0))[0]
    around = layout.values(state, user, request.url.path, request.url.query, seen, _above(request))
    values = {**around, **result.shown}
    values |= {"data": result.data, "title": result.title, "command": result.command}
    page = HTMLResponse(rendering.html(result.template, values), result.status)
    return _with_cookies(page, state, request, result.cookies)


def _above(request: Request) -> str | None:
    """Return the address of the nearest page above the result of a POST, which has none itself; None of a page."""
    if request.method != "POST":
        return None
    path, routes = request.url.path, [route for route in request.app.routes if "GET" in route.methods]
    while path and not any(route.path_regex.match(path) for route in routes):
        path = path.rpartition("/")[0]
    return path or "/"


def _with_cookies(
    response: Response, state: State, request: Request, values: Mapping[str, tuple[str, int]]
) -> Response:
    is_secure = users.is_secure(request, state.session.settings)
    for name, (value, seconds) in values.items():
        response.set_cookie(name, value, seconds, httponly=True, samesite="strict", secure=is_secure)
    return response


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _to_sign_in(request: Request) -> Response:
    if _wants_json(request):
        return Response(encoded({"error": "sign in first"}), 401, media_type="application/json")
    wanted = request.url.path if request.method == "GET" else "/"
    return RedirectResponse(address("/sign-in", to=wanted), 303)


def _why_not(user: User, rule: Rule) -> str:
    if not user.may_change:
        return "This console is read-only (SEGUE_CONSOLE_READ_ONLY)."
    return f"The role {user.role} may not do this; it needs the permission “{rule.permission}”."


def _described(error: Exception) -> tuple[int, str]:
    """Return the status and the words of an error. What no code expected is in the log, and not on the page."""
    match error:
        case NotFound():
            return 404, str(error)
        case Forbidden():
            return 403, str(error)
        case HTTPException():
            return error.status_code, error.detail
        case OutOfMemoryError():
            return 507, f"{of_redis(error)}. Try again later."
        case redis.RedisError():
            return 503, f"{of_redis(error)}. The page works again as soon as this has ended."
        case CommandError() | ImportRefused() | lanes.QueueError():
            return 400, str(error)
        case SettingsError() | ConfigurationError():
            return 500, f"The configuration cannot be read: {error}"
    log.unhandled("a page of the console", error)
    return 500, "The console failed on this page. Its log says where."


def _error_page(status: int, text: str) -> Page:
    title = _TITLES.get(status, "The console failed")
    return Page(template="error.html", title=title, data={"error": text}, status=status)


def _not_routed(state: State) -> Callable[[Request, Exception], Response]:
    """Return the handler of requests that no route takes. It shows no figures: anyone may send such a request."""

    def handle(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        page = _error_page(status, "The console has no page at this address.")
        return _response(state, None, request, page)

    return handle
