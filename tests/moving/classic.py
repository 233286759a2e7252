"""A stand-in for Segment's classic destination of Customer.io, which calls the Track API v1.

docs/recipes/classic.md says what it makes of an event, and names the source of each rule. Its events have no id: a
repeated request stores an event a second time. The path alone names the person: the body repeats neither the `id` nor
the address that a `userId` is.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from mapping.filters import parse_filter

JsonObject = dict[str, Any]

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_ADDS_DEVICE = ("Application Installed", "Application Opened")
_REMOVES_DEVICE = "Application Uninstalled"
_PERMANENT = 400  # Segment retries 429 and 5xx


class Call(NamedTuple):
    """One request: `path` is what follows `/api/v1/`, percent-encoded."""

    method: str
    path: str
    body: JsonObject


def calls(event: JsonObject) -> list[Call]:
    """Return the requests of an event, in their order: none for an event that the destination does not support."""
    user_id = event.get("userId")
    if not user_id:
        return []
    person = f"customers/{quote(str(user_id), safe='')}"
    match event["type"]:
        case "identify":
            return [Call("PUT", person, _traits(event))]
        case "group":
            return [Call("PUT", person, _group_traits(event))]
        case "track" if event["event"] in _ADDS_DEVICE or event["event"] == _REMOVES_DEVICE:
            return _device(person, event)
        case "track":
            return [_event(person, event, event["event"], event.get("properties", {}))]
        case "page":
            return [_page(person, event)]
        case "screen":
            name = f"Viewed {event.get('name', 'Undefined')} Screen"
            return [_event(person, event, name, _without("name", event.get("properties", {})))]
        case "delete":
            return [Call("DELETE", person, {})]
    return []


def _traits(event: JsonObject) -> JsonObject:
    traits = dict(event.get("traits", {}))
    created = traits.get("created") or traits.get("createdAt") or traits.get("created_at")
    traits.pop("created", None)
    return _with_seconds(traits | ({"created_at": created} if created else {}))


def _group_traits(event: JsonObject) -> JsonObject:
    traits = event.get("traits", {})
    email = {"email": traits["email"]} if "email" in traits else {}
    named = {f"Group {name}": value for name, value in traits.items() if name != "email"}
    return _with_seconds(email | named | {"Group id": event["groupId"]})


def _device(person: str, event: JsonObject) -> list[Call]:
    device = event.get("context", {}).get("device", {})
    if not device.get("token"):
        return []
    if event["event"] == _REMOVES_DEVICE:
        return [Call("DELETE", f"{person}/devices/{quote(device['token'], safe='')}", {})]
    last_used = {"last_used": _seconds(event["timestamp"])} if "timestamp" in event else {}
    body = {"device": {"id": device["token"], "platform": device.get("type"), **last_used}}
    return [Call("PUT", f"{person}/devices", body)]


def _page(person: str, event: JsonObject) -> Call:
    properties = event.get("properties", {})
    call = _event(person, event, event.get("name") or properties.get("url"), _without("url", properties))
    return call._replace(body=call.body | {"type": "page"})


def _event(person: str, event: JsonObject, name: Any, properties: JsonObject) -> Call:
    body = {"name": name, "data": _with_seconds(properties)}
    return Call(
        "POST", f"{person}/events", body | ({"timestamp": _seconds(event["timestamp"])} if "timestamp" in event else {})
    )


def _without(name: str, members: JsonObject) -> JsonObject:
    return {key: value for key, value in members.items() if key != name}


def _with_seconds(value: Any) -> Any:
    """Return the value with ISO dates as Unix seconds, in objects and in lists."""
    match value:
        case dict():
            return {key: _with_seconds(member) for key, member in value.items()}
        case list():
            return [_with_seconds(item) for item in value]
        case str() if _DATE.fullmatch(value):
            return _seconds(value)
    return value


def _seconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() // 1)


@dataclass
class Classic:
    """The destination in Segment: it sends the requests of events to a Track API, one at a time.

    `dropped_if` is a destination filter in FQL: events that it accepts are dropped. An event whose request was refused
    with 429 or 5xx, or whose connection broke, waits for `retry`. As in Segment, filters are not applied to retries.
    """

    track_url: str
    site_id: str
    api_key: str
    dropped_if: str | None = None
    sent: int = 0  # events with all their requests accepted
    dropped: int = 0
    waiting: list[JsonObject] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._drops = parse_filter(self.dropped_if) if self.dropped_if else (lambda _event: False)
        self._connection = http.client.HTTPConnection(urlsplit(self.track_url).netloc, timeout=30)
        token = base64.b64encode(f"{self.site_id}:{self.api_key}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def receive(self, events: Iterable[JsonObject]) -> None:
        """Send the events, except those that the filter drops."""
        for event in events:
            if self._drops(event):
                self.dropped += 1
            else:
                self._send(event)

    def retry(self) -> None:
        """Send each waiting event again, with all its requests."""
        again, self.waiting = self.waiting, []
        for event in again:
            self._send(event)

    def _send(self, event: JsonObject) -> None:
        if all(self._accepted(call) for call in calls(event)):
            self.sent += 1
        else:
            self.waiting.append(event)

    def _accepted(self, call: Call) -> bool:
        """Send a request; return False if it is to be retried. Raises AssertionError for a permanent refusal."""
        try:
            self._connection.request(call.method, f"/api/v1/{call.path}", json.dumps(call.body), self._headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return False
        assert response.status < _PERMANENT or response.status == 429 or response.status >= 500, answer
        return response.status < _PERMANENT
