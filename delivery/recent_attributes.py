"""The attributes of recent updates, which later updates of the same person repeat.

The service may apply a later update first and then ignore the earlier one as a whole. So an update repeats the
attributes of the ones before it that may not have been applied yet, and no attribute is lost.

An attribute is repeated as long as it is the newest by its clock. It is repeated with a time that is at most an hour
later than its own. A value of history may be older than the service's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from delivery import attribute_clocks
from delivery.batching import Item, json_of
from delivery.prepare import Prepared
from delivery.scripts import run
from lanes import Queue
from mapping.envelope import encoded

# Attribute → its value, and its client time (Unix ms). This is what is stored of a person, as JSON.
_Recent = dict[str, tuple[Any, int]]

# The service's limits of one update are 300 attributes and 32 KB, of which some is left for the rest of the body.
_MOST_ATTRIBUTES, _MOST_BYTES = 300, 30_000
_MOST_LATER_MS = 3_600_000
# Identifiers are not repeated: an update that changes them has a cooldown.
_NOT_REPEATED = frozenset({"id", "email", "phone", "cio_id", "anonymous_id", "_update"})


def repeat(queue: Queue, prepared: Sequence[Prepared], window_ms: int) -> Sequence[Prepared]:
    """Return the events with updates that repeat the attributes of the same person from the last `window_ms`.

    An update's own attributes win. One that would exceed the service's limits stays as it is. A window of 0 repeats
    nothing.
    """
    if not window_ms:
        return prepared
    people = list({item.person for event in prepared if event.update for item in event.items if item.person})
    if not people:
        return prepared
    found = iter(run(queue, "read_attributes", window_ms, *people))
    recent = {
        person: _newest(orjson.loads(attributes), clocks)
        for person, attributes, clocks in zip(people, found, found, strict=True)
        if attributes
    }
    if not recent:
        return prepared
    for event in prepared:
        for item in event.items:
            _remove_own(recent.get(item.person), item)
    return [
        event._replace(items=tuple(_repeating(recent.get(item.person), item) for item in event.items))
        for event in prepared
    ]


def remember(queue: Queue, delivered: Iterable[Item], window_ms: int) -> None:
    """Store the attributes of these items for `window_ms`, and those that the next update may still have to repeat."""
    if not window_ms:
        return
    recent: dict[bytes, _Recent] = {}
    for item in delivered:
        if item.person:
            known = recent.setdefault(item.person, {})
            attributes = orjson.loads(item.own or item.data).get("attributes", {})
            own = {name: (value, item.at_ms) for name, value in attributes.items() if name not in _NOT_REPEATED}
            for name, attribute in (orjson.loads(item.repeated or b"{}") | own).items():
                if name not in known or known[name][1] <= attribute[1]:
                    known[name] = attribute
    arguments = [part for person, attributes in recent.items() if attributes for part in (person, encoded(attributes))]
    if arguments:
        run(queue, "remember_attributes", window_ms, *arguments)


def _newest(recent: _Recent, stored_clocks: bytes) -> _Recent:
    """Return the attributes of which no newer value was sent, by the person's clocks."""
    clocks = attribute_clocks.read_clocks(stored_clocks)
    return {
        name: (value, at_ms)
        for name, (value, at_ms) in recent.items()
        if clocks.get(attribute_clocks.hash_of_name(name), 0) <= at_ms
    }


def _remove_own(recent: _Recent | None, item: Item) -> None:
    """Remove the attributes of the item: no other item that is sent with it may repeat older values of them."""
    if recent:
        for name in orjson.loads(item.data).get("attributes", {}):
            recent.pop(name, None)


def _repeating(recent: _Recent | None, item: Item) -> Item:
    """Return the item with the recent attributes added, if it may have them."""
    if not recent:
        return item
    body = orjson.loads(item.data)
    sent_at_ms, own = body["timestamp"] * 1000 + 999, body.get("attributes", {})
    near = {name: value for name, (value, at_ms) in recent.items() if 0 <= sent_at_ms - at_ms <= _MOST_LATER_MS}
    attributes = near | own
    data = json_of(body | {"attributes": attributes})
    if len(recent) + len(own) > _MOST_ATTRIBUTES or len(data) > _MOST_BYTES:
        return item
    return item._replace(data=data, own=item.data, repeated=json_of(recent))
