"""The results of the reference for an event, a batch, a deletion or a test of credentials.

A result is the requests that the reference sends and the status of each subscription, in the form of
tests/conformance/README.md. All requests are taken to succeed. Batches differ from single events as in the
reference: they keep empty texts, and a mapping error refuses all events.

`segue translate` and the conformance vectors use this module; deliveries use `translate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypedDict

from mapping import javascript
from mapping.actions.action import Field
from mapping.coercion import coerce
from mapping.destination import TRACK_URLS, Destination, compile_destination
from mapping.envelope import JsonObject
from mapping.errors import InvalidMapping, Rejected
from mapping.fql import FqlError
from mapping.javascript import UNDEFINED
from mapping.operation import BATCH_PATH, METRICS_PATH
from mapping.payload import refuse_null_context
from mapping.subscription import Subscription, compile_subscription
from mapping.translation import as_rejected, operation_of

REGIONS: Final = {"us": "US 🇺🇸", "eu": "EU 🇪🇺"}

_SETTINGS: Final = (
    Field("siteId", "Site ID", required=True),
    Field("apiKey", "API Key", required=True),
    Field("accountRegion", "Account Region", choices=tuple(REGIONS.values())),
)

_ESCAPED_IN_URLS = frozenset(" \"'<>\\^`{|}\t\r\n")
_ENGINE_ERRORS = frozenset({"TypeError", "RangeError"})
# A batch for an unknown action fails in the engine. The reference reports this after all other errors.
_UNKNOWN_IN_BATCH = {"class": "TypeError", "engine_message": True}
_NOT_BATCHED = {
    "class": "IntegrationError",
    "message": "This action does not support batched requests.",
    "status": 501,
    "code": "NotImplemented",
}


class Results(TypedDict):
    """The results of an event or a batch, one for each subscription; `error` is the first."""

    requests: list[JsonObject]
    results: list[JsonObject]
    error: JsonObject | None


class DeletionResults(TypedDict):
    """The result of a deletion request."""

    requests: list[JsonObject]
    result: JsonObject | None
    error: JsonObject | None


class CredentialsResults(TypedDict):
    """The result of a test of credentials."""

    requests: list[JsonObject]
    ok: bool
    error: JsonObject | None


def destination_of(settings: Any, subscriptions: Iterable[Any] | None) -> Destination:
    """Return the destination of settings and subscriptions in the reference's form, by default with the presets.

    `settings`: `{"siteId", "apiKey", "accountRegion"?}`; a subscription: `{"subscribe", "partnerAction", "mapping",
    "name"?, "enabled"?}`. Raises InvalidPayload for invalid settings. An invalid subscription is reported
    for each event.
    """
    known = coerce(_SETTINGS, settings if settings is not None else {})
    compiled = None if subscriptions is None else [_subscription(*numbered) for numbered in enumerate(subscriptions)]
    return compile_destination(
        "",
        compiled,
        site_id=known["siteId"],
        api_key=known["apiKey"],
        region="eu" if known.get("accountRegion") == REGIONS["eu"] else "us",
    )


def event_results(event: Any, destination: Destination, now_s: float) -> Results:
    """Return the results of an event; never raises. `now_s` is in Unix seconds."""
    collector = _Collector(destination)
    for subscription in destination.subscriptions:
        try:
            if not collector.is_skipped(subscription) and subscription.matches(event if type(event) is dict else {}):
                collector.execute(subscription, event, now_s)
        except (Rejected, FqlError, RecursionError) as error:
            collector.add(subscription, status="error", error=_thrown(as_rejected(error)))
    return collector.collected()


def batch_results(events: list[Any], destination: Destination, now_s: float) -> Results:
    """Return the results of a batch of events; never raises. `now_s` is in Unix seconds.

    A subscription that matches any of the events sends a request; its result has a `multistatus` of all events.
    """
    collector = _Collector(destination)
    for subscription in destination.subscriptions:
        try:
            if not collector.is_skipped(subscription, events):
                collector.execute_batch(subscription, events, now_s)
        except (Rejected, FqlError, RecursionError) as error:
            collector.add(subscription, status="error", error=_thrown(as_rejected(error)))
    return collector.collected()


def deletion_results(event: Any, destination: Destination) -> DeletionResults:
    """Return the result of a deletion request; never raises.

    Quirk of the reference: the user id is put into the URL without escaping.
    """
    user_id = event.get("userId", UNDEFINED) if type(event) is dict else UNDEFINED
    url = f"{destination.url}/api/v1/customers/{_as_url(javascript.text(user_id))}"
    return {
        "requests": [{"method": "DELETE", "url": url}],
        "result": {"status": 200, "data": {}},
        "error": None,
    }


def credentials_results(_destination: Destination) -> CredentialsResults:
    """Return the result of a test of credentials.

    Quirk of the reference: it uses the US host in every region.
    """
    return {"requests": [{"method": "GET", "url": f"{TRACK_URLS['us']}/auth"}], "ok": True, "error": None}


def error_json(error: Rejected) -> JsonObject:
    """Return the error as `{"class", "message" or "messages", "status"?, "code"?, "engine_message"?}`.

    `engine_message`: the text is that of an engine and is not compared.
    """
    json: JsonObject = {"class": error.error_class}
    if isinstance(error, InvalidMapping) and not error.at_root:
        json["messages"] = list(error.messages)
    else:
        json["message"] = str(error)
    if error.status is not None:
        json["status"] = error.status
    if error.code is not None:
        json["code"] = error.code
    if error.error_class in _ENGINE_ERRORS:
        json["engine_message"] = True
    return json


def _thrown(error: Rejected) -> JsonObject:
    """Return the error as an action throws it: a single fault at the root of a mapping has the status 400."""
    json = error_json(error)
    if isinstance(error, InvalidMapping) and error.at_root:
        json["status"] = 400
    return json


class _Collector:
    """The requests and results of an event or a batch so far."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.requests: list[JsonObject] = []
        self.results: list[JsonObject] = []

    def collected(self) -> Results:
        """Return all requests and results; `error` is the first error, engine failures of unknown actions last."""
        errors = [result["error"] for result in self.results if "error" in result]
        first = next((error for error in errors if error is not _UNKNOWN_IN_BATCH), errors[0] if errors else None)
        return {"requests": self.requests, "results": self.results, "error": first}

    def add(self, subscription: Subscription, **result: Any) -> None:
        named: JsonObject = {"subscription": subscription.index, "action": subscription.slug}
        if subscription.name:
            named["name"] = subscription.name
        self.results.append({**named, **result})

    def send(self, subscription: Subscription, path: str, body: JsonObject) -> None:
        url = f"{self.destination.url}{path}"
        self.requests.append({"subscription": subscription.index, "method": "POST", "url": url, "json": body})

    def is_skipped(self, subscription: Subscription, events: list[Any] | None = None) -> bool:
        """Whether the subscription is disabled or its trigger is invalid; then add its result."""
        if not subscription.enabled:
            self.add(subscription, status="disabled")
        elif subscription.fault is None:
            return False
        elif events is None:
            self.add(subscription, status="invalid_subscription", message=subscription.fault)
        else:
            self.add(subscription, status="batch", multistatus=[_refused(subscription.fault) for _ in events])
        return True

    def execute(self, subscription: Subscription, event: Any, now_s: float) -> None:
        if subscription.action is None:
            return self.add(subscription, status="unknown_action")
        payload = subscription.payload(event, now_s)
        try:
            operation = operation_of(subscription, event, payload, now_s)
        except Rejected as error:
            return self.add(subscription, status="error", error=_thrown(error), payload=payload)
        self.send(subscription, operation.path, operation.body)
        return self.add(subscription, status="executed", payload=payload)

    def execute_batch(self, subscription: Subscription, events: list[Any], now_s: float) -> None:
        matches = [subscription.matches(event if type(event) is dict else {}) for event in events]
        if not any(matches):
            return None
        if subscription.action is None:
            return self.add(subscription, status="error", error=_UNKNOWN_IN_BATCH)
        if subscription.action.path == METRICS_PATH:
            return self.add(subscription, status="error", error=dict(_NOT_BATCHED))
        statuses, accepted = [], []
        for event, is_match in zip(events, matches, strict=True):
            if not is_match:
                statuses.append(_refused("Payload is either invalid or does not match the subscription"))
                continue
            try:
                payload = subscription.batch_payload(event, now_s)
            except Rejected as error:
                if error.error_class != "AggregateAjvError":
                    raise
                statuses.append(_refused(str(error)))
                continue
            accepted.append((event, payload))
            statuses.append({"status": 200, "body": {}})
        if not accepted:
            return self.add(subscription, status="batch", multistatus=statuses)
        for event, is_match in zip(events, matches, strict=True):
            if is_match:
                refuse_null_context(event)
        payloads = [payload for _, payload in accepted]
        try:
            bodies = [operation_of(subscription, event, payload, now_s).body for event, payload in accepted]
        except Rejected as error:
            return self.add(subscription, status="error", error=_thrown(error), payload=payloads)
        for batch in _split(bodies):
            self.send(subscription, BATCH_PATH, {"batch": batch})
        return self.add(subscription, status="batch", multistatus=statuses, payload=payloads)


