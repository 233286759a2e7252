"""The HTTP face of the workspace: the Track API v1 and v2, what of the App API tests read, and `/_sim/…`.

Plain ASGI: it is also the sink of the benchmarks and must cost little beside what it judges.
"""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson
from pydantic import BaseModel, ValidationError

from simulator import operations, v1
from simulator.operations import Json
from simulator.options import Faults, Options
from simulator.service import Service

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_EMPTY = b"{}\n"
_HEADERS = [(b"content-type", b"application/json; charset=utf-8"), (b"cache-control", b"no-cache, no-store")]


class Reset(Exception):
    """The connection is to be broken without an answer."""


class Simulator:
    """The application. `credentials` are the pairs of site id and API key that it takes."""

    def __init__(self, service: Service, credentials: Collection[tuple[str, str]], region: str) -> None:
        self.service = service
        self.region = region
        self._passes = {base64.b64encode(f"{site}:{key}".encode()).decode() for site, key in credentials}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path.startswith("/_sim/"):
            await _say(send, *self._control(scope["method"], path[6:], await _read(receive)))
            return
        try:
            status, body, headers = await self._answer(scope, receive)
        except Reset:
            # An answer that ends before its length: the server closes the connection.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
            await send({"type": "http.response.body", "body": b""})
            return
        self.service.requests[str(status)] += 1
        slow = self.service.happens(self.service.faults.slow_loris)
        await _say(send, status, body, headers, slow=slow)

    # The Track API

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes, Json]:
        """Answer one call of the service, through its faults."""
        faults, happens = self.service.faults, self.service.happens
        raw = await _read(receive)
        if faults.latency_ms[1] > 0:
            await asyncio.sleep(self.service.dice.uniform(*faults.latency_ms) / 1000)
        if happens(faults.reset_before):
            self.service.requests["reset"] += 1
            raise Reset
        if happens(faults.timeout_before):
            self.service.requests["timeout"] += 1
            await asyncio.sleep(faults.timeout_s)
            raise Reset
        if self.service.is_over_the_limit():
            return (200, _EMPTY, {}) if faults.drop_silently else self._too_many()
        if happens(faults.status_429):
            return self._too_many()
        for status, rate in ((500, faults.status_500), (503, faults.status_503)):
            if happens(rate):
                return status, _EMPTY, {}
        if happens(faults.status_401) or _header(scope, b"authorization").removeprefix("Basic ") not in self._passes:
            return 401, _json({"meta": {"error": "Unauthorized request"}}), {}
        answer = self._take(scope, raw)
        if happens(faults.duplicate):
            self._take(scope, raw)
        if happens(faults.reset_after):
            self.service.requests["reset"] += 1
            raise Reset
        if happens(faults.timeout_after):
            self.service.requests["timeout"] += 1
            await asyncio.sleep(faults.timeout_s)
            raise Reset
        return answer

    def _too_many(self) -> tuple[int, bytes, Json]:
        after = self.service.faults.retry_after_s
        return 429, _EMPTY, {} if after is None else {"retry-after": f"{after:g}"}

    def _take(self, scope: Scope, raw: bytes) -> tuple[int, bytes, Json]:
        method, path = scope["method"], scope["path"]
        if method == "POST" and path == "/api/v2/batch":
            return self._take_batch(scope, raw)
        if method == "POST" and path == "/api/v2/entity":
            return self._take_entity(scope, raw)
        if method == "GET":
            return self._read_side(path, scope)
        if path.startswith("/api/v1/"):
            return self._take_v1(scope, raw)
        return 404, _EMPTY, {}

    def _take_batch(self, scope: Scope, raw: bytes) -> tuple[int, bytes, Json]:
        raw = _plain(scope, raw)
        if len(raw) > operations.MAX_BATCH_BYTES:
            return self.service.options.oversize_status, _fault("invalid", "", "must not be larger than 500 KB"), {}
        try:
            items = orjson.loads(raw)["batch"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return 400, _fault("required", "batch", "must be an array"), {}
        if not isinstance(items, list) or not items:
            return 400, _fault("required", "batch", "must be an array and not empty"), {}
        good, errors = [], []
        for index, item in enumerate(items):
            found = self.service.check(item)
            if found is None:
                good.append(item)
            else:
                errors.append({"batch_index": index, **found})
        self.service.accept(good)
        return (207, _json({"errors": errors}), {}) if errors else (200, _EMPTY, {})

    def _take_entity(self, scope: Scope, raw: bytes) -> tuple[int, bytes, Json]:
        raw = _plain(scope, raw)
        if len(raw) > operations.MAX_ENTITY_BYTES:
            return self.service.options.oversize_status, _fault("invalid", "", "must not be larger than 32 KB"), {}
        try:
            item = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return 400, _fault("invalid", "", "is not JSON"), {}
        found = self.service.check(item)
        if found is not None:
            return 400, _json({"errors": [found]}), {}
        self.service.accept([item])
        return 200, _EMPTY, {}

    def _take_v1(self, scope: Scope, raw: bytes) -> tuple[int, bytes, Json]:
        raw_path = scope["raw_path"].decode("ascii").partition("?")[0].removeprefix("/api/v1/")
        try:
            body = orjson.loads(raw) if raw else {}
            asked = v1.operations(scope["method"], raw_path, body if isinstance(body, dict) else {})
            if asked is None:
                return 404, _EMPTY, {}
            for operation in asked:
                found = self.service.check(operation)
                if found is not None:
                    raise v1.Malformed(f"{found.get('field', '')} {found.get('message', '')}".strip())
        except orjson.JSONDecodeError:
            return 400, _json({"meta": {"errors": ["the body is not JSON"]}}), {}
        except v1.Malformed as error:
            return 400, _json(error.body), {}
        self.service.accept(asked)
        return 200, _EMPTY, {}

    def _read_side(self, path: str, scope: Scope) -> tuple[int, bytes, Json]:
        self.service.catch_up()
        query = parse_qs(scope["query_string"].decode())
        match path.strip("/").split("/"):
            case ["auth"]:
                return 200, _json({"meta": {"message": "nice credentials."}}), {}
            case ["api", "v1", "accounts", "region"]:
                host = "track-eu" if self.region == "eu" else "track"
                body = {"url": f"https://{host}.customer.io", "region": self.region, "environment_id": 1}
                return 200, _json(body), {}
            case ["v1", "customers"]:
                email = query.get("email", [""])[0]
                found = self.service.workspace.find({"email": email})
                rows = [] if found is None else [{"cio_id": found.cio_id, "id": found.id, "email": found.email}]
                return 200, _json({"results": rows}), {}
            case ["v1", "customers", who, "attributes"]:
                person = self.service.workspace.find({query.get("id_type", ["id"])[0]: who})
                if person is None:
                    return 404, _json({"errors": [{"detail": "not found", "status": "404"}]}), {}
                identifiers = {"cio_id": person.cio_id, "id": person.id, "email": person.email}
                attributes = {name: _written(value) for name, value in person.attributes.items()}
                body = {"customer": {"id": person.id, "identifiers": identifiers, "attributes": attributes}}
                return 200, _json(body), {}
        return 404, _EMPTY, {}

    # What only a simulator has

    def _control(self, method: str, what: str, raw: bytes) -> tuple[int, bytes]:
        service = self.service
        match method, what:
            case "GET", "people":
                service.catch_up()
                people = [person.json() for person in service.workspace.people.values()]
                return 200, _json({"people": people})
            case "GET", "journal":
                service.catch_up()
                return 200, _json({"journal": service.journal})
            case "GET", "activity":
                service.catch_up()
                return 200, _json({"activity": service.workspace.activity})
            case "GET", "objects":
                objects = [
                    {"object_type_id": kind, "object_id": name, "attributes": attributes}
                    for (kind, name), attributes in service.workspace.objects.items()
                ]
                return 200, _json({"objects": objects})
            case "GET", "stats":
                return 200, _json(service.stats())
            case "GET", "seconds":
                return 200, _json({str(second): count for second, count in service.requests_by_second().items()})
            case "GET", "options":
                return 200, _json(service.options.model_dump())
            case "POST", "faults":
                return self._changed(Faults, raw, service.set_faults)
            case "POST", "options":
                return self._changed(Options, raw, self._set_options)
            case "POST", "clock":
                body = orjson.loads(raw or b"{}")
                service.clock_ahead_s += float(body.get("advance_s", 0))
                service.catch_up()
                return 200, _json({"now": service.now()})
            case "POST", "reset":
                service.reset()
                return 200, _EMPTY
        return 404, _json({"error": f"there is no {method} /_sim/{what}"})

    def _set_options(self, options: Options) -> None:
        self.service.options = self.service.workspace.options = options

    def _changed(self, model: type[Any], raw: bytes, change: Callable[[Any], None]) -> tuple[int, bytes]:
        """Replace faults or options by what the body says and defaults; refuse what is not known."""
        try:
            value: BaseModel = model.model_validate_json(raw or b"{}")
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            return 400, _json({"errors": faults})
        change(value)
        return 200, _json(value.model_dump())


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def _plain(scope: Scope, raw: bytes) -> bytes:
    return zlib.decompress(raw, 31) if _header(scope, b"content-encoding") == "gzip" else raw


def _header(scope: Scope, name: bytes) -> str:
    return next((str(value, "latin-1") for key, value in scope["headers"] if key == name), "")


def _json(value: Any) -> bytes:
    return orjson.dumps(value)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _fault(reason: str, field: str, message: str) -> bytes:
    return _json({"errors": [{"reason": reason, "field": field, "message": message}]})


async def _say(send: Send, status: int, body: bytes, headers: Json | None = None, *, slow: bool = False) -> None:
    extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    length = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*_HEADERS, *length, *extra]})
    if slow:
        for byte in body:
            await asyncio.sleep(1 / len(body))
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body})
