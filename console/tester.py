"""`segue test`: what becomes of one event at each destination, and its requests; sent only on demand.

The event is completed and checked as ingest does it for a call of the source. So its requests are those that a worker
would send: the same bodies, batched the same way, with the same event ids. What is remembered of people in Redis is not
applied: merges, deletions, and newer attributes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson
from rich.console import RenderableType
from rich.json import JSON
from rich.text import Text

import mapping
from console.errors import CommandError
from console.partial import differences
from console.session import Session
from delivery import wire
from delivery.batching import Item, Request, TooLarge, encode, pack
from delivery.customerio import TrackApi
from delivery.outcomes import NOT_SENT, Delivered, Outcome, Paused, Send
from ingest import bodies, events, identities
from ingest.access import sources
from ingest.access.permissions import Permissions
from ingest.access.sources import Source
from ingest.errors import Refusal
from ingest.events import MAX_LEVELS, Reception
from mapping.envelope import has_more_levels, utf8_fault

_TIMEOUT_S = 20.0
_NAME_BYTES = 100  # of events, pages and screens
_BEHIND = Paused("not sent, because it is behind one that was not accepted", NOT_SENT)
_NO_SOURCE = "test"  # in place of a source, when none feeds the destination


def read_event(text: str | bytes) -> dict[str, Any]:
    """Return the event of a JSON text, as ingest reads it: with all digits of an id, without halves of characters.

    Raises CommandError: it is not JSON, not an object, or nested too deeply.
    """
    body = text.encode("utf-8", "replace") if isinstance(text, str) else text
    try:
        event = bodies.parsed(body)
    except Refusal as refusal:
        raise CommandError(str(refusal).replace("the body", "the event", 1)) from None
    if not isinstance(event, dict) or "batch" in event:
        raise CommandError('the event must be an object like {"type": "track", "event": "…", "userId": "…"}')
    if has_more_levels(event, MAX_LEVELS):
        raise CommandError(f"the event is nested in more than {MAX_LEVELS} levels; ingest refuses it")
    return event


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What becomes of an event at one destination."""

    destination: str
    url: str
    source: str
    refusal: str | None  # why ingest refuses the event; then nothing else is known
    explanation: mapping.Explanation | None = None
    requests: tuple[Request, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def failures(self) -> list[str]:
        """Why the event would be refused or become a dead letter."""
        errors = [f"{each.subscription}: {error}" for each in self._decisions for error in each.errors]
        return [self.refusal, *errors] if self.refusal else errors

    @property
    def _decisions(self) -> Sequence[mapping.Decision]:
        return self.explanation.decisions if self.explanation else ()

    @property
    def mark(self) -> str:
        """A text that tells its requests, byte for byte, from others."""
        parts = [part for request in self.requests for part in (request.path.encode(), request.body())]
        return sha256(b"\n".join(parts)).hexdigest()

    def json(self) -> dict[str, Any]:
        """Return `{"destination", "url", "source", "refused", "filtered", "ordering_keys", "subscriptions", "requests":
        [{"method", "path", "body"}], "warnings"}`.

        A subscription is `{"name", "action", "state", "reason", "errors"}`; its state is "sent", "failed",
        "not applicable", "not matched" or "disabled".
        """
        explanation = self.explanation
        return {
            "destination": self.destination,
            "url": self.url,
            "source": self.source,
            "refused": self.refusal,
            "filtered": explanation.filtered if explanation else None,
            "ordering_keys": list(explanation.ordering.keys) if explanation else [],
            "subscriptions": [_decision_json(decision) for decision in self._decisions],
            "requests": [
                {"method": "POST", "path": request.path, "body": json.loads(request.body())}
                for request in self.requests
            ],
            "warnings": list(self.warnings),
        }

    def render(self, *, verbose: bool) -> Iterator[RenderableType]:
        """Yield the lines for people: the subscriptions that match, their faults, and the requests. `verbose`: also why
        the others do not match, which is always shown when none matches."""
        yield Text.assemble((self.destination, "bold"), f" ({self.url}), as from the source {self.source}")
        if self.explanation is None:
            yield Text(f"ingest refuses the event: {self.refusal}", style="red")
            return
        yield Text(f"ordering keys: {', '.join(self.explanation.ordering.keys) or 'none'}")
        yield from (Text(f"warning: {warning}", style="yellow") for warning in self.warnings)
        if self.explanation.filtered is not None:
            yield Text(f"filtered: {self.explanation.filtered}")
        shown = [each for each in self._decisions if each.matched] or list(self._decisions)
        for decision in self._decisions if verbose else shown:
            yield from _decision(decision)
        hidden = 0 if verbose else len(self._decisions) - len(shown)
        if hidden:
            yield Text(f"{hidden} more subscriptions do not match; --verbose says why", style="dim")
        for request in self.requests:
            yield Text(f"POST {request.path}")
            yield JSON(request.body().decode())
        if not self.requests:
            yield Text("nothing would be sent")


def is_shadow(trial: Trial, destination: mapping.Destination, at_ms: int) -> bool:
    """Whether a worker would not send the event of a trial, as it is a shadow event."""
    event, cutover = trial.explanation.event if trial.explanation else None, destination.cutover
    return event is not None and cutover is not None and cutover.excludes(event, at_ms)


def tried(
    event: dict[str, Any],
    session: Session,
    destination: mapping.Destination,
    source: Source | None,
    now_s: float | None = None,
) -> Trial:
    """Return what becomes of the event, if the source sends it at this time, in Unix seconds; without one, now.

    Nothing is sent. An event with a `messageId` and the same time always has the same result.
    """
    now_s = time.time() if now_s is None else now_s
    url = session.settings.track_url or destination.url
    name = source.name if source else _NO_SOURCE
    try:
        completed = _completed(event, source, session.destinations, now_s)
    except Refusal as refusal:
        return Trial(destination=destination.name, url=url, source=name, refusal=str(refusal))
    explanation = mapping.explain(completed, destination, now_s)
    requests, faults = tuple[Request, ...](), tuple[str, ...]()
    try:
        requests = () if explanation.event is None else tuple(_requests(explanation, destination, name, now_s))
    except TooLarge as error:
        faults = (f"{error}: the event becomes a dead letter",)
    bodies = [operation.body for operation in explanation.operations]
    return Trial(
        destination=destination.name,
        url=url,
        source=name,
        refusal=None,
        explanation=explanation,
        requests=requests,
        warnings=(*faults, *_warnings_of_ids(event), *(warning for body in bodies for warning in _warnings(body))),
    )


def source_for(session: Session, destination: str, name: str | None) -> Source | None:
    """Return the source of this name, or the first one that feeds the destination; None: there is none.

    Raises CommandError: there is no source of this name, or it does not feed the destination.
    """
    found = [each for each in sources.sources(session.document) if destination in each.destinations]
    if name is None:
        return found[0] if found else None
    for source in found:
        if source.name == name:
            return source
    names = ", ".join(source.name for source in found) or "none"
    raise CommandError(f'no source "{name}" feeds the destination {destination}; there are {names}')


def send(
    trial: Trial, destination: mapping.Destination, steps: Callable[[Send], Send] = lambda send: send
) -> list[tuple[Item, Outcome]]:
    """Send the requests of the trial in their order; return their items with their outcomes.

    `steps`: what a request passes before the HTTP call, as `delivery.sender` has it for workers. Requests behind one
    that was not accepted are not sent, as a worker would not send them.
    """
    if not trial.requests:
        return []
    send_one = steps(TrackApi(trial.url, destination.site_id, destination.api_key, _TIMEOUT_S).send)
    found: list[tuple[Item, Outcome]] = []
    for request in trial.requests:
        is_next = all(isinstance(outcome, Delivered) for _, outcome in found)
        outcomes = send_one(request) if is_next else [_BEHIND] * len(request.items)
        found += zip(request.items, outcomes, strict=True)
    return found


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return `{"accepted", "reason"}`."""
    return {"accepted": isinstance(outcome, Delivered), "reason": getattr(outcome, "reason", None)}


def outcome_line(item: Item, outcome: Outcome) -> Text:
    """Return a line for people."""
    if isinstance(outcome, Delivered):
        return Text(f"sent {item.action}: accepted", style="green")
    if outcome is _BEHIND:
        return Text(f"{item.action}: {outcome.reason}", style="red")
    return Text(f"sent {item.action}: {outcome.reason}", style="red")


def unexpected(expected: Sequence[dict[str, Any]], trials: Sequence[Trial]) -> list[str]:
    """Return where the results are not as expected. An expected result is for the destination that it names, or for the
    only one."""
    results = {trial.destination: trial.json() for trial in trials}
    found = []
    for line in expected:
        name = line.get("destination") or next(iter(results), None)
        if name not in results or (len(results) > 1 and "destination" not in line):
            raise CommandError(f"--expect: each result must name one of the destinations {', '.join(results)}")
        found += [f"{name}: {difference}" for difference in differences(line, results[name])]
    return found


def expectations(text: bytes) -> list[dict[str, Any]]:
    """Return the expected results, one JSON object a line or one JSON text. Raises CommandError."""
    try:
        lines = [orjson.loads(text)]
    except orjson.JSONDecodeError:
        try:
            lines = [orjson.loads(line) for line in text.splitlines() if line.strip()]
        except orjson.JSONDecodeError as error:
            raise CommandError(f"--expect: the file is not JSON: {utf8_fault(text) or error}") from None
    if not lines or not all(isinstance(line, dict) for line in lines):
        raise CommandError("--expect: the file must have JSON objects, as `segue test --json` prints them")
    return lines


def _completed(
    event: dict[str, Any], source: Source | None, destinations: Mapping[str, mapping.Destination], now_s: float
) -> dict[str, Any]:
    """Return the event as ingest stores it. Raises Refusal."""
    reception = Reception(datetime.fromtimestamp(now_s, UTC))
    completed, _, _ = events.completed(event, reception)
    fed = destinations if source is None else source.destinations
    schemes = {destinations[name].identifiers for name in fed}
    if completed["type"] == "alias" and identities.names_one_person(completed, schemes):
        raise Refusal(400, "the alias names one person twice, so it is dropped")
    if source is not None:
        if source.unlikely_ids == "refuse" and (name := identities.unlikely(completed)):
            raise Refusal(400, f"{name}: is an unlikely id, which the source refuses", name)
        Permissions(source, destinations).check(completed, reception)
    events.as_stored(source.name if source else _NO_SOURCE, completed, event)
    return completed


def _requests(
    explanation: mapping.Explanation, destination: mapping.Destination, source: str, now_s: float
) -> Iterator[Request]:
    """Yield the requests as a worker makes them: one an operation, unless the order within a request is trusted."""
    event = explanation.event or {}
    bodies = wire.bodies(explanation.operations, source, event, int(now_s * 1000))
    pairs = zip(explanation.operations, bodies, strict=True)
    items = [encode(0, index, operation, body) for index, (operation, body) in enumerate(pairs)]
    if destination.delivery.batch_order == "trust":
        yield from pack(items, destination.batch_items)
    else:
        for item in items:
            yield from pack([item], destination.batch_items)


def _decision_json(decision: mapping.Decision) -> dict[str, Any]:
    reason = decision.reason
    if decision.unmet:
        reason = "; ".join(f"{unmet.condition} is not met" for unmet in decision.unmet)
    return {
        "name": decision.subscription,
        "action": decision.action,
        "state": _state(decision),
        "reason": reason,
        "errors": list(decision.errors),
    }


def _state(decision: mapping.Decision) -> str:
    if decision.operation is not None:
        return "sent"
    if decision.errors:
        return "failed"
    if decision.matched:
        return "not applicable"
    return "not matched" if decision.unmet else "disabled"


def _decision(decision: mapping.Decision) -> Iterator[Text]:
    subscription = f"{decision.subscription} ({decision.action})"
    if decision.operation is not None:
        yield Text(f"✓ {subscription}", style="green")
    for error in decision.errors:
        yield Text(f"✗ {subscription}: {error}", style="red")
    if decision.reason is not None:
        yield Text(f"– {subscription}: {decision.reason}", style="dim")
    for unmet in decision.unmet:
        actual = orjson.dumps(unmet.actual, default=str).decode()
        yield Text(f"– {subscription}: {unmet.condition} is not met; the value is {actual}", style="dim")


def _warnings_of_ids(event: dict[str, Any]) -> Iterator[str]:
    """Yield a warning for each id that many people may share: what they do would change one person."""
    for name, value in event.items():
        if isinstance(value, str | int | float) and identities.unlikely({name: value}):
            yield f"{name} {orjson.dumps(value).decode()} is an unlikely id: many people may share it"


def _warnings(body: dict[str, Any]) -> Iterator[str]:
    """Yield what Customer.io refuses of the body, or may refuse."""
    name = body.get("name")
    size = len(name.encode(errors="replace")) if isinstance(name, str) else 0
    if size > _NAME_BYTES:
        yield f"the name has {size} bytes; Customer.io accepts at most {_NAME_BYTES}"
