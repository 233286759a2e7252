"""Replays: dead letters put back on the queue, in the order in which their events were accepted, a page at a time.

A replay is a record in Redis: what it wants, how far it is. It is carried on by whichever worker has it, and survives
workers, terminals and Redis: a letter is removed, its event put back and the record moved on in one step, so whatever
is done twice is done once. It is the audit record as well: who, when, which letters, how many. Of one destination one
replay is under way at a time, in the order in which they were begun.

A dry run is the same walk: it counts what would be sent, and puts nothing back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, cast
from uuid import uuid4

import lanes
import mapping
from dead_letters import dry_run, query
from dead_letters.query import Filter, Grave
from lanes import Queue, keys
from mapping.envelope import JsonObject, pack

PAGE = 50
# Live events go first: while more than this many are ready, a replay waits.
MOST_READY = 50
KEPT = 200
_BUSY_S = 0.05

State = Literal["running", "done", "cancelled"]
# mapped: by the present configuration; as it was: the requests that were refused, as they were then
Mode = Literal["mapped", "as it was", "dry run"]


@dataclass(frozen=True, slots=True)
class Means:
    """What a worker carries a replay on with."""

    wait: Callable[[float], Any]  # seconds
    wake: Callable[[str], None]  # ask for a deliverer


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay and how far it is. Times are Redis' own, ms."""

    id: str
    wanted: Filter
    mode: Mode
    who: str
    started_at_ms: int
    per_s: int  # the most letters per second
    total: int  # letters that the filter wanted when it began
    upto: int  # the last sequence there was then
    cursor: int = 0  # the last sequence that was looked at
    passed: int = 0  # letters that the filter wanted, so far
    gone: int = 0  # of these, letters that somebody else had taken in that moment
    left: int = 0  # of these, letters that stay: not all of their requests are known
    ended_at_ms: int = 0
    state: State = "running"
    plan: dict[str, int] = field(default_factory=dict)  # of a dry run, see `rehearsal.figures`

    @property
    def done(self) -> int:
        """Letters that were put back; of a dry run, those that were looked at."""
        return self.passed - self.gone - self.left


_NUMBERS = frozenset({"started_at_ms", "per_s", "total", "upto", "cursor", "passed", "gone", "left", "ended_at_ms"})


def begin(queue: Queue, wanted: Filter, *, who: str, per_s: int, mode: Mode = "mapped") -> Replay:
    """Write down a new replay; the next sweep of any worker starts it. The same one, if it is under way, is joined, and
    goes on at this rate."""
    for replay_id in waiting(queue):
        running = read(queue, replay_id)
        if running is not None and (running.wanted, running.mode) == (wanted, mode):
            queue.client.hset(_key(queue, replay_id), "per_s", per_s)
            return replace(running, per_s=per_s)
    total, upto = _extent(queue, wanted)
    begun = Replay(
        id=uuid4().hex[:12],
        wanted=wanted,
        mode=mode,
        who=who,
        started_at_ms=_now_ms(queue),
        per_s=per_s,
        total=total,
        upto=upto,
    )
    if not total:
        begun = replace(begun, state="done", ended_at_ms=begun.started_at_ms)
    with queue.client.pipeline(transaction=True) as pipeline:
        pipeline.hset(_key(queue, begun.id), mapping=_fields(begun))
        pipeline.zadd(keys.REPLAYS.of(queue.name), {begun.id: begun.started_at_ms})
        pipeline.execute()
    _forget_old(queue)
    return begun


def read(queue: Queue, replay_id: str) -> Replay | None:
    """Return the replay, None when there is none of this id."""
    stored = cast(dict[bytes, bytes], queue.client.hgetall(_key(queue, replay_id)))
    fields = {name.decode(): value.decode() for name, value in stored.items()}
    if not fields:
        return None
    plan = cast(dict[bytes, bytes], queue.client.hgetall(keys.DRY_RUN.of(queue.name, replay_id)))
    told: dict[str, Any] = {name: int(value) if name in _NUMBERS else value for name, value in fields.items()}
    told |= {"id": replay_id, "wanted": Filter.model_validate_json(told["wanted"])}
    return Replay(**told, plan={name.decode(): int(count) for name, count in plan.items()})


def history(queue: Queue) -> list[Replay]:
    """Return the replays that are remembered, the newest first."""
    ids = _names(queue.client.zrevrange(keys.REPLAYS.of(queue.name), 0, -1))
    return [found for replay_id in ids if (found := read(queue, replay_id)) is not None]


def waiting(queue: Queue) -> list[str]:
    """Return the ids of replays that are not at their end, the oldest first."""
    ids = _names(queue.client.zrange(keys.REPLAYS.of(queue.name), 0, -1))
    return [replay_id for replay_id in ids if queue.client.hget(_key(queue, replay_id), "state") == b"running"]


def cancel(queue: Queue, replay_id: str) -> None:
    """Stop the replay if it is under way; what is not put back yet stays a dead letter."""
    if replay_id in waiting(queue):
        _end(queue, replay_id, "cancelled")


def next_up(queue: Queue) -> list[str]:
    """Return the ids of what is to be carried on now: the oldest replay, and all dry runs."""
    found = [replay for replay_id in waiting(queue) if (replay := read(queue, replay_id)) is not None]
    real = [replay.id for replay in found if replay.mode != "dry run"]
    return real[:1] + [replay.id for replay in found if replay.mode == "dry run"]


def lock(queue: Queue, replay_id: str) -> str:
    """Return the name of the lock under which to carry on: one for all replays, and one for each dry run."""
    is_dry_run = queue.client.hget(_key(queue, replay_id), "mode") == b"dry run"
    return keys.DRY_RUN_LOCK.of(queue.name, replay_id) if is_dry_run else keys.REPLAY_LOCK.of(queue.name)


