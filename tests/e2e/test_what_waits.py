"""Each operation that keeps a distance has a reason: a story that comes out right with the wait, and wrong when that
operation alone does not wait.

The service applies late and shuffled; every story is told of PEOPLE at once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import chain
from typing import Any

import pytest
import redis

from simulator.options import Faults
from simulator.service import Service
from simulator.workspace import Workspace
from tests.stories.delivery import LAG_MS, SETTLE_S, Way
from tests.stories.telling import Event

placement = import_module("mapping.placement")  # the package has a function of that name

PEOPLE = 40
BEGAN_AT = datetime.now(UTC) - timedelta(seconds=600)

Telling = Callable[[str], list[Event]]


def address(who: str) -> str:
    return f"{who.replace(' ', '-')}@example.com"


def identify(who: str, **traits: Any) -> Event:
    return {"type": "identify", "userId": who, "traits": {"plan": "pro", **traits}}


def track(name: str, who: str, **members: Any) -> Event:
    return {"type": "track", "event": name, "userId": who, **members}


def has_a_phone(name: str, who: str) -> Event:
    return track(name, who, context={"device": {"token": f"phone of {who}", "type": "ios"}})


def belongs(who: str) -> Event:
    return {"type": "group", "userId": who, "groupId": f"club of {who}", "traits": {}}


def leaves(name: str, who: str) -> Event:
    return track(name, who, properties={"objectId": f"club of {who}"})


# By the operation: what is told, and whether the workspace is as it must be then.
STORIES: dict[str, tuple[Telling, Callable[[Workspace, str], bool]]] = {
    "mergePeople": (
        lambda who: [
            identify(who),
            identify(f"old {who}"),
            {"type": "alias", "userId": who, "previousId": f"old {who}"},
        ],
        lambda workspace, who: exists(workspace, who) and not exists(workspace, f"old {who}"),
    ),
    "deletePerson": (
        lambda who: [identify(who), track("User Deleted", who)],
        lambda workspace, who: not exists(workspace, who),
    ),
    "suppressPerson": (
        # Applied first it would block the id alone: nobody knows the address by then.
        lambda who: [identify(who, email=address(who)), track("User Suppressed", who)],
        lambda workspace, who: not exists(workspace, who) and is_suppressed(workspace, address(who)),
    ),
    "unsuppressPerson": (
        lambda who: [track("User Suppressed", who), track("User Unsuppressed", who), identify(who)],
        lambda workspace, who: exists(workspace, who),
    ),
    "deleteDevice": (
        lambda who: [has_a_phone("Application Installed", who), has_a_phone("Application Uninstalled", who)],
        lambda workspace, who: not found(workspace, who).devices,
    ),
    "deleteObject": (
        lambda who: [belongs(who), leaves("Object Deleted", who)],
        lambda workspace, who: f"club of {who}" not in {one["object_id"] for one in workspace.objects.json()},
    ),
    "deleteRelationship": (
        lambda who: [belongs(who), leaves("Relationship Deleted", who)],
        lambda workspace, who: not found(workspace, who).relationships,
    ),
}


def test_there_is_a_story_for_every_operation_that_waits() -> None:
    assert STORIES.keys() == placement.TAKING_AWAY


@pytest.mark.parametrize("slug", sorted(STORIES))
def test_a_story_that_goes_wrong_without_the_wait(
    redis_client: redis.Redis, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not gone_wrong(redis_client, slug)

    monkeypatch.setattr(placement, "TAKING_AWAY", placement.TAKING_AWAY - {slug})

    assert gone_wrong(redis_client, slug)


def gone_wrong(client: redis.Redis, slug: str) -> list[str]:
    """Return for whom the story came to another end."""
    telling, is_right = STORIES[slug]
    everybody = [f"user {number}" for number in range(PEOPLE)]
    client.flushall()
    service = Service(seed=1)
    service.set_faults(Faults(apply="shuffled", shuffle_batches=True, lag_ms=LAG_MS, lag_tail=0))
    told = chain.from_iterable(zip(*map(telling, everybody), strict=True))
    Way(client, service, "acknowledged", SETTLE_S).deliver(
        [
            event | {"messageId": f"m{number}", "timestamp": (BEGAN_AT + timedelta(seconds=number)).isoformat()}
            for number, event in enumerate(told)
        ]
    )
    service.clock.advance(60)
    service.catch_up()
    return [who for who in everybody if not is_right(service.workspace, who)]


def found(workspace: Workspace, who: str) -> Any:
    return workspace.find({"id": who})


def exists(workspace: Workspace, who: str) -> bool:
    return found(workspace, who) is not None


def is_suppressed(workspace: Workspace, email: str) -> bool:
    """Whether the service ignores what comes for this address."""
    before = workspace.counts["ignored"]
    workspace.apply({"type": "person", "action": "event", "name": "Late", "identifiers": {"email": email}}, 0.0)
    return workspace.counts["ignored"] == before + 1
