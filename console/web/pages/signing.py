"""Signing in and out, and showing or masking identities."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from console.web import audit_log, cookies, users
from console.web.state import State
from console.web.visit import Fields, Page, Redirect, Result, Visit


def form(state: State, request: Request, _form: Fields) -> Result | Response:
    """Ask for a name and a token; who is signed in sees the first page."""
    if users.user_of(request, state) is not None:
        return RedirectResponse("/", 303)
    return _form_page(state, request.query_params.get("to", "/"))


def sign_in(state: State, _request: Request, form: Fields) -> Result:
    """Begin a session, and show the page that was asked for."""
    to, name = form.get("to", ["/"])[0], form.get("name", [""])[0].strip()
    found = users.session_cookie(state, form.get("token", [""])[0].strip(), name) if name else None
    if found is None:
        return _form_page(state, to, "The token is not valid." if name else "Give your name, for the record.", name)
    user, cookie = found
    audit_log.write(state.session.client, user, "sign in")
    return Redirect(_local(to), {cookies.SESSION: cookie})


def sign_out(_state: State, _request: Request, _form: Fields) -> Result:
    """End the session of this browser."""
    return Redirect("/sign-in", {cookies.SESSION: ("", 0), cookies.REVEAL: ("", 0)})


def reveal(visit: Visit) -> Result:
    """Show identities and contents to this user for some minutes, and record it."""
    audit_log.write(visit.session.client, visit.user, "reveal")
    cookie = users.reveal_cookie(visit.state, visit.user)
    return Redirect(_with_notice(visit, "revealed"), {cookies.REVEAL: cookie})


def hide(visit: Visit) -> Result:
    """Mask identities and contents again."""
    return Redirect(_with_notice(visit, "hidden"), {cookies.REVEAL: ("", 0)})


def _with_notice(visit: Visit, notice: str) -> str:
    """Return the address from which a form was sent, with a notice."""
    path, _, query = _local(visit.given("to")).partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("done=")]
    return f"{path}?{'&'.join([*kept, f'done={notice}'])}"


def _local(to: str) -> str:
    """Return the address if it is one of this console, else that of the first page."""
    is_local = to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable() and "\\" not in to
    return to if is_local else "/"


def _form_page(state: State, to: str, fault: str = "", name: str = "") -> Page:
    kind = state.session.settings.console_auth
    shown = {"fault": fault, "to": _local(to), "name": name, "kind": kind}
    status = 401 if fault else 200
    return Page(template="sign_in.html", title="Sign in", data={"error": fault}, shown=shown, status=status)
