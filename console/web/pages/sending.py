"""Sending from the tester: exactly the requests that a test showed, by the steps of a worker.

The form of a result carries the event, the time of the test, and a mark of its requests. From these the same requests
are made again; when the configuration has changed meanwhile, they are others, and nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import mapping
from console import tester
from console.errors import CommandError
from console.web import audit_log
from console.web.pages.tester import page, trial_of
from console.web.rendering import in_form
from console.web.visit import Result, Visit
from delivery import admission, overrides
from delivery.admission import Admission
from delivery.outcomes import Send
from delivery.sender import DeliveryLimits, sender
from lanes.clock import machine_ms

_LONGEST_MS: Final = 3_600_000  # from a test to the sending of its requests


def send(visit: Visit) -> Result:
    """Send the requests that a result showed, by the steps of a worker, and show the outcome of each item."""
    event, at_ms = tester.read_event(visit.given("event")), _time(visit.given("at"))
    destination, source = visit.session.only(visit.given("destination") or None), visit.given("source")
    trial = trial_of(visit, event, destination.name, source, at_ms)
    if not trial.requests or visit.given("seen") != trial.mark:
        raise CommandError("The requests are others now: the configuration was changed. Test again; nothing was sent.")
    if tester.is_shadow(trial, destination, at_ms):
        raise CommandError(f"Nothing was sent: this is a shadow event of {destination.name}, which no worker sends.")
    sent = tester.send(trial, destination, _as_worker(visit, destination, at_ms))
    outcomes = [{"action": item.action, **tester.outcome_json(outcome)} for item, outcome in sent]
    accepted = sum(outcome["accepted"] for outcome in outcomes)
    facts = {"actions": [item.action for item, _ in sent], "accepted": accepted}
    audit_log.write(visit.session.client, visit.user, "send", destination.name, **facts)
    shown = page(visit, in_form(event), destination=destination.name, source=source, trials=[trial], outcomes=outcomes)
    return replace(shown, data={"requests": trial.json()["requests"], "outcomes": outcomes})


def _time(text: str) -> int:
    """Return the time of a test. Raises CommandError: it was too long ago."""
    now_ms = machine_ms()
    at_ms = int(text) if text.isdecimal() and len(text) < 16 else 0
    if not now_ms - _LONGEST_MS < at_ms <= now_ms:
        raise CommandError("The test was too long ago. Test again; nothing was sent.")
    return at_ms


def _as_worker(visit: Visit, destination: mapping.Destination, at_ms: int) -> Callable[[Send], Send]:
    """Return the steps of a worker before the HTTP call: rate limit, circuit breaker, pause, attempts.

    Raises CommandError: a worker would send nothing now.
    """
    settings, queue = visit.session.settings, visit.session.new_queue(destination.name)
    limits = DeliveryLimits.within(settings.lease_s, settings.retry_base_s)
    admitted = Admission(
        queue=queue,
        requests_per_s=destination.delivery.requests_per_s,
        probe_wait_s=limits.retry_base_s,
        turn_s=limits.turn_s,
    )
    if admitted.permit() == "none":
        is_paused = overrides.read(queue).pause is not None
        why = "an operator has paused it" if is_paused else admission.read(queue).reason or "the rate limit has no room"
        raise CommandError(f"Nothing was sent, as a worker would send nothing to {destination.name} now: {why}.")
    return lambda http: sender(
        http,
        destination=destination.name,
        limits=limits,
        ensure_lease=lambda _seconds: None,  # there is no claim: the event is on no queue
        is_stopping=lambda: False,
        accepted_at_ms={0: at_ms},
        admission=admitted,
    )
