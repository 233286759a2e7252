"""What the reference answers to an event, a batch, a deletion or a test of credentials: the requests it would send and
what became of each subscription, in the form of tests/conformance/vectors/README.md.

For `segue translate`, the conformance vectors and whoever compares; deliveries use `translate`. Every request is taken
to succeed. Where the reference's batches differ from single events (empty texts kept, one mapping error refuses all),
so do these.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

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
# A batch for an action that does not exist is an accident of the engine, which comes after every other refusal.
_UNKNOWN_IN_BATCH = {"class": "TypeError", "engine_message": True}
_NOT_BATCHED = {
    "class": "IntegrationError",
    "message": "This action does not support batched requests.",
    "status": 501,
    "code": "NotImplemented",
}


def destination_of(settings: Any, subscriptions: Iterable[Any] | None) -> Destination:
    """Return the destination that the reference's own settings and subscriptions describe; the fifteen presets without
    any.

    Raises InvalidPayload when the settings are refused. Nothing else is: a bad subscription says so when it meets an
    event.
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


def event_results(event: Any, destination: Destination, now_s: float) -> JsonObject:
    """Return `{"requests", "results", "error"}` for one event; never raises. `now_s` is in Unix seconds."""
    answer = _Answer(destination)
    for subscription in destination.subscriptions:
        try:
            if not answer.settled(subscription) and subscription.matches(event if type(event) is dict else {}):
                answer.execute(subscription, event, now_s)
        except (Rejected, FqlError, RecursionError) as error:
            answer.add(subscription, status="error", error=_refusal(as_rejected(error)))
    return answer.json()


def batch_results(events: list[Any], destination: Destination, now_s: float) -> JsonObject:
    """Return the same for a list of events: a request for each subscription that takes any of them, and a
    `multistatus`."""
    answer = _Answer(destination)
    for subscription in destination.subscriptions:
        try:
            if not answer.settled(subscription, events):
                answer.execute_batch(subscription, events, now_s)
        except (Rejected, FqlError, RecursionError) as error:
            answer.add(subscription, status="error", error=_refusal(as_rejected(error)))
    return answer.json()


def deletion_results(event: Any, destination: Destination) -> JsonObject:
    """Return `{"requests", "result", "error"}` for a user deletion request: the id is pasted as it is, quirk of the
    reference."""
    user_id = event.get("userId", UNDEFINED) if type(event) is dict else UNDEFINED
    url = f"{destination.url}/api/v1/customers/{_as_url(javascript.text(user_id))}"
    return {
        "requests": [{"method": "DELETE", "url": url}],
        "result": {"status": 200, "data": {}},
        "error": None,
    }


def credentials_results(_destination: Destination) -> JsonObject:
    """Return `{"requests", "ok", "error"}` for a test of credentials: on the US host whatever the region, quirk of the
    reference."""
    return {"requests": [{"method": "GET", "url": f"{TRACK_URLS['us']}/auth"}], "ok": True, "error": None}


def described(error: Rejected) -> JsonObject:
    """Return the error as `{"class", "message" or "messages", "status"?, "code"?}`."""
    described: JsonObject = {"class": error.error_class}
    if isinstance(error, InvalidMapping) and not error.at_root:
        described["messages"] = list(error.messages)
    else:
        described["message"] = str(error)
    if error.status is not None:
        described["status"] = error.status
    if error.code is not None:
        described["code"] = error.code
    if error.error_class in _ENGINE_ERRORS:
        described["engine_message"] = True
    return described


def _refusal(error: Rejected) -> JsonObject:
    """Return the error as the engine rejects with it: one fault at the root of a mapping gets a status there."""
    refusal = described(error)
    if isinstance(error, InvalidMapping) and error.at_root:
        refusal["status"] = 400
    return refusal


class _Answer:
    """The requests and results so far, of one event or one batch."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.requests: list[JsonObject] = []
        self.results: list[JsonObject] = []

    def json(self) -> JsonObject:
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

    def settled(self, subscription: Subscription, events: list[Any] | None = None) -> bool:
        """Whether the subscription need not see the event: it is disabled, or its trigger cannot be used."""
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
            return self.add(subscription, status="error", error=_refusal(error), payload=payload)
        self.send(subscription, operation.path, operation.body)
        return self.add(subscription, status="executed", payload=payload)

    def execute_batch(self, subscription: Subscription, events: list[Any], now_s: float) -> None:
        wanted = [subscription.matches(event if type(event) is dict else {}) for event in events]
        if not any(wanted):
            return None
        if subscription.action is None:
            return self.add(subscription, status="error", error=_UNKNOWN_IN_BATCH)
        if subscription.action.path == METRICS_PATH:
            return self.add(subscription, status="error", error=dict(_NOT_BATCHED))
        statuses, taken = [], []
        for event, is_wanted in zip(events, wanted, strict=True):
            if not is_wanted:
                statuses.append(_refused("Payload is either invalid or does not match the subscription"))
                continue
            try:
                payload = subscription.batch_payload(event, now_s)
            except Rejected as error:
                if error.error_class != "AggregateAjvError":
                    raise
                statuses.append(_refused(str(error)))
                continue
            taken.append((event, payload))
            statuses.append({"status": 200, "body": {}})
        if not taken:
            return self.add(subscription, status="batch", multistatus=statuses)
        for event, is_wanted in zip(events, wanted, strict=True):
            if is_wanted:
                refuse_null_context(event)
        payloads = [payload for _, payload in taken]
        try:
            bodies = [operation_of(subscription, event, payload, now_s).body for event, payload in taken]
        except Rejected as error:
            return self.add(subscription, status="error", error=_refusal(error), payload=payloads)
        for batch in _split(bodies):
            self.send(subscription, BATCH_PATH, {"batch": batch})
        return self.add(subscription, status="batch", multistatus=statuses, payload=payloads)


def _split(bodies: list[JsonObject]) -> list[list[JsonObject]]:
    """One batch, or two where objects of anonymous visitors are sent apart; none is empty."""
    anonymous = [body for body in bodies if body["action"] == "identify_anonymous"]
    others = [body for body in bodies if body["action"] != "identify_anonymous"]
    return [batch for batch in (others, anonymous) if batch]


def _subscription(index: int, given: Any) -> Subscription:
    row = given if type(given) is dict else {}
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
    """What the reference's HTTP library makes of the end of a URL: cut, slashes for backslashes, a few characters
    escaped."""
    path, mark, query = text.rstrip().partition("?")
    spelled = path.replace("\\", "/") + mark + query
    return "".join(f"%{ord(character):02X}" if character in _ESCAPED_IN_URLS else character for character in spelled)
