"""Each operation that keeps a distance, and each change of names that does, has a reason: a story that comes out right
with the wait, and wrong when that alone does not wait.

The service applies late and shuffled; every story is told of PEOPLE at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import chain
from typing import Any, Literal

import pytest
import redis

from delivery import identifier_changes, recent_attributes
from simulator.options import Faults, Options
from simulator.service import Service
from simulator.workspace import Workspace
from tests.stories.delivery import LAG_MS, SETTLE_S, Way
from tests.stories.telling import Event

placement = import_module("mapping.ordering")  # the package has a function of that name

PEOPLE = 40
BEGAN_AT = datetime.now(UTC) - timedelta(seconds=600)

Telling = Callable[[str], list[Event]]
Story = tuple[Telling, Callable[[Workspace, str], bool]]


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
STORIES: dict[str, Story] = {
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


def visitor(who: str) -> str:
    return f"visitor {who}"


# By the change: how a name of it is remembered, and which of the names of an update it is; what is told, and whether
# the workspace is as it must be then.
CHANGES: dict[str, tuple[bytes, int, Telling, Callable[[Workspace, str], bool]]] = {
    "a changed address": (
        b"=",
        0,
        lambda who: [identify(who, email=f"old.{address(who)}"), identify(who, email=address(who))],
        lambda workspace, who: found(workspace, who).email == address(who),
    ),
    "a claimed address": (
        b"=",
        1,
        lambda who: [identify(who, email=address(who)), identify(f"other {who}", email=address(who))],
        lambda workspace, who: exists(workspace, who) and found(workspace, who).email == address(who),
    ),
    "a lead who becomes a customer": (
        # Applied last the second would make two people one, of whom the lead is the older.
        b"?",
        0,
        lambda who: [
            identify(address(who), plan="free"),
            identify(who, email=address(who)),
            identify(who, plan="team"),
        ],
        lambda workspace, who: found(workspace, who).attributes["plan"] == "team",
    ),
    "a shared visitor": (
        b"1",
        1,
        lambda who: [
            {"type": "track", "event": "Looked", "anonymousId": visitor(who)},
            identify(who) | {"anonymousId": visitor(who)},
            identify(f"other {who}") | {"anonymousId": visitor(who)},
        ],
        lambda workspace, who: len(found(workspace, who).events) == 1,
    ),
}


def test_there_is_a_story_for_every_operation_that_waits() -> None:
    assert STORIES.keys() == placement.TAKING_AWAY


@pytest.mark.parametrize("slug", sorted(STORIES))
def test_a_story_that_goes_wrong_without_the_wait(
    redis_client: redis.Redis, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not gone_wrong(redis_client, *STORIES[slug])

    monkeypatch.setattr(placement, "TAKING_AWAY", placement.TAKING_AWAY - {slug})

    assert gone_wrong(redis_client, *STORIES[slug])


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_names_that_goes_wrong_without_the_wait(
    redis_client: redis.Redis, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, number, *story = CHANGES[change]
    assert not gone_wrong(redis_client, *story)

    given = identifier_changes.given

    def all_but_this(body: Event, lanes: Collection[bytes]) -> Iterator[bytes]:
        flat = iter(given(body, lanes))
        return chain.from_iterable(
            pair for at, pair in enumerate(zip(flat, flat, strict=True)) if at != number or pair[1][:1] != rule
        )

    monkeypatch.setattr(identifier_changes, "given", all_but_this)

    assert gone_wrong(redis_client, *story)


def test_an_update_only_that_goes_wrong_without_the_wait(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Applied last, it finds somebody."""
    story: Story = (
        lambda who: [identify(who, _update=True, first=True), identify(who)],
        lambda workspace, who: "first" not in found(workspace, who).attributes,
    )
    assert not gone_wrong(redis_client, *story)

    monkeypatch.setattr(identifier_changes, "updates_only", lambda _body: False)

    assert gone_wrong(redis_client, *story)


def test_an_update_that_is_dropped_as_a_whole_is_lost_unless_the_next_one_says_it_again(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one waits for nothing."""
    story: Story = (
        lambda who: [identify(who, first=True), identify(who)],
        lambda workspace, who: "first" in found(workspace, who).attributes,
    )
    assert not gone_wrong(redis_client, *story, stale_updates="profile")

    monkeypatch.setattr(recent_attributes, "remember", lambda *_args: None)

    assert gone_wrong(redis_client, *story, stale_updates="profile")


def gone_wrong(
    client: redis.Redis,
    telling: Telling,
    is_right: Callable[[Workspace, str], bool],
    stale_updates: Literal["attribute", "profile"] = "attribute",
) -> list[str]:
    """Return for whom the story came to another end."""
    everybody = [f"user {number}" for number in range(PEOPLE)]
    client.flushall()
    service = Service(seed=1)
    service.set_options(Options(stale_updates=stale_updates))
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
