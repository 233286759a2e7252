"""Stories delivered by the real code in one process: ordering, the lanes, claims, the HTTP client, and at its other end
the simulated workspace, without a socket between them.

No test sleeps. When nothing is due, the times that the queue waits for are moved nearer, and the service's clock ahead,
by the same time. So operations of one person are sent much closer together than the service takes to apply them: it
applies within LAG_MS, and SETTLE_S is more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any

import httpx
import redis

import lanes
import mapping
from delivery import customerio
from delivery.admission import Admission
from lanes import keys
from mapping.envelope import pack
from simulator.options import Faults, Options
from simulator.service import Service
from simulator.track import TrackApi
from tests.claims import deliver_one
from tests.queues import queue_of
from tests.secrets import CREDENTIALS, PAIRS
from tests.stories.generator import CIO_OF, LEAP_S, PHASES, Event, Story

QUEUE = "demo"
SETTLE_S = 2.0
LAG_MS = (0.0, 1600.0)
REQUESTS_PER_S = 10_000
PROBE_EVENTS = 1
WAIT_MS = 1000  # while nothing may be claimed

# Moves the times that a queue waits for nearer, by ARGV[1] ms.
#
# KEYS[1]  the events that are ready or delayed
# KEYS[2]  the admission of the destination
# ARGV[2…] patterns of the keys with the times until which lanes cool down, the recent attributes, the times at which
#          events finished, and the ranks
# ARGV[6]  where ranks have the time until which their events wait
# ARGV[7]  the links
_SKIP = """
local READY, ADMISSION, ms = KEYS[1], KEYS[2], tonumber(ARGV[1])
local COOLING_UNTIL, RECENT_ATTRIBUTES, FINISHED_AT, RANK, LINKS = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[7]
local DIGEST, TIME = 8, 13
for _, event in ipairs(redis.call('ZRANGE', READY, 0, -1)) do
  redis.call('ZINCRBY', READY, -ms, event)
end
local firsts = { [COOLING_UNTIL] = 1, [RECENT_ATTRIBUTES] = 1, [RANK] = tonumber(ARGV[6]), [LINKS] = 2 }
for pattern, first in pairs(firsts) do
  for _, name in ipairs(redis.call('KEYS', pattern)) do
    local values = redis.call('HGETALL', name)
    for at = 1, #values, 2 do
      local value, last = values[at + 1], first + TIME - 1
      local time = string.format('%013d', math.max(string.sub(value, first, last) - ms, 0))
      redis.call('HSET', name, values[at], string.sub(value, 1, first - 1) .. time .. string.sub(value, last + 1))
    end
  end
