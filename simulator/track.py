"""The Track API v1 and v2, and the part of the App API that tests read: from a request to its response."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from simulator import v1
from simulator.operations import MAX_BATCH_BYTES, MAX_ENTITY_BYTES
from simulator.person import Json
from simulator.response import NOT_FOUND, OK, UNAUTHORIZED, Response, json_response, refused
from simulator.service import Service

Scope = Mapping[str, Any]

_HOSTS = {"us": "track.customer.io", "eu": "track-eu.customer.io"}


class TrackApi:
    """The API of one workspace; `credentials` are the accepted pairs of site id and API key."""

    def __init__(self, service: Service, credentials: Collection[tuple[str, str]], region: str) -> None:
        self._service = service
        self._region = region
        self._basic = {f"Basic {base64.b64encode(f'{site}:{key}'.encode()).decode()}" for site, key in credentials}
        self._bearer = {f"Bearer {key}" for _, key in credentials}

    def answer(self, scope: Scope, body: bytes) -> Response:
        """Return the response to a request, whose operations have been accepted by then."""
        method, path = scope["method"], scope["raw_path"].decode("ascii")
        if path.startswith("/unsubscribe/"):
            return OK if method == "POST" else NOT_FOUND
        elsewhere = self._elsewhere(scope, path)
        if elsewhere is not None:
            return elsewhere
        if _header(scope, b"authorization") not in (self._bearer if path.startswith("/v1/") else self._basic):
            return UNAUTHORIZED
        match method, path:
            case "POST", "/api/v2/batch":
                return self._batch(body)
            case "POST", "/api/v2/entity":
                return self._entity(body)
            case "GET", _:
                return self._read(path, scope["query_string"].decode("ascii"))
        return self._v1(method, path.removeprefix("/api/v1/"), body) if path.startswith("/api/v1/") else NOT_FOUND

    def _elsewhere(self, scope: Scope, path: str) -> Response | None:
        """Return the response of the other region; None for the own region and for any other host (rule 2)."""
        host = _header(scope, b"host").partition(":")[0]
        if host not in _HOSTS.values() or host == _HOSTS[self._region] or path == "/api/v1/accounts/region":
            return None
        if self._region == "us":
            return UNAUTHORIZED
        return Response(307, b"", ((b"location", f"https://{_HOSTS[self._region]}{path}".encode()),))

    # v2

    def _batch(self, body: bytes) -> Response:
        if len(body) > MAX_BATCH_BYTES:
            return self._too_large(MAX_BATCH_BYTES)
        try:
            items = orjson.loads(body)["batch"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return refused(400, "batch", "must be an array", "required")
        if not isinstance(items, list):
            return refused(400, "batch", "must be an array")
        if not items:
            empty = self._service.options.empty_batch_status
            return OK if empty == 200 else refused(empty, "batch", "must not be empty", "required")
        accepted: list[Json] = []
        errors: list[Json] = []
        may_be_large = len(body) > MAX_ENTITY_BYTES
        for index, item in enumerate(items):
            found = self._service.check(item, may_be_large=may_be_large)
            if found is None:
                accepted.append(item)
            else:
                errors.append({"batch_index": index, **found})
        self._service.accept(accepted)
        return json_response({"errors": errors}, self._service.faults.item_errors_status) if errors else OK

    def _entity(self, body: bytes) -> Response:
        if len(body) > MAX_ENTITY_BYTES:
            return self._too_large(MAX_ENTITY_BYTES)
        try:
            item = orjson.loads(body)
        except orjson.JSONDecodeError:
            return refused(400, "", "is not JSON")
        found = self._service.check(item)
        if found is not None:
            return json_response({"errors": [found]}, 400)
        self._service.accept([item])
        return OK

    def _too_large(self, limit: int) -> Response:
        return refused(self._service.options.oversize_status, "", f"must not be larger than {limit} bytes")

    # v1

    def _v1(self, method: str, path: str, body: bytes) -> Response:
        try:
            given = orjson.loads(body) if body else {}
            operations = v1.operations(method, path, given if isinstance(given, dict) else {})
            if operations is None:
                return NOT_FOUND
            for operation in operations:
                self._check_v1(operation)
        except orjson.JSONDecodeError:
            return json_response({"meta": {"errors": ["the body is not JSON"]}}, 400)
        except v1.Malformed as error:
            return json_response(error.body, 400)
        self._service.accept(operations)
        return Response(204, b"") if path.startswith("forms/") else OK

    def _check_v1(self, operation: Json) -> None:
        """Raise Malformed when v2 would refuse the operation too; deliveries are checked in `v1`."""
        found = None if operation["type"] == "delivery" else self._service.check(operation)
        if found is not None:
            message = f"{found.get('field', '')} {found.get('message', '')}".strip()
            raise v1.Malformed(message, merge=operation["action"] == "merge")

    # Reading

    def _read(self, path: str, query_string: str) -> Response:
        self._service.catch_up()
        query = {name: values[0] for name, values in parse_qs(query_string).items()}
        match [unquote(part) for part in path.strip("/").split("/")]:
            case ["auth"]:
                return json_response({"meta": {"message": "nice credentials."}})
            case ["api", "v1", "accounts", "region"]:
                url = f"https://{_HOSTS[self._region]}"
                return json_response({"url": url, "region": self._region, "environment_id": 1})
            case ["v1", "customers"]:
                found = self._service.workspace.find({"email": query.get("email", "")})
                people = [] if found is None else [found]
                results = [{"cio_id": person.cio_id, "id": person.id, "email": person.email} for person in people]
                return json_response({"results": results})
            case ["v1", "customers", who, "attributes"]:
                return self._attributes(query.get("id_type", "id"), who)
        return NOT_FOUND

    def _attributes(self, kind: str, value: str) -> Response:
        person = self._service.workspace.find({kind: value.removeprefix("cio_") if kind == "cio_id" else value})
        if person is None:
            return json_response({"errors": [{"detail": "not found", "status": "404"}]}, 404)
        identifiers = {"cio_id": person.cio_id, "id": person.id, "email": person.email}
        attributes = {name: _text(value) for name, value in person.attributes.items()}
        return json_response({"customer": {"id": person.id, "identifiers": identifiers, "attributes": attributes}})


def site_id(scope: Scope) -> str:
    """Return the user name of basic authentication; an empty string without one."""
    _, _, given = _header(scope, b"authorization").partition(" ")
    try:
        return str(base64.b64decode(given, validate=True), "utf-8").partition(":")[0]
    except ValueError:
        return ""


def _header(scope: Scope, name: bytes) -> str:
    return next((str(value, "latin-1") for key, value in scope["headers"] if key == name), "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