def step(
    queue: Queue,
    replay_id: str,
    destination: mapping.Destination,
    means: Means,
) -> bool:
    """Go on by one page, at the replay's rate and after what is live; return whether there is more."""
    began_at = time.monotonic()
    replay = read(queue, replay_id)
    if replay is None or replay.state != "running":
        return False
    figures = lanes.stats(queue)
    if figures.ready > MOST_READY or figures.waiting + PAGE > queue.limit:
        means.wait(_BUSY_S)
        return True
    most, as_of = min(PAGE, replay.per_s), lanes.dead_letter_changes(queue)
    graves, looked_at = query.page(queue, replay.wanted, after=replay.cursor, most=most)
    graves = [grave for grave in graves if grave.sequence <= replay.upto]
    if graves and replay.mode == "dry run":
        _rehearse(queue, replay, graves, destination)
    elif graves:
        try:
            _put_back(queue, replay, graves, destination, means, as_of)
        except lanes.DeadLettersChanged:
            return True
    if looked_at is None or looked_at >= replay.upto:
        _end(queue, replay_id, "done")
        return False
    queue.client.hset(_key(queue, replay_id), "cursor", looked_at)
    means.wait(max(0.0, len(graves) / replay.per_s - (time.monotonic() - began_at)))
    return True


def _put_back(
    queue: Queue,
    replay: Replay,
    graves: list[Grave],
    destination: mapping.Destination,
    means: Means,
    as_of: int,
) -> None:
    """Put letters back on the queue. Those that hold go on in their place; the others go behind what is live, placed by
    the present configuration. Raises LettersChanged, and does nothing, when one was edited since `as_of`."""
    going = [grave for grave in graves if replay.mode == "mapped" or grave.requests is not None]
    back = lanes.requeue(
        queue,
        blocking=[replace(grave.letter, body=_body(grave, replay)) for grave in going if grave.letter.blocks],
        appended=[
            _new_event(grave, replay, destination, queue.cooldown_ms) for grave in going if not grave.letter.blocks
        ],
        as_of=as_of,
        record=(
            _key(queue, replay.id),
            {
                "cursor": graves[-1].sequence,
                "passed": replay.passed + len(graves),
                "left": replay.left + len(graves) - len(going),
            },
        ),
    )
    if back.count < len(going):
        queue.client.hincrby(_key(queue, replay.id), "gone", len(going) - back.count)
    if back.wake:
        means.wake(queue.name)


def _rehearse(queue: Queue, replay: Replay, graves: list[Grave], destination: mapping.Destination) -> None:
    plan = dry_run.figures(dry_run.rehearse(queue, graves, destination, time.time()))
    with queue.client.pipeline(transaction=True) as pipeline:
        for name, count in plan.items():
            pipeline.hincrby(keys.DRY_RUN.of(queue.name, replay.id), name, count)
        passed = {"cursor": graves[-1].sequence, "passed": replay.passed + len(graves)}
        pipeline.hset(_key(queue, replay.id), mapping=cast(dict[Any, Any], passed))
        pipeline.execute()


def _body(grave: Grave, replay: Replay) -> bytes:
    """Return the event to put back, with what is not to be forgotten: since when we have it, and what was tried."""
    again: JsonObject = {
        "accepted_at_ms": grave.why.get("accepted_at_ms", grave.letter.accepted_at_ms),
        "attempts": grave.why.get("attempts", ()),
    }
    if "original" in grave.why:
        again["original"] = grave.why["original"]
    if replay.mode == "as it was":
        again["requests"] = grave.requests
    return pack(grave.source, grave.event, again)


def _new_event(grave: Grave, replay: Replay, destination: mapping.Destination, cooldown_ms: int) -> lanes.NewEvent:
    place = mapping.ordering_info(grave.event, destination)
    return lanes.NewEvent(
        body=_body(grave, replay),
        keys=place.keys,
        message_id=str(grave.event.get("messageId")),
        cooldown_ms=cooldown_ms if place.needs_cooldown else 0,
        join=place.join,
        replaces=grave.sequence,
    )


def _extent(queue: Queue, wanted: Filter) -> tuple[int, int]:
    """Return how many letters the filter wants, and the sequence of the last one."""
    if wanted == Filter():
        return lanes.count_dead_letters(queue)
    total = upto = 0
    for grave in query.matching(queue, wanted):
        total, upto = total + 1, grave.sequence
    return total, upto


def _end(queue: Queue, replay_id: str, state: State) -> None:
    ended: dict[Any, Any] = {"state": state, "ended_at_ms": _now_ms(queue)}
    queue.client.hset(_key(queue, replay_id), mapping=ended)


def _fields(replay: Replay) -> dict[Any, Any]:
    fields = asdict(replay)
    del fields["id"], fields["plan"]
    return fields | {"wanted": replay.wanted.model_dump_json(exclude_defaults=True)}


def _forget_old(queue: Queue) -> None:
    """Keep the records of the last replays only."""
    for replay_id in _names(queue.client.zrange(keys.REPLAYS.of(queue.name), 0, -KEPT - 1)):
        queue.client.delete(_key(queue, replay_id), keys.DRY_RUN.of(queue.name, replay_id))
        queue.client.zrem(keys.REPLAYS.of(queue.name), replay_id)


def _names(found: Any) -> list[str]:
    return [name.decode() for name in found]


def _now_ms(queue: Queue) -> int:
    seconds, microseconds = queue.client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def _key(queue: Queue, replay_id: str) -> str:
    return keys.REPLAY.of(queue.name, replay_id)