end
for _, name in ipairs(redis.call('KEYS', FINISHED_AT)) do
  local finished, moved = redis.call('GET', name), {}
  for at = 1, #finished, DIGEST + TIME do
    local time = string.sub(finished, at + DIGEST, at + DIGEST + TIME - 1)
    moved[#moved + 1] = string.sub(finished, at, at + DIGEST - 1) .. string.format('%013d', time - ms)
  end
  redis.call('SET', name, table.concat(moved), 'KEEPTTL')
end
for field, in_a_ms in pairs({ probe_at = 1, turn = 1000, rate_at = 1000 }) do
  if redis.call('HEXISTS', ADMISSION, field) == 1 then
    redis.call('HINCRBY', ADMISSION, field, -ms * in_a_ms)
  end
end
"""
_MOVED = (keys.READY.of(QUEUE), keys.ADMISSION.of(QUEUE))
_PATTERNS = (
    keys.COOLING_UNTIL.of(QUEUE, "*"),
    keys.RECENT_ATTRIBUTES.of(QUEUE, "*"),
    keys.FINISHED_AT.of(QUEUE, "*", "*"),
    keys.RANK.of(QUEUE, "*"),
)
_RANK_TIME_AT = keys.RANK_DIGITS + 1 + keys.CLIENT_BYTES + 1  # see lanes/records.py


def people(
    client: redis.Redis, stories: Sequence[Story], options: Options, faults: Faults, order: str, settle_s: float
) -> list[dict[str, Any]]:
    """Return the people of the workspace after all stories were delivered: side by side, phase by phase."""
    pipeline = started(client, options, faults, order, settle_s)
    for phase in range(PHASES):
        events = chain.from_iterable(zip_longest(*(story.phases[phase] for story in stories)))
        pipeline.append([event for event in events if event is not None])
        pipeline.end_phase()
    return pipeline.people()


def started(client: redis.Redis, options: Options, faults: Faults, order: str, settle_s: float) -> Pipeline:
    """Return a pipeline with an empty queue and an empty workspace."""
    client.flushall()
    service = Service(seed=faults.seed or 1)
    service.set_options(options)
    service.set_faults(faults)
    return Pipeline(client, service, order, settle_s)


class Pipeline:
    """From the event to one workspace, in this process."""

    def __init__(self, client: redis.Redis, service: Service, order: str, settle_s: float) -> None:
        table = {**CREDENTIALS, "delivery": {"order": order}}
        self.destination = mapping.destinations({"destinations": {QUEUE: table}})[QUEUE]
        self.client = client
        self.service = service
        self.clock = service.clock
        self.queue = queue_of(client, QUEUE, cooldown_ms=int(settle_s * 1000))
        self.admission = Admission(queue=self.queue, requests_per_s=REQUESTS_PER_S, probe_wait_s=1, turn_s=1)
        self.transport = InProcess(TrackApi(service, PAIRS, "us"))
        track_api = customerio.TrackApi("http://sim", **CREDENTIALS, timeout_s=1, transport=self.transport)
        self.send = self.admission.guard(track_api.send)

    def people(self) -> list[dict[str, Any]]:
        """Return the people of the workspace."""
        return [person.json() for person in self.service.workspace.people.values()]

    def append(self, events: Sequence[Event]) -> None:
        """Append the events in their order; they do not wait for earlier ones."""
        entries = [self.entry(event) for event in events]
        for first in range(0, len(entries), 500):
            lanes.append(self.queue, entries[first : first + 500])

    def end_phase(self) -> None:
        """Deliver all events that were appended, and have them applied before the next phase begins."""
        self.drain()
        self.clock.advance(LEAP_S)
        self.service.catch_up()

    def deliver(self, events: Sequence[Event]) -> None:
        """Append the events and deliver them, until none is left."""
        self.append(events)
        self.drain()

    def drain(self) -> None:
        """Deliver until no event is left."""
        due_ms: int | None = 0
        while due_ms is not None:
            if (permit := self.admission.permit()) == "none":
                self.skip(WAIT_MS)
                continue
            most = 500 if permit == "all" else PROBE_EVENTS
            claim = deliver_one(self.queue, self.destination, self.send, max_events=most, max_bytes=10**7)
            due_ms = 0 if claim.events else claim.next_due_ms
            if due_ms:
                self.skip(due_ms)
        figures = lanes.stats(self.queue)
        assert (figures.waiting, figures.dead) == (0, 0)

    def skip(self, wait_ms: int) -> None:
        """Let the time pass, on the queue and at the service."""
        self.clock.advance(wait_ms / 1000)
        self.client.eval(_SKIP, len(_MOVED), *_MOVED, wait_ms, *_PATTERNS, _RANK_TIME_AT, keys.LINKS.of(QUEUE))

    def entry(self, event: Event, rank: bytes = b"") -> lanes.NewEvent:
        """Return the event as ingest appends it, with the cio_id that the workspace gave."""
        event = resolved(event, self.service)
        info = mapping.ordering_info(event, self.destination)
        cooldown_ms = self.queue.cooldown_ms if info.needs_cooldown else 0
        body, run = pack("stories", event), info.run
        return lanes.NewEvent(body, info.keys, event["messageId"], cooldown_ms, info.join, rank=rank, run=run)


class InProcess(httpx.BaseTransport):
    """Hands requests to the simulated workspace, unless the connection is down."""

    def __init__(self, track: TrackApi) -> None:
        self.track = track
        self.is_down: Callable[[], bool] = lambda: False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_down():
            raise httpx.ConnectError("the connection is down")
        scope = {
            "method": request.method,
            "raw_path": request.url.raw_path,
            "query_string": b"",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
        }
        response = self.track.answer(scope, request.read())
        return httpx.Response(response.status, content=response.body)


def resolved(event: Event, service: Service) -> Event:
    """Return the event with the cio_id that the workspace gave."""
    user_id = event.get("userId", "")
    if not user_id.startswith(CIO_OF):
        return event
    person = service.workspace.find({"id": user_id.removeprefix(CIO_OF)})
    return event | {"userId": f"cio_{person.cio_id if person else 'missing'}"}
