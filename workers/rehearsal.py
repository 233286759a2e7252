"""What a replay would do, without doing it: each letter mapped with the present configuration, and what is risky."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import redis

import mapping
from mapping.event import JsonObject
from workers.graveyard import Grave
from workers.people import last_update_s

_CAMPAIGNS_S = 72 * 3600
_CANNOT_BE_MENDED = frozenset({"merge", "delete", "suppress"})


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What one letter would come to. `changed`: a request that was refused would be another one now."""

    grave: Grave
    operations: tuple[JsonObject, ...]
    failures: tuple[str, ...]  # why it would be set aside again
    changed: bool
    risks: tuple[str, ...]


def rehearse(client: redis.Redis, grave: Grave, destination: mapping.Destination, now_s: float) -> Rehearsal:
    """Return what sending the letter now would do."""
    translation = mapping.translate(grave.event, destination, now_s)
    bodies = tuple(operation.body for operation in translation.operations)
    failures = tuple(failure.message for failure in translation.failures)
    refused = [fault["request"] for fault in grave.why["faults"] if "request" in fault]
    would_fail_alike = any(failure in str(grave.why["message"]) for failure in failures)
    changed = not would_fail_alike if not refused else any(not _is_among(request, bodies) for request in refused)
    return Rehearsal(grave, bodies, failures, changed, tuple(_risks(client, grave, destination, bodies, now_s)))


def _is_among(request: JsonObject, bodies: tuple[JsonObject, ...]) -> bool:
    """Whether the request was made of one of the bodies; the wire adds an id and a time."""
    return any(
        all(request.get(name) == value for name, value in body.items() if name not in ("id", "timestamp"))
        for body in bodies
    )


def _risks(
    client: redis.Redis, grave: Grave, destination: mapping.Destination, bodies: tuple[JsonObject, ...], now_s: float
) -> list[str]:
    risks = []
    happened_at_s = _seconds(grave.event.get("timestamp"), grave.letter.accepted_at_ms / 1000)
    actions = {body.get("action") for body in bodies}
    if "identify" in actions and happened_at_s < last_update_s(client, destination.name, grave.letter.keys):
        risks.append("older than an update that was sent since: it would overwrite newer values")
    if actions & {"event", "page", "screen"} and now_s - happened_at_s > _CAMPAIGNS_S:
        risks.append("more than 72 h old: it triggers no campaign")
    risks += [f"a {action} cannot be taken back" for action in sorted(_CANNOT_BE_MENDED & actions, key=str)]
    return risks


def _seconds(timestamp: object, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(str(timestamp)).timestamp()
    except ValueError:
        return otherwise
