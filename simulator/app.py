"""The ASGI application: it reads a request, applies the faults that are set, and sends the response.

It is plain ASGI because benchmarks use it as well, and its cost must be small beside that of the measured program.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from email.utils import formatdate
from typing import Any

from simulator.control import control
from simulator.options import Faults
from simulator.origin import refusal
from simulator.response import OK, UNAUTHORIZED, Response
from simulator.service import Service
from simulator.track import Scope, TrackApi, site_id

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_NONE = Faults()
_LINGER_NOT = struct.pack("ii", 1, 0)


class Simulator:
    """The ASGI application of one service."""

    def __init__(self, service: Service, credentials: Collection[tuple[str, str]], region: str) -> None:
        self.service = service
        self._track = TrackApi(service, credentials, region)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: of `/_sim/…`, which has no faults, or of the Track API."""
        body = await _body(receive)
        path: str = scope["path"]
        if path.startswith("/_sim/"):
            await _say(send, self._control(scope, path.removeprefix("/_sim/"), body))
            return
        faults = self._faults(scope)
        outcome = self._outcome(scope, body, faults)
        self.service.requests[outcome if isinstance(outcome, str) else str(outcome.status)] += 1
        slow_s = faults.slow_loris_s if self.service.happens(faults.slow_loris) else 0.0
        latency_s = self.service.dice.uniform(*faults.latency_ms) / 1000
        if latency_s > 0:
            await asyncio.sleep(latency_s)
        if isinstance(outcome, str):
            await _break(receive, send, faults.timeout_s if outcome == "timeout" else 0.0)
        else:
            await _say(send, outcome, slow_s)

    def _control(self, scope: Scope, what: str, body: bytes) -> Response:
        refused = refusal(scope["method"], scope["headers"])
        return refused or control(self.service, scope["method"], what, body)

    def _faults(self, scope: Scope) -> Faults:
        faults = self.service.faults
        return faults if faults.site_id is None or faults.site_id == site_id(scope) else _NONE

    def _outcome(self, scope: Scope, body: bytes, faults: Faults) -> Response | str:
        """Return the response, or how the connection breaks instead: "reset" or "timeout"."""
        is_too_much = self.service.is_over_the_limit()
        broken = self._breaks(faults.reset_before, faults.timeout_before)
        if broken is not None:
            return broken
        answer = self._over_the_limit() if is_too_much else self._taken_or_refused(scope, body, faults)
        return self._breaks(faults.reset_after, faults.timeout_after) or answer

    def _breaks(self, reset: float, timeout: float) -> str | None:
        if self.service.happens(reset):
            return "reset"
        return "timeout" if self.service.happens(timeout) else None

    def _over_the_limit(self) -> Response:
        return OK if self.service.faults.drop_silently else self._refusal(429, self.service.faults)

    def _taken_or_refused(self, scope: Scope, body: bytes, faults: Faults) -> Response:
        """Return a refusal at the rates that are set; otherwise process the request."""
        for status, rate in faults.statuses:
            if self.service.happens(rate):
                return self._refusal(status, faults)
        answer = self._track.answer(scope, body)
        if self.service.happens(faults.duplicate):
            self._track.answer(scope, body)
        return answer

    def _refusal(self, status: int, faults: Faults) -> Response:
        if status == 401:
            return UNAUTHORIZED
        body = faults.refusal_body.encode()
        if status != 429 or faults.retry_after_s is None:
            return Response(status, body)
        if faults.retry_after_form == "seconds":
            after = f"{faults.retry_after_s:g}"
        else:
            after = formatdate(self.service.clock.now() + faults.retry_after_s, usegmt=True)
        return Response(429, body, ((b"retry-after", after.encode()),))


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _say(send: Send, answer: Response, slow_s: float = 0.0) -> None:
    """Send the response; byte by byte over `slow_s` seconds unless that is 0."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.all_headers})
    body = answer.body
    if slow_s:
        for number in range(len(body)):
            await asyncio.sleep(slow_s / len(body))
            await send({"type": "http.response.body", "body": body[number : number + 1], "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body})


async def _break(receive: Receive, send: Send, after_s: float) -> None:
    """Send nothing for `after_s` seconds, or until the client disconnects; then reset the connection."""
    with suppress(TimeoutError):
        await asyncio.wait_for(receive(), after_s)  # after the body, only the client's disconnect can be received
        return
    # ASGI has no message for a reset: `send` is a method of uvicorn's cycle, which holds the transport.
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()
    await receive()
