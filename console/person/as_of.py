"""A person as of a moment: what was sent until then, and what differs between two moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from console.output import counted, utc
from console.person.past import Attribute, Ended, Occurrence, Origin, Person, Sent, people_at
from console.session import Session
from console.state import history
from mapping.envelope import encoded

NOT_IN_IT: Final = "What others write to the workspace is not in it, nor what was sent before the records begin."
MOST_EVENTS: Final = 20
_MOST_ITEMS: Final = 5000
_MOST_ROUNDS: Final = 4


def gather(session: Session, name: str, digest: str, moments: Sequence[int]) -> dict[str, Any]:
    """Return `{"destination", "digest", "moments", "changes", "horizon", "item_count", "without_contents", "is_cut"}`.

    `digest`: of an ordering key, in hexadecimal. `moments` are the person at each of one or two moments, Unix
    milliseconds, as `{"at_ms", "state", "ended", "keys", "attributes", "devices", "events", "event_count", "merges"}`.
    `state` is known, deleted, suppressed, merged or unknown; `ended` has the event of the middle three, and of a merge
    the key `into`. An attribute and a device is `{"name", "value", …}`, an event `{"kind", "name", "at_ms", …}`, a
    merge `{"key", …}`, each with `sequence`, `message_id` and `sent_ms` of the event that set it. `events` are the last
    20, the newest first.

    `changes` are the attributes and devices at two moments: `{"what", "name", "before", "after", "change"}`, where
    `change` is same, added, changed or removed. `item_count` is how many items were accepted, `without_contents` how
    many of them have no body; `is_cut`: there are more than 5,000, the oldest of which are not read.
    """
    found = _sent(session, name, digest, max(moments))
    sent = [_of_json(item) for item in found if item["item"] is not None]
    people = [_person_json(people_at(sent, at_ms).find(digest), at_ms) for at_ms in moments]
    return {
        "destination": name,
        "digest": digest,
        "moments": people,
        "changes": changes(*people) if len(people) == 2 else [],
        "horizon": history.horizon(session, name),
        "item_count": len(found),
        "without_contents": len(found) - len(sent),
        "is_cut": len(found) >= _MOST_ITEMS,
    }


def _sent(session: Session, name: str, digest: str, until_ms: int) -> list[dict[str, Any]]:
    """Return the items of the person, and of all that were merged with it: their identities are known by reading."""
    queue, digests, found = session.queue(name), frozenset([digest]), list[dict[str, Any]]()
    for _ in range(_MOST_ROUNDS):
        found = history.accepted_until(session, queue, digests, until_ms, _MOST_ITEMS)
        world = people_at((_of_json(item) for item in found if item["item"] is not None), until_ms)
        related = digests.union(*(world.related(each) for each in digests))
        if related == digests:
            break
        digests = related
    return found


def _of_json(item: dict[str, Any]) -> Sent:
    return Sent(item["sequence"], item["message_id"], item["sent_ms"], item["item"], item["unapplied"])


def _person_json(found: Person | Ended | None, at_ms: int) -> dict[str, Any]:
    person = found if isinstance(found, Person) else Person(Origin(0, "", 0))
    ended = {"into": found.into, **found.origin._asdict()} if isinstance(found, Ended) else None
    return {
        "at_ms": at_ms,
        "state": found.how if isinstance(found, Ended) else "known" if found else "unknown",
        "ended": ended,
        "keys": list(found.keys) if found else [],
        "attributes": _named(person.attributes),
        "devices": _named(person.devices),
        "events": [_event_json(each) for each in person.events[: -MOST_EVENTS - 1 : -1]],
        "event_count": len(person.events),
        "merges": [{"key": merge.key, **merge.origin._asdict()} for merge in person.merges],
    }


def _named(values: dict[str, Attribute]) -> list[dict[str, Any]]:
    return [{"name": name, "value": each.value, **each.origin._asdict()} for name, each in sorted(values.items())]


def _event_json(event: Occurrence) -> dict[str, Any]:
    return {"kind": event.kind, "name": event.name, "at_ms": round(event.at_s * 1000), **event.origin._asdict()}


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the result of `gather` for one moment as lines for people."""
    (moment,) = found["moments"]
    names = ", ".join(moment["keys"]) or "no key"
    yield f"{found['destination']}: as of {utc(moment['at_ms'])}, {moment['state']}: {names}"
    yield f"  from {counted(found['item_count'], 'accepted item')}; {found['horizon']}. {NOT_IN_IT}"
    if found["without_contents"]:
        yield f"  {counted(found['without_contents'], 'item')} without contents: the ledger keeps none"
    if moment["ended"]:
        into = f" into {moment['ended']['into']}" if moment["ended"]["into"] else ""
        yield f"  {moment['state']}{into} by {_by(moment['ended'])}"
    for merge in moment["merges"]:
        yield f"  {merge['key']} became part of it by {_by(merge)}"
    for what in ("attributes", "devices"):
        for each in moment[what]:
            name = f"device {each['name']}" if what == "devices" else each["name"]
            yield f"  {name} = {encoded(each['value']).decode()}  {_by(each)}"
    for event in moment["events"]:
        yield f"  {event['kind']} {event['name']} at {utc(event['at_ms'])}  {_by(event)}"


def _by(value: dict[str, Any]) -> str:
    return f"#{value['sequence']} {value['message_id']} {utc(value['sent_ms'])}"


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what differs and what is equal in the attributes and devices of a person at two moments."""
    return [
        {"what": what.removesuffix("s"), "name": name, **_change(name, old, new)}
        for what in ("attributes", "devices")
        for old, new in [[{each["name"]: each for each in moment[what]} for moment in (before, after)]]
        for name in sorted(old | new)
    ]


def _change(name: str, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    before, after = old.get(name), new.get(name)
    if before is None or after is None:
        change = "added" if before is None else "removed"
    else:
        change = "same" if before["value"] == after["value"] else "changed"
    return {"before": before, "after": after, "change": change}
