"""`segue test`: what each destination does with one event, and its requests; sent only on demand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
from rich.console import RenderableType
from rich.json import JSON
from rich.text import Text

import mapping
from console.errors import CommandError
from delivery import wire
from delivery.batching import Request, encode
from delivery.customerio import TrackApi
from delivery.outcomes import Delivered, Outcome
from ingest import identities
from settings import Settings

_TIMEOUT_S = 20.0
_NAME_BYTES = 100  # of events, pages and screens


def read_event(text: str | bytes) -> dict[str, Any]:
    """Return the event of a JSON text. Raises CommandError: it is not JSON, or not an object."""
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"the event is not JSON: {error}") from None
    if not isinstance(event, dict):
        raise CommandError('the event must be an object like {"type": "track", "event": "…", "userId": "…"}')
    return event


def report(
    event: dict[str, Any], destination: mapping.Destination, settings: Settings, *, send: bool
) -> Iterator[RenderableType]:
    """Yield the ordering keys of the event, the decision of each subscription with its reasons, and each request.

    With `send` the requests are sent in order, and each outcome is yielded.
    """
    now_s = time.time()
    explanation = mapping.explain(event, destination, now_s)
    url = settings.track_url or destination.url
    yield Text(f"{destination.name} ({url})", style="bold")
    yield Text(f"ordering keys: {', '.join(explanation.ordering.keys) or 'none'}")
    yield from _warnings_of_ids(event)
    if explanation.event is None:
        yield Text(f"filtered: {explanation.filtered}")
        yield Text("nothing would be sent")
        return
    bodies = iter(wire.bodies(explanation.operations, "test", explanation.event, int(now_s * 1000)))
    requests = []
    for decision in explanation.decisions:
        yield from _decision(decision)
        if decision.operation is not None:
            requests.append(Request(decision.operation.path, (encode(0, 0, decision.operation, next(bodies)),)))
            yield JSON(requests[-1].body().decode())
            yield from _warnings(decision.operation.body)
    if not requests:
        yield Text("nothing would be sent")
    elif not send:
        yield Text("nothing was sent; --send sends the requests")
    else:
        track_api = TrackApi(url, destination.site_id, destination.api_key, _TIMEOUT_S)
        yield from (_outcome(request, track_api.send(request)[0]) for request in requests)


def _decision(decision: mapping.Decision) -> Iterator[Text]:
    subscription = f"{decision.subscription} ({decision.action})"
    if decision.operation is not None:
        yield Text(f"✓ {subscription} → POST {decision.operation.path}", style="green")
    for error in decision.errors:
        yield Text(f"✗ {subscription}: {error}", style="red")
    if decision.reason is not None:
        yield Text(f"– {subscription}: {decision.reason}", style="dim")
    for unmet in decision.unmet:
        actual = orjson.dumps(unmet.actual, default=str).decode()
        yield Text(f"– {subscription}: {unmet.condition} is not met; the value is {actual}", style="dim")


def _warnings_of_ids(event: dict[str, Any]) -> Iterator[Text]:
    """Yield a warning for each id that many people may share: what they do would change one person."""
    for name, value in event.items():
        if isinstance(value, str | int | float) and identities.unlikely({name: value}):
            text = f"warning: {name} {orjson.dumps(value).decode()} is an unlikely id: many people may share it"
            yield Text(text, style="yellow")


def _warnings(body: dict[str, Any]) -> Iterator[Text]:
    """Yield what Customer.io refuses of the body, or may refuse."""
    name = body.get("name")
    size = len(name.encode(errors="replace")) if isinstance(name, str) else 0
    if size > _NAME_BYTES:
        yield Text(f"warning: the name has {size} bytes; Customer.io accepts at most {_NAME_BYTES}", style="yellow")


def _outcome(request: Request, outcome: Outcome) -> Text:
    action = request.items[0].action
    if isinstance(outcome, Delivered):
        return Text(f"sent {action}: accepted", style="green")
    return Text(f"sent {action}: {outcome.reason}", style="red")
