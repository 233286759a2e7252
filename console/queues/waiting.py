"""`segue lanes list`, `find` and `skip`: the waiting events of a queue, one by one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from zstandard import ZstdError

import lanes
import mapping
from console import output
from console.errors import CommandError
from console.session import Session
from console.state import history
from dead_letters import query, record
from delivery.recording import discarded
from lanes import fates
from mapping.envelope import encoded, message_key, name_of, plain, readable, type_of

_MOST_SENT = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Conditions on waiting events, all of which must hold."""

    source: str | None = None
    event: str | None = None  # its name or its type

    def matches(self, body: bytes) -> bool:
        """Whether the conditions hold for an event with this body."""
        if self.source is None and self.event is None:
            return True
        source, event = readable(body)
        names = (event.get("event"), event.get("name"), event.get("type"))
        return self.source in (None, source) and (self.event is None or self.event in names)


def find_waiting(queue: lanes.Queue, digest: bytes | None, wanted: Wanted, most: int) -> list[lanes.ListedEvent]:
    """Return waiting events that match, the first `most` of them: of an ordering key in the order of the
    lane, else in the order of acceptance. Without a digest this reads the whole queue."""
    if digest is None:
        return lanes.first_events(queue, lambda event: wanted.matches(event.body), most)
    lane = lanes.lane_events(queue, digest, most=lanes.NO_LIMIT)
    return lanes.with_states(queue, [event for event in lane if wanted.matches(event.body)][:most])


def event_json(event: lanes.ListedEvent, destination: mapping.Destination) -> dict[str, Any]:
    """Return `{"destination", "sequence", "state", "due_in_ms", "worker", "age_s", "source", "type", "name",
    "message_id", "keys"}`; `keys` are the ordering keys."""
    source, received = readable(event.body)
    return {
        "destination": destination.name,
        "sequence": event.sequence,
        "state": event.state,
        "due_in_ms": event.due_in_ms,
        "worker": event.by,
        "age_s": max(0.0, time.time() - event.accepted_at_ms / 1000),
        "source": source,
        "type": type_of(received),
        "name": name_of(received),
        "message_id": received.get("messageId"),
        "keys": mapping.ordering_info(received, destination).keys if received else (),
    }


def render(rows: Iterable[dict[str, Any]]) -> RenderableType:
    """Return the rows of `event_json` as a list for people."""
    entries = [
        (str(row["sequence"]), _facts(row), output.safe_line(f"{', '.join(row['keys'])}  {row['message_id']}"))
        for row in rows
    ]
    return Group(output.entries(entries), output.counted(len(entries), "event"))


def _facts(row: dict[str, Any]) -> str:
    state = {"delayed": f"due in {(row['due_in_ms'] or 0) / 1000:.1f} s", "claimed": f"claimed by {row['worker']}"}
    event = f"{row['type']} {row['name']}".rstrip()
    where = f"{event} from {row['source']} for {row['destination']}"
    return f"{row['age_s']:,.0f} s old  {state.get(row['state'], row['state'])}  {where}"


def find(session: Session, name: str, sources: Iterable[str], message_id: str) -> Iterator[dict[str, Any]]:
    """Yield where the event with this message id is, with SOURCE: in front of it or without.

    A row is `{"where", …}`: "waiting" with the members of `event_json`; "dead letter" with `{"destination", "sequence",
    "reason", "message"}`; "sent" as `console.state.history.sent_of` has it; "finished", when the id is remembered and
    the event is nowhere.
    """
    queue, destination, is_found = session.queue(name), session.destinations[name], False
    for event in lanes.all_events(queue):
        if has_id(event.body, message_id):
            is_found = True
            yield {"where": "waiting"} | event_json(lanes.with_states(queue, [event])[0], destination)
    for stored in query.stored(queue):
        if not stored.blocks and has_id(stored.body, message_id):
            is_found, dead = True, record.read(stored)
            reason = {"reason": dead.failure.reason.value, "message": dead.failure.message}
            yield {"where": "dead letter", "destination": queue.name, "sequence": dead.sequence} | reason
    ids = {message_id, *(f"{source}:{message_id}" for source in sources)}
    for sent in history.sent_of(session, queue, message_id, ids, _MOST_SENT):
        is_found = True
        yield {"where": "sent", "destination": queue.name} | sent
    if not is_found and any(lanes.is_remembered(queue, each) for each in ids):
        yield {"where": "finished", "destination": queue.name}


def found_line(row: dict[str, Any]) -> str:
    """Return a row of `find` for people."""
    match row["where"]:
        case "waiting":
            return f"{row['destination']}: waiting as #{row['sequence']}: {_facts(row)}; {', '.join(row['keys'])}"
        case "dead letter":
            hint = f"`segue dead show {row['sequence']}`"
            return f"{row['destination']}: dead letter {row['sequence']}, {row['reason']}: {row['message']}; {hint}"
        case "sent":
            result = row["refusal"] or "accepted by Customer.io"
            return f"{row['destination']}: sent as #{row['sequence']} at {output.utc(row['sent_ms'])}: {result}"
    text = "it was accepted within SEGUE_DEDUPE_S and has left the queue; nothing is known of its requests"
    return f"{row['destination']}: {text}"


def skip(queue: lanes.Queue, sequence: int) -> str:
    """Discard one waiting event; the events behind it go on. Return what became of it, as a text.

    Raises CommandError: there is no such waiting event.
    """
    event = lanes.read_event(queue, sequence)
    if event is None:
        raise CommandError(f"{queue.name} has no waiting event {sequence}; `segue lanes list` shows the existing ones")
    if event.state == "blocking":
        raise CommandError(
            f"{sequence} is a dead letter that blocks its lane; `segue dead skip {sequence}` discards it"
        )

    def fate_of(body: bytes) -> str:
        return fates.name("dropped", readable(body)[0], "discarded")

    erased = lanes.erase(queue, (), sequences=[sequence], counted_as=fate_of)
    discarded.record(queue, (event for event in erased.events if event.body), "dropped", "discarded")
    if erased.claimed:
        return "is being delivered at this moment, so it may have been sent; it is not sent again"
    return "is discarded" if erased.events else "left the queue before"


def has_id(body: bytes, message_id: str) -> bool:
    """Whether an event has this message id, with SOURCE: in front of it or without. Most events are not parsed."""
    if not _may_have_id(body, message_id):
        return False
    source, event = readable(body)
    return bool(event) and message_id in (event.get("messageId"), message_key(source, event))


def _may_have_id(body: bytes, message_id: str) -> bool:
    ending = encoded(message_id.rpartition(":")[2] or message_id)[1:-1]
    try:
        return bool(body) and ending in plain(body)
    except ZstdError:
        return False
