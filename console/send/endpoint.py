"""Requests to `/v1/import`: repeated until the endpoint takes the events, or says which of them it refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event as Flag
from typing import Any, Final, NamedTuple, Self

import httpx

from console.errors import CommandError
from console.output import safe_line

_TIMEOUT_S: Final = 30.0
_GIVE_UP_S: Final = 600.0  # without any response but errors
_PAUSES_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
_LONGEST_PAUSE_S: Final = 300.0
_BUSY: Final = frozenset({429, 503})
_REPEATED: Final = frozenset({408, 500, 502, 504})
_TOO_LARGE: Final = 413  # also of a proxy
_REFUSED: Final = frozenset({400, 403, _TOO_LARGE})


class Stopped(Exception):
    """A signal ends the command."""


class Refused(NamedTuple):
    """An event that the endpoint refuses: the index of its body, the field, and the reason."""

    item: int
    field: str | None
    reason: str


class Endpoint:
    """The ingest endpoint at `url`, as the source of `write_key`.

    `stopping` ends each wait. `busy` is called for each 429 and 503. `clock` returns seconds.
    """

    def __init__(
        self,
        url: str,
        write_key: str,
        stopping: Flag,
        busy: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = f"{url.rstrip('/')}/v1/import"
        self._client = httpx.Client(auth=(write_key, ""), timeout=_TIMEOUT_S, trust_env=not _is_local(url))
        self._stopping = stopping
        self._busy = busy
        self._clock = clock
        self._was_reached = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send(self, bodies: Sequence[bytes]) -> list[Refused]:
        """Send the events of one request, each as JSON; return those that are refused.

        Raises Stopped: no response came before the signal. Raises CommandError: the endpoint cannot be used.
        """
        response = self._response(b'{"batch":[' + b",".join(bodies) + b"]}")
        document = _document(response)
        if isinstance(document.get("rejected"), list):
            return [_refused(each, len(bodies)) for each in document["rejected"]]
        if response.status_code == 200 and document.get("success") is True:
            return []
        if response.status_code not in _REFUSED or not (document or response.status_code == _TOO_LARGE):
            raise CommandError(self._fault(response, document))
        if len(bodies) == 1:
            return [Refused(0, None, f"{response.status_code}: {document.get('message') or 'refused'}")]
        half = len(bodies) // 2
        before = self.send(bodies[:half])
        return before + [each._replace(item=each.item + half) for each in self.send(bodies[half:])]

    def _response(self, body: bytes) -> httpx.Response:
        """Return the first response that says what became of the request."""
        failing_since: float | None = None
        attempts = 0
        while True:
            if self._stopping.is_set():
                raise Stopped
            fault, pause_s = "", _PAUSES_S[min(attempts, len(_PAUSES_S) - 1)]
            attempts += 1
            try:
                response = self._client.post(self._address, content=body, headers={"Content-Type": "application/json"})
            except httpx.TransportError as error:
                fault = str(error) or type(error).__name__
            else:
                self._was_reached = True
                if response.status_code not in _BUSY | _REPEATED:
                    return response
                if response.status_code in _BUSY:
                    failing_since = None
                    self._busy()
                    pause_s = _retry_after_s(response) or pause_s
                else:
                    fault = f"status {response.status_code}"
            if fault:
                failing_since = self._clock() if failing_since is None else failing_since
                if not self._was_reached or self._clock() - failing_since > _GIVE_UP_S:
                    raise CommandError(f"no response from {self._address}: {fault}; start ingest there, or set --url")
            if self._stopping.wait(min(pause_s, _LONGEST_PAUSE_S)):
                raise Stopped

    def _fault(self, response: httpx.Response, document: dict[str, Any]) -> str:
        if response.status_code == 401:
            return f"{self._address}: no source has this write key; set --write-key-file or --source"
        if document:
            return f"{self._address} answers {response.status_code}: {document.get('message') or document}"
        text = safe_line(response.text[:200])
        return f"{self._address} answers {response.status_code}, and not as ingest does; set --url: {text}"


def _refused(row: Any, events: int) -> Refused:
    """Return an event that a response names. Raises CommandError: the response is not one of ingest."""
    match row:
        case {"index": int(index), "message": str(message)} if 0 <= index < events:
            return Refused(index, row.get("field"), message)
    raise CommandError(f"the response names no event of the request: {row!r}; is --url that of ingest?")


def _is_local(url: str) -> bool:
    """Whether the address is of this machine: a proxy of the environment is not for it."""
    return httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:  # of a proxy
        return {}
    return found if isinstance(found, dict) else {}


def _retry_after_s(response: httpx.Response) -> float | None:
    try:
        return max(0.1, float(response.headers.get("retry-after", "")))
    except ValueError:  # a date, or nothing
        return None
