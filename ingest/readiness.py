"""Whether this endpoint could accept an event now: what `GET /ready` answers."""

from __future__ import annotations

from collections.abc import Iterable

from ingest.errors import Refusal
from ingest.group_commit import GroupCommit
from ingest.outage import RETRY_AFTER_S


async def check(queues: Iterable[GroupCommit], *, is_stopping: bool) -> None:
    """Test what an append needs, for every queue.

    One queue that is full does not stop the events of others: only when all are full, no event could be accepted.
    Raises Refusal (503), with the reason.
    """
    if is_stopping:
        raise Refusal(503, "this process stops", code="stopping")
    have_room = [await queue.check() for queue in queues]
    if have_room and not any(have_room):
        raise Refusal(503, "every queue is full", retry_after_s=RETRY_AFTER_S[0], code="queue_full")
