"""`segue lanes move` and `segue lanes discard`: what becomes of a queue whose destination is no longer configured."""

from __future__ import annotations

from collections.abc import Iterator

import lanes
import mapping
from console.errors import CommandError
from console.output import counted
from console.session import Session
from dead_letters import record
from lanes import fates
from mapping.envelope import message_key, pack, readable_source, unpack


def warnings(session: Session) -> Iterator[str]:
    """Yield a warning for each queue that has events or dead letters, and whose destination is not configured."""
    return map(warning, lanes.stranded(session.client, session.destinations))


def warning(queue: lanes.StrandedQueue) -> str:
    """Return what is wrong with a queue whose destination is not configured, and what to do."""
    numbers = f"{counted(queue.waiting, 'event')} and {counted(queue.dead, 'dead letter')}"
    remedy = f"`segue lanes move {queue.name} DESTINATION` or `segue lanes discard {queue.name}`"
    return f"queue {queue.name}: its destination is not configured, so nothing delivers its {numbers}; {remedy}"


def stranded(session: Session, name: str) -> tuple[lanes.Queue, lanes.StrandedQueue]:
    """Return a queue whose destination is not configured, and what it has.

    Raises CommandError: the destination is configured, or there is no such queue.
    """
    if name in session.destinations:
        raise CommandError(
            f"destination {name} is configured, so workers deliver its queue; remove it from the configuration and run "
            "`segue reload` first"
        )
    queue = session.other_queue(name)
    if queue is None:
        names = ", ".join(queue.name for queue in lanes.stranded(session.client, session.destinations)) or "none"
        raise CommandError(f'there is no queue "{name}"; without a destination there are {names}')
    found = [each for each in lanes.stranded(session.client, session.destinations) if each.name == name]
    return queue, found[0] if found else lanes.StrandedQueue(name, 0, 0)


def move(queue: lanes.Queue, target: lanes.Queue, destination: mapping.Destination) -> dict[str, int]:
    """Move everything to the queue of a destination; return `{"events", "duplicates", "dead_letters"}`.

    Events get the ordering keys of the destination beside their own, and keep their order. Dead letters that block are
    tried again, in their positions.
    """

    def fate_of(body: bytes) -> str:
        return fates.name("moved", readable_source(body), f"to {target.name}")

    with lanes.draining(queue, fate_of, target) as lock:
        dead = lanes.move_dead_letters(
            lock, queue, target, lambda stored: _imported(stored, destination), _requeued_body
        )
        events, duplicates = lanes.move_events(
            lock, queue, target, lambda event: _new_event(event, target, destination), fate_of
        )
    return {"events": events, "duplicates": duplicates, "dead_letters": dead}


def discard(queue: lanes.Queue) -> dict[str, int]:
    """Discard everything; return `{"events", "dead_letters"}`."""

    def fate_of(body: bytes) -> str:
        return fates.name("dropped", readable_source(body), "discarded")

    with lanes.draining(queue, fate_of) as lock:
        dead = lanes.discard_dead_letters(lock, queue)
        return {"events": lanes.discard_events(lock, queue, fate_of), "dead_letters": dead}


def _new_event(event: lanes.ClaimedEvent, target: lanes.Queue, destination: mapping.Destination) -> lanes.NewEvent:
    """Return the event for the target. A body that cannot be read is moved as it is, to become a dead letter there."""
    try:
        source, content, requeued = unpack(event.body)
        info = mapping.ordering_info(content, destination)
        body = pack(source, content, {"accepted_at_ms": event.accepted_at_ms, **requeued})
        message_id = message_key(source, content)
    except Exception:
        return lanes.NewEvent(event.body, (), f"{event.sequence} of {event.accepted_at_ms}")
    return lanes.NewEvent(
        body=body,
        keys=info.keys,
        message_id=message_id,
        cooldown_ms=target.cooldown_ms if info.needs_cooldown else 0,
        join=info.join,
        run="" if requeued.get("requests") else info.run,  # recorded requests may differ from what is mapped now
        counted_as=fates.name("accepted", source, "move"),
    )


def _imported(stored: lanes.DeadLetter, destination: mapping.Destination) -> lanes.ImportedDeadLetter:
    dead_letter = record.read(stored)
    keys = () if dead_letter.is_damaged else mapping.ordering_info(dead_letter.event, destination).keys
    return lanes.ImportedDeadLetter(
        sequence=None,
        accepted_at_ms=stored.accepted_at_ms,
        keys=keys,
        body=stored.body,
        failure=stored.failure,
        counted_as=fates.name("dead", dead_letter.source, dead_letter.failure.reason),
        accepted_as=fates.name("accepted", dead_letter.source, "move"),
    )


def _requeued_body(stored: lanes.DeadLetter) -> bytes:
    dead_letter = record.read(stored)
    return stored.body if dead_letter.is_damaged else dead_letter.requeued_body(as_recorded=False)
