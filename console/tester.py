"""What one event comes to at each destination, told on the terminal; sends it only when asked to."""

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
from settings import Settings
from workers import wire
from workers.customerio import TrackApi
from workers.outcomes import Delivered, Outcome
from workers.requests import Request, encode

_TIMEOUT_S = 20.0


def read_event(text: str | bytes) -> dict[str, Any]:
    """Return the event of a JSON text; raise CommandError when it is none."""
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
    """Yield what the event comes to: its ordering keys, each request, its answer when it is sent, each failure."""
    now_s = time.time()
    translation = mapping.translate(event, destination, now_s)
    names = {subscription.index: subscription.name for subscription in destination.subscriptions}
    url = settings.track_url or destination.url
    yield Text(f"{destination.name} ({url})", style="bold")
    yield Text(f"ordered by {', '.join(mapping.ordering_keys(event, destination)) or 'nothing'}")
    bodies = wire.bodies(translation.operations, "test", event, int(now_s * 1000))
    requests = [
        Request(operation.path, (encode(0, operation, body),))
        for operation, body in zip(translation.operations, bodies, strict=True)
    ]
    for request in requests:
        operation = request.items[0].operation
        yield Text(f"✓ {names[operation.subscription]} ({operation.action}) → POST {request.path}", style="green")
        yield JSON(request.body().decode())
    for failure in translation.failures:
        yield Text(f"✗ {failure.name} ({failure.action}): {failure.error_class}: {failure.message}", style="red")
    if not requests and not translation.failures:
        yield Text("no subscription takes this event: nothing would be sent")
    elif not send:
        yield Text("nothing was sent; --send sends")
    else:
        track_api = TrackApi(url, destination.site_id, destination.api_key, _TIMEOUT_S)
        yield from (_answered(request, track_api.send(request)[0]) for request in requests)


def _answered(request: Request, outcome: Outcome) -> Text:
    action = request.items[0].operation.action
    if isinstance(outcome, Delivered):
        return Text(f"sent {action}: accepted", style="green")
    return Text(f"sent {action}: {outcome.reason}", style="red")
