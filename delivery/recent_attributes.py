"""What updates said of people lately, for those that follow.

An update says again what the ones before it said that may not have been applied yet. So nothing is lost where a service
that applied the later one first drops the earlier one as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from delivery.batching import Item, written
from delivery.prepare import Prepared
from delivery.scripts import run
from lanes import Queue, digest
from mapping.envelope import JsonObject

# What the service takes in one update: 300 attributes and 32 KB, of which some is left for the rest.
_MOST_ATTRIBUTES, _MOST_BYTES = 300, 30_000
# Names are no attributes, and what changes them keeps a distance.
_ONCE = frozenset({"id", "email", "phone", "cio_id", "anonymous_id", "_update"})


def said_again(queue: Queue, prepared: Sequence[Prepared], kept_ms: int) -> Sequence[Prepared]:
    """Return the events with updates that say as well what was said of the same person within `kept_ms`.

    An update that would be too large with that stays as it is.
    """
    people = list({item.person for one in prepared if one.update for item in one.items if item.person})
    if not people or not kept_ms:
        return prepared
    found = run(queue.client, "recall", queue.base, kept_ms, *map(digest, people))
    said = {person: orjson.loads(attributes) for person, attributes in zip(people, found, strict=True) if attributes}
    if not said:
        return prepared
    return [one._replace(items=tuple(_with(said.get(item.person), item) for item in one.items)) for one in prepared]


def remember(queue: Queue, delivered: Iterable[Item], kept_ms: int) -> None:
    """Keep what these items said for `kept_ms`."""
    said: dict[str, JsonObject] = {}
    for item in delivered:
        if item.person:
            attributes = orjson.loads(item.data).get("attributes", {})
            said.setdefault(item.person, {}).update(
                (name, value) for name, value in attributes.items() if name not in _ONCE
            )
    arguments = [part for person, one in said.items() if one for part in (digest(person), orjson.dumps(one))]
    if arguments and kept_ms:
        run(queue.client, "note", queue.base, kept_ms, *arguments)


def _with(said: JsonObject | None, item: Item) -> Item:
    if said is None:
        return item
    body = orjson.loads(item.data)
    attributes = said | body.get("attributes", {})
    data = written(body | {"attributes": attributes})
    fits = len(attributes) <= _MOST_ATTRIBUTES and len(data) <= _MOST_BYTES
    return item._replace(data=data) if fits else item
