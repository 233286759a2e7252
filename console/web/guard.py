"""What stands before every route: which hosts the console answers to, where a POST may come from, and the headers.

A page elsewhere must not reach a console on loopback through a name that leads there, so the host must be an IP
address, `localhost` or a configured name. A POST must come from a page of the console itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer` browsers send `Origin: null`. Over plain HTTP they say nothing else of where a POST comes from.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_READING: Final = ("GET", "HEAD")
_HOST: Final = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::[0-9]{1,5})?", re.ASCII
)  # RFC 3986, without its rarer forms


class Guard:
    """The application behind the checks."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with HTTP 421, 405 or 403."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        if not self._is_known(headers.get("host", "")):
            text = "This console does not answer to that host name. SEGUE_CONSOLE_HOSTS names those that it does.\n"
            return PlainTextResponse(text, 421)
        if method in _READING:
            return None
        if method != "POST":
            return PlainTextResponse("This console knows GET and POST only.\n", 405, {"Allow": "GET, HEAD, POST"})
        if not _is_own(headers):
            return PlainTextResponse("A change must come from a page of this console.\n", 403)
        return None

    def _is_known(self, host: str) -> bool:
        name = _name_of(host)
        return name == "localhost" or name in self._hosts or _is_address(name)


def _is_own(headers: Headers) -> bool:
    """Whether a POST comes from a page of this host, as the browser says."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    _, _, origin = headers.get("origin", "").partition("://")
    return origin.lower() == headers["host"].lower()


def _name_of(host: str) -> str:
    """Return the host without its port, in lower case; the empty text when it is neither a name nor an address."""
    match = _HOST.fullmatch(host)
    return (match[1] or match[2]).lower() if match else ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
