"""Stories delivered by the real thing in one process: their places on the queue, the lanes, claims worked off, the HTTP
client, and at its other end the simulated workspace, without a socket between them.

Nobody sleeps: when nothing is due, what the queue waits for is moved nearer and the service's clock on, by the same
time. So operations of one person leave much closer together than the service takes to apply them, which it does within
LAG_MS; SETTLE_S is more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any

import httpx
import redis

import lanes
import mapping
from delivery import customerio
from delivery.admission import Gate
from lanes.keys import base
from mapping.envelope import pack
from simulator.options import Faults, Options
from simulator.service import Service
from simulator.track import TrackApi
from tests.queues import queue_of
from tests.stories.telling import CIO_OF, LEAP_S, PHASES, Event, Story
from workers.claim import Terms, work_off
from workers.lease import Lease

QUEUE = "demo"
SETTLE_S = 2.0
LAG_MS = (0.0, 1600.0)
LEASE_MS = 60_000
DAYS_S = 30 * 86_400
REQUESTS_PER_S = 10_000
PROBE_EVENTS = 5
LOOK_MS = 1000  # while the gate is shut

# Moves nearer, by ARGV[1] ms, whatever the queue KEYS[1] waits for.
_SKIP = """
local base, ms = KEYS[1], tonumber(ARGV[1])
for _, event in ipairs(redis.call('ZRANGE', base .. ':ready', 0, -1)) do
  redis.call('ZINCRBY', base .. ':ready', -ms, event)
end
for _, name in ipairs(redis.call('KEYS', base .. ':cooling_until:*')) do
  for _, digest in ipairs(redis.call('HKEYS', name)) do
    redis.call('HINCRBY', name, digest, -ms)
  end
end
local DIGEST, TIME = 8, 13
for _, name in ipairs(redis.call('KEYS', base .. ':recent_attributes:*')) do
  local said = redis.call('HGETALL', name)
  for at = 1, #said, 2 do
    local time = string.sub(said[at + 1], 1, TIME)
    redis.call('HSET', name, said[at], string.format('%013d', time - ms) .. string.sub(said[at + 1], TIME + 1))
  end
end
for _, name in ipairs(redis.call('KEYS', base .. ':finished_at:*')) do
  local notes, moved = redis.call('GET', name), {}
  for at = 1, #notes, DIGEST + TIME do
    local time = string.sub(notes, at + DIGEST, at + DIGEST + TIME - 1)
    moved[#moved + 1] = string.sub(notes, at, at + DIGEST - 1) .. string.format('%013d', time - ms)
  end
  redis.call('SET', name, table.concat(moved), 'KEEPTTL')
end
for field, in_a_ms in pairs({ probe_at = 1, turn = 1000, rate_at = 1000 }) do
  if redis.call('HEXISTS', base .. ':admission', field) == 1 then
    redis.call('HINCRBY', base .. ':admission', field, -ms * in_a_ms)
  end
end
"""


def people(
    client: redis.Redis, stories: Sequence[Story], options: Options, faults: Faults, order: str, settle_s: float
) -> list[dict[str, Any]]:
    """Return who is in the workspace when all stories were delivered, told side by side and phase by phase."""
    client.flushall()
    service = Service(seed=faults.seed or 1)
    service.set_options(options)
    service.set_faults(faults)
    way = Way(client, service, order, settle_s)
    for phase in range(PHASES):
        told = zip_longest(*(story.phases[phase] for story in stories))
        way.deliver([resolved(event, service) for event in chain.from_iterable(told) if event is not None])
        service.clock.advance(LEAP_S)
        service.catch_up()
    return [person.json() for person in service.workspace.people.values()]


class Way:
    """The way of events to one workspace."""

    def __init__(self, client: redis.Redis, service: Service, order: str, settle_s: float) -> None:
        table = {"site_id": "demo", "api_key": "demo", "delivery": {"order": order}}
        self.destination = mapping.destinations({"destinations": {QUEUE: table}})[QUEUE]
        self.client = client
        self.clock = service.clock
        self.queue = queue_of(client, QUEUE, cooldown_ms=int(settle_s * 1000))
        self.terms = Terms(0.01, timeout_s=1, turn_s=1, lease_ms=LEASE_MS)
        self.gate = Gate(self.queue, REQUESTS_PER_S, probe_wait_s=1, turn_s=1)
        self.line = InProcess(TrackApi(service, [("demo", "demo")], "us"))
        self.send = self.gate.guard(customerio.TrackApi("http://sim", "demo", "demo", 1, self.line).send)

    def deliver(self, events: Sequence[Event]) -> None:
        """Take the events in and work them off, until none is left."""
        entries = [self.entry(event) for event in events]
        for first in range(0, len(entries), 500):
            lanes.append(
                self.queue,
                entries[first : first + 500],
            )
        due_ms: int | None = 0
        while due_ms is not None:
            if (admission := self.gate.admit()) == "shut":
                self.skip(LOOK_MS)
                continue
            asked_at = time.monotonic()
            claim = lanes.claim(
                self.queue,
                lease_ms=LEASE_MS,
                max_events=500 if admission == "open" else PROBE_EVENTS,
                max_bytes=10**7,
                max_depth=20,
                poll_ms=0,
            )
            due_ms = claim.next_due_ms
            if claim.events:
                due_ms = 0
                lease = Lease(self.queue, claim.id, LEASE_MS, asked_at)
                work_off(claim, lease, self.destination, self.send, self.terms, lambda: False)
            elif due_ms:
                self.skip(due_ms)
        figures = lanes.stats(self.queue)
        assert (figures.waiting, figures.dead) == (0, 0)

    def skip(self, wait_ms: int) -> None:
        """Let the time pass, on the queue and at the service."""
        self.clock.advance(wait_ms / 1000)
        self.client.eval(_SKIP, 1, base(QUEUE), wait_ms)

    def entry(self, event: Event) -> lanes.NewEvent:
        """Return the event as ingest puts it onto the queue."""
        place = mapping.ordering_info(event, self.destination)
        hold_ms = self.queue.cooldown_ms if place.needs_cooldown else 0
        return lanes.NewEvent(pack("stories", event), place.keys, event["messageId"], hold_ms, place.join)


class InProcess(httpx.BaseTransport):
    """Hands requests to the simulated workspace, unless the line is down."""

    def __init__(self, track: TrackApi) -> None:
        self.track = track
        self.is_down: Callable[[], bool] = lambda: False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_down():
            raise httpx.ConnectError("the line is down")
        scope = {
            "method": request.method,
            "raw_path": request.url.raw_path,
            "query_string": b"",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
        }
        answer = self.track.answer(scope, request.read())
        return httpx.Response(answer.status, content=answer.body)


def resolved(event: Event, service: Service) -> Event:
    """Return the event with the cio_id that the workspace gave."""
    user_id = event.get("userId", "")
    if not user_id.startswith(CIO_OF):
        return event
    person = service.workspace.find({"id": user_id.removeprefix(CIO_OF)})
    return event | {"userId": f"cio_{person.cio_id if person else 'nobody'}"}
