"""The graph of what a person waits for: unfinished events, and an edge for each ordering key by which one event is
directly behind another one.

It begins with the lane of the person. An event that is not the head of another lane waits for the events before it
there. So these are read too, and what they wait for. Lanes are linked forwards, so each one is read from its head.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple, cast

import lanes
from lanes import keys, records
from lanes.inspection import Waiting
from lanes.records import Links

MOST: Final = 50
_MOST_OF_LANE: Final = 20


class Edge(NamedTuple):
    """One event is behind another one in the lane of a key."""

    before: int
    after: int
    digest: bytes
    is_direct: bool = True  # no other event is between them


@dataclass(frozen=True, slots=True)
class GraphEvent:
    """An unfinished event of the graph."""

    event: lanes.ListedEvent
    depth: int  # the longest way from an event that waits for no other one
    is_own: bool  # it has the key that was asked for


@dataclass(frozen=True, slots=True)
class Graph:
    """What an ordering key waits for."""

    events: tuple[GraphEvent, ...]  # by depth, then in the order of acceptance
    edges: tuple[Edge, ...]
    cause: int | None  # the event for which the first event of the key waits; that event itself when it waits for none
    unread: int  # further events of the key


@dataclass(frozen=True, slots=True)
class _Stored:
    waiting: Waiting
    digests: tuple[bytes, ...]
    links: Links


def read(queue: lanes.Queue, digest: bytes) -> Graph:
    """Return the graph of the ordering key with this digest: at most 50 events, and 20 of its own first ones."""
    reading = _Reading(queue)
    length = reading.walk(digest, is_own=True)
    while reading.lanes and len(reading.events) < MOST:
        reading.walk(reading.lanes.popleft())
    own = [sequence for sequence, stored in reading.events.items() if digest in stored.digests]
    edges = tuple(reading.edges)
    depths = _depths(reading.events, edges)
    states = lanes.with_states(queue, [stored.waiting for stored in reading.events.values()])
    found = [GraphEvent(event, depths[event.sequence], event.sequence in own) for event in states]
    return Graph(
        events=tuple(sorted(found, key=lambda each: (each.depth, each.event.sequence))),
        edges=edges,
        cause=_cause(own[0], edges) if own else None,
        unread=max(0, length - len(own)),
    )


@dataclass
class _Reading:
    """What was read so far, and which lanes are to be read."""

    queue: lanes.Queue
    events: dict[int, _Stored] = field(default_factory=dict)
    edges: dict[Edge, None] = field(default_factory=dict)  # in their order
    lanes: deque[bytes] = field(default_factory=deque)  # that are to be read, or read again

    def walk(self, digest: bytes, *, is_own: bool = False) -> int:
        """Read a lane from its head: 20 events of it, of another lane than the own one only those before an event that
        waits in it. Return its length."""
        lane = cast(bytes | None, self.queue.client.hget(keys.LANE.of(self.queue.name), digest))
        if lane is None:
            return 0
        value, before, steps = records.read_lane(lane), 0, 0
        at: int | None = value.head
        behind = {sequence for sequence, stored in self.events.items() if digest in stored.digests}
        while at is not None and (is_own or behind) and steps < _MOST_OF_LANE:
            stored = self.events.get(at) or self._read(at, digest)
            if stored is None:
                break  # it left meanwhile, or there are enough
            if before:
                self.edges[Edge(before, at, digest)] = None
            behind.discard(at)
            before, at, steps = at, stored.links.successor(stored.digests.index(digest)), steps + 1
        if before:
            self.edges |= dict.fromkeys(Edge(*pair, digest, False) for pair in pairwise([before, *sorted(behind)]))
        return value.length

    def _read(self, sequence: int, digest: bytes) -> _Stored | None:
        """Read an event of this lane. Its other lanes are read next, where it may wait too."""
        if len(self.events) >= MOST:
            return None
        with self.queue.client.pipeline(transaction=True) as pipeline:
            pipeline.hget(keys.EVENT.of(self.queue.name), str(sequence))
            pipeline.hget(keys.LINKS.of(self.queue.name), str(sequence))
            record, links = pipeline.execute()
        if record is None:
            return None
        accepted_at_ms, digests, body = records.read_record(record)
        stored = _Stored(Waiting(sequence, accepted_at_ms, body), digests, records.read_links(links))
        self.events[sequence] = stored
        if stored.links.waits:
            self.lanes.extend(each for each in digests if each != digest and each not in self.lanes)
        return stored


def _depths(sequences: Iterable[int], edges: Iterable[Edge]) -> dict[int, int]:
    """Return the depth of each event. Edges that were read while the lanes changed may lead in a circle."""
    depths, pairs = dict.fromkeys(sequences, 0), {(edge.before, edge.after) for edge in edges}
    for _ in range(len(depths)):
        deeper = {after: depths[before] + 1 for before, after in pairs if depths[after] <= depths[before]}
        if not deeper:
            break
        depths |= deeper
    return depths


def _cause(head: int, edges: Iterable[Edge]) -> int:
    """Return the event at which the way from `head` against the edges ends."""
    before_of: dict[int, int] = {}
    for edge in edges:
        before_of.setdefault(edge.after, edge.before)
    passed = {head}
    while head in before_of and before_of[head] not in passed:
        head = before_of[head]
        passed.add(head)
    return head
