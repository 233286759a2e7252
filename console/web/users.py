"""Who sent a request, by SEGUE_CONSOLE_AUTH.

`none`: everyone who reaches the console is its admin, so it listens on loopback only. `tokens`: a session that was
begun with a token. `proxy`: the headers X-Forwarded-User and X-Forwarded-Groups of a proxy at one of
SEGUE_TRUSTED_PROXIES; a group `segue-ROLE` gives its members the role.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Final

from starlette.requests import Request

from console.errors import CommandError
from console.operator import operator
from console.web import cookies, tokens
from console.web.access import ROLES, Role, User, strongest
from console.web.state import State
from settings import Settings

_GROUPS: Final[dict[str, Role]] = {f"segue-{role}": role for role in ROLES}
_LONGEST_NAME: Final = 100


def ensure_safe(settings: Settings) -> None:
    """Raise CommandError when the console must not start with these settings."""
    if settings.console_auth == "none" and not _is_loopback(settings.console_host):
        raise CommandError(
            f"the console would be open to everyone who reaches {settings.console_host}: set SEGUE_CONSOLE_AUTH to "
            "tokens or proxy, or SEGUE_CONSOLE_HOST to 127.0.0.1"
        )
    if settings.console_auth == "tokens" and not settings.console_tokens:
        raise CommandError("SEGUE_CONSOLE_TOKENS has no entry; `segue console token ROLE` prints one")
    if settings.console_auth == "proxy" and settings.trusted_proxies in ("", "*"):
        raise CommandError("with SEGUE_CONSOLE_AUTH=proxy, SEGUE_TRUSTED_PROXIES must name the addresses of the proxy")


def user_of(request: Request, state: State) -> User | None:
    """Return who sent the request; None: someone who has to sign in. Raises redis.RedisError."""
    settings = state.session.settings
    user: User | None
    match settings.console_auth:
        case "none":
            user = User(operator(), "admin", not settings.console_read_only)
        case "tokens":
            user = _signed_in(request, state)
        case "proxy":
            user = _of_proxy(request, settings)
    if user is None:
        return None
    shown = request.cookies.get(cookies.REVEAL)
    reveal = cookies.content_of(state.secret, cookies.REVEAL, shown) if shown else None
    return user.revealing() if reveal is not None and reveal["name"] == user.name else user


def session_cookie(state: State, token: str, name: str) -> tuple[User, tuple[str, int]] | None:
    """Return the user with this token, and the cookie of a new session; None: there is no such token."""
    settings = state.session.settings
    entry = tokens.entry_of(token, settings.console_tokens or "")
    if entry is None:
        return None
    user = User(name[:_LONGEST_NAME], tokens.role_of(entry), not settings.console_read_only)
    content = {"name": user.name, "mark": tokens.mark_of(entry)}
    value = cookies.signed(state.secret, cookies.SESSION, content, cookies.SESSION_S)
    return user, (value, cookies.SESSION_S)


def reveal_cookie(state: State, user: User) -> tuple[str, int]:
    """Return the cookie that shows identities and contents to the user for some minutes."""
    value = cookies.signed(state.secret, cookies.REVEAL, {"name": user.name}, cookies.REVEAL_S)
    return value, cookies.REVEAL_S


def is_secure(request: Request, settings: Settings) -> bool:
    """Whether the browser reached the console by HTTPS, as a trusted proxy says."""
    return _is_from_proxy(request, settings) and request.headers.get("x-forwarded-proto") == "https"


def _signed_in(request: Request, state: State) -> User | None:
    content = cookies.content_of(state.secret, cookies.SESSION, request.cookies.get(cookies.SESSION))
    if content is None:
        return None
    settings = state.session.settings
    for entry in (settings.console_tokens or "").split():
        if tokens.mark_of(entry) == content["mark"]:
            return User(content["name"], tokens.role_of(entry), not settings.console_read_only)
    return None


def _of_proxy(request: Request, settings: Settings) -> User | None:
    names = [_decoded(name).strip() for name in request.headers.getlist("x-forwarded-user")]
    if len(names) != 1 or not names[0] or not _is_from_proxy(request, settings):
        return None  # of two names, one may be of the browser
    name = names[0][:_LONGEST_NAME]
    groups = [group.strip() for line in request.headers.getlist("x-forwarded-groups") for group in line.split(",")]
    role = strongest({_GROUPS[group] for group in groups if group in _GROUPS})
    return None if role is None else User(name, role, not settings.console_read_only)


def _decoded(header: str) -> str:
    """Return the value of a header in UTF-8, which the server reads as Latin-1."""
    return header.encode("latin-1").decode("utf-8", "replace")


def _is_from_proxy(request: Request, settings: Settings) -> bool:
    if request.client is None or settings.trusted_proxies in ("", "*"):
        return False
    try:
        peer = ip_address(request.client.host)
    except ValueError:
        return False
    return any(peer in ip_network(network) for network in settings.trusted_proxies.split(","))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