def _split(bodies: list[JsonObject]) -> list[list[JsonObject]]:
    """Return the batches to send, none empty: the reference sends objects of anonymous visitors in a second batch."""
    anonymous = [body for body in bodies if body["action"] == "identify_anonymous"]
    others = [body for body in bodies if body["action"] != "identify_anonymous"]
    return [batch for batch in (others, anonymous) if batch]


def _subscription(index: int, value: Any) -> Subscription:
    row = value if type(value) is dict else {}
    return compile_subscription(
        index,
        name=row.get("name") or "",
        trigger=row.get("subscribe"),
        slug=row.get("partnerAction"),
        mapping=row.get("mapping"),
        enabled=row.get("enabled") is not False,
    )


def _refused(message: str) -> JsonObject:
    return {
        "status": 400,
        "errortype": "PAYLOAD_VALIDATION_FAILED",
        "errormessage": message,
        "errorreporter": "INTEGRATIONS",
    }


def _as_url(text: str) -> str:
    """Return the end of a URL as the HTTP library of the reference sends it: trailing white space removed, backslashes
    as slashes, a few characters escaped."""
    path, mark, query = text.rstrip().partition("?")
    spelled = path.replace("\\", "/") + mark + query
    return "".join(f"%{ord(character):02X}" if character in _ESCAPED_IN_URLS else character for character in spelled)
