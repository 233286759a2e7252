"""Operations that the service accepts and will not apply: told before, and not told of those that it applies.

The rules are those of the decision table of identities, docs/simulator.md rule 18; the simulator says what is applied.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import fakeredis
import pytest
import redis

import lanes
from delivery import identity_memory, unapplied
from delivery import log as delivery_log
from delivery.batching import Request
from delivery.identity_memory import Change
from delivery.outcomes import Delivered, Outcome
from delivery.prepare import Prepared, address, prepare
from lanes import keys
from mapping.operation import BATCH_PATH
from simulator.options import Options
from simulator.workspace import Workspace
from tests.logged import logged
from tests.unit.delivery.test_identifier_changes import QUEUE, Worker, identify, make_due, track

E, E0 = "e@example.com", "e0@example.com"
# Identifies in their order; which of them are told to be in vain, by their index.
STORIES: dict[str, tuple[list[dict[str, Any]], list[int]]] = {
    "a second id for an address": ([identify("a", email=E), identify("b", email=E)], [1]),
    "a known id without an address": ([identify("a", email=E), identify("b"), identify("b", email=E)], [2]),
    "a known id with another address": ([identify("a", email=E), identify("b", email=E0), identify("b", email=E)], [2]),
    "another id for the person of an address": ([identify("a", email=E), identify(E, id="b")], [1]),
    "each time": ([identify("a", email=E), identify("b", email=E), identify("b", email=E)], [1, 2]),
    "a third id": ([identify("a", email=E), identify("b", email=E), identify("c", email=E)], [1, 2]),
    "the address of a lead": ([identify(E), identify("b", email=E0), identify("b", email=E)], [2]),
    "the address of a lead, each time": (
        [identify(E), identify("b", email=E0), *[identify("b", email=E)] * 2],
        [2, 3],
    ),
    # What is applied, or may be.
    "one person": ([identify("a", email=E), identify("a", email=E), identify(E, id="a")], []),
    "in another case": ([identify("a", email=E), identify("a", email=E.upper())], []),
    "its owner afterwards": ([identify("a", email=E), identify("b", email=E), identify("a", email=E)], [1]),
    "a lead who becomes a customer": ([identify(E), identify("a", email=E)], []),
    "a lead and an id without an address": ([identify(E), identify("a"), identify("a", email=E)], []),
    "another address": ([identify("a", email=E), identify("a", email=E0)], []),
    "an address that was given up": (
        [identify("a", email=E), identify("a", email=E0), identify("b", email=E)],
        [],
    ),
    "the address of a merged person": (
        [
            identify("a", email=E),
            identify("p"),
            {"type": "alias", "userId": "p", "previousId": "a"},
            identify("b", email=E),
        ],
        [],
    ),
    "an address that a cio_id gave": (
        [identify("a"), identify("cio_00000001", email=E), identify("a", email=E)],
        [],
    ),
    "the address of a deleted person": (
        [identify("a", email=E), track("User Deleted", "a"), identify("b", email=E)],
        [],
    ),
}


class Recording(Worker):
    """A worker whose requests a simulated workspace applies at once; `told` are the updates that are told to be in
    vain, by the index of the event, `failed` those of which the workspace reports a failed change."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self.workspace = Workspace(Options())
        self.failed: list[int] = []

    def outcome(self, body: dict[str, Any]) -> Outcome:
        before = self.workspace.counts["failed_attribute_change"]
        self.workspace.apply(body, time.time())
        if self.workspace.counts["failed_attribute_change"] > before:
            self.failed.append(len(self.bodies) - 1)
        return super().outcome(body)


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


@pytest.mark.parametrize("story", STORIES)
def test_a_change_of_identifiers_is_told_when_the_service_will_drop_it(
    client: redis.Redis, story: str, caplog: pytest.LogCaptureFixture
) -> None:
    events, expected = STORIES[story]
    worker = Recording(client)
    for event in events:  # one claim each, as the events of different people need no order
        worker.append(event)
        for _ in range(3):
            worker.deliver()
            make_due(client)

    assert len(worker.bodies) == len(events)
    assert worker.failed == expected, "what the service drops"
    assert unapplied.totals(worker.queue) == ({"address_conflict": len(expected)} if expected else {})
    lines = [line for line in logged(caplog) if line["event"] == "operation_unapplied"]
    assert [line["reason"] for line in lines] == ["address_conflict"] * len(lines)
    assert bool(lines) == bool(expected)


def test_what_will_not_be_applied_is_marked_in_the_delivery_log_also_when_it_is_sent_again(
    client: redis.Redis,
) -> None:
    worker = Worker(client)
    worker.append(identify("a", email=E))
    worker.deliver()
    worker.append(identify("b", email=E, plan="pro"), track("Bought", "b"))
    worker.deliver()
    make_due(client)

    for _ in range(2):  # the first worker crashes before it settles
        claim = claimed(worker)
        (first, *_) = prepared(worker, claim)
        assert [item.unapplied for item in first.items] == ["address_conflict"]
        client.zadd(keys.CLAIMS.of(QUEUE), {claim.id: 0})
        lanes.reap(worker.queue)

    recorder = delivery_log.Recorder(worker.queue, claim, "worker")
    items = tuple(item for event in prepared(worker, claim) for item in event.items)
    recorder.recording(lambda request: [Delivered()] * len(request.items))(Request(BATCH_PATH, items))
    recorder.write()
    sent = delivery_log.sent_for(worker.queue, lanes.digest("id:b"), 9)
    assert [each.unapplied for each in sent if each.sequence == 2] == ["address_conflict"]


def test_an_operation_by_the_cio_id_of_a_deleted_person_is_told(client: redis.Redis) -> None:
    worker = Worker(client)
    worker.append(track("Seen", "cio_7"), track("Seen", "8"))
    worker.deliver()
    deleted = [
        Change("delete", {"identifiers": {kind: name}}, int(time.time() * 1000) - 10**7)
        for kind, name in (("cio_id", "7"), ("id", "8"))
    ]
    identity_memory.remember(worker.queue, deleted, "email_or_id")

    worker.append(track("Seen", "cio_7"), identify("cio_7", plan="pro"), track("Seen", "8"))
    worker.deliver()

    assert len(worker.bodies) == 5
    assert unapplied.totals(worker.queue) == {"cio_id_deleted": 2}


def claimed(worker: Worker) -> lanes.Claim:
    return lanes.claim(worker.queue, lease_ms=60_000, max_events=9, max_bytes=10**6, max_depth=1, poll_ms=0)


def prepared(worker: Worker, claim: lanes.Claim) -> Sequence[Prepared]:
    return address(prepare(claim.events, worker.destination), worker.queue, worker.destination)
