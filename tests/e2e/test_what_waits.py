"""Each operation and each change of identifiers that needs the cooldown has a reason: a story that ends right with the
cooldown, and wrong when that operation or change alone has none.

The service applies late and shuffled. Every story is delivered for PEOPLE people at once.
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
from mapping.actions import ACTIONS
from simulator.options import Faults, Options
from simulator.service import Service
from simulator.workspace import Workspace
from tests.stories.delivery import LAG_MS, SETTLE_S, Pipeline
from tests.stories.generator import Event

ordering = import_module("mapping.ordering")

PEOPLE = 40
BEGAN_AT = datetime.now(UTC) - timedelta(seconds=600)

Events = Callable[[str], list[Event]]
Story = tuple[Events, Callable[[Workspace, str], bool]]


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


# By the action: the events of a person, and whether the workspace is right after them.
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
        # Applied first it would suppress the id alone: the address is not known yet.
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


# By the change: how an identifier of it is remembered, and which identifier of the update it is; the events of a
# person, and whether the workspace is right after them.
CHANGES: dict[str, tuple[bytes, int, Events, Callable[[Workspace, str], bool]]] = {
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


def test_there_is_a_story_for_every_action_that_needs_the_cooldown() -> None:
    assert STORIES.keys() == {slug for slug, action in ACTIONS.items() if action.effect in ordering.NEEDS_COOLDOWN}


@pytest.mark.parametrize("slug", sorted(STORIES))
def test_a_story_that_ends_wrong_without_the_cooldown_of_its_action(
    redis_client: redis.Redis, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not ended_wrong(redis_client, *STORIES[slug])

    monkeypatch.setattr(ordering, "NEEDS_COOLDOWN", ordering.NEEDS_COOLDOWN - {ACTIONS[slug].effect})

    assert ended_wrong(redis_client, *STORIES[slug])


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_identifiers_that_ends_wrong_without_the_cooldown(
    redis_client: redis.Redis, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, number, *story = CHANGES[change]
    assert not ended_wrong(redis_client, *story)

    partners = identifier_changes.partners

    def all_but_this(body: Event, keys: Collection[bytes]) -> Iterator[bytes]:
        flat = iter(partners(body, keys))
        return chain.from_iterable(
            pair for at, pair in enumerate(zip(flat, flat, strict=True)) if at != number or pair[1][:1] != rule
        )

    monkeypatch.setattr(identifier_changes, "partners", all_but_this)

    assert ended_wrong(redis_client, *story)


def test_an_update_only_that_ends_wrong_without_the_cooldown(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Applied last, it finds a person."""
    story: Story = (
        lambda who: [identify(who, _update=True, first=True), identify(who)],
        lambda workspace, who: "first" not in found(workspace, who).attributes,
    )
    assert not ended_wrong(redis_client, *story)

    monkeypatch.setattr(identifier_changes, "updates_only", lambda _body: False)

    assert ended_wrong(redis_client, *story)


def test_an_update_that_is_ignored_as_a_whole_is_lost_unless_the_next_one_repeats_its_attributes(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This update needs no cooldown."""
    story: Story = (
        lambda who: [identify(who, first=True), identify(who)],
        lambda workspace, who: "first" in found(workspace, who).attributes,
    )
    assert not ended_wrong(redis_client, *story, stale_updates="profile")

    monkeypatch.setattr(recent_attributes, "remember", lambda *_args: None)

    assert ended_wrong(redis_client, *story, stale_updates="profile")


def ended_wrong(
    client: redis.Redis,
    events: Events,
    is_right: Callable[[Workspace, str], bool],
    stale_updates: Literal["attribute", "profile"] = "attribute",
) -> list[str]:
    """Return the people whose story ended wrong."""
    people = [f"user {number}" for number in range(PEOPLE)]
    client.flushall()
    service = Service(seed=1)
    service.set_options(Options(stale_updates=stale_updates))
    service.set_faults(Faults(apply="shuffled", shuffle_batches=True, lag_ms=LAG_MS, lag_tail=0))
    in_order = chain.from_iterable(zip(*map(events, people), strict=True))
    Pipeline(client, service, "acknowledged", SETTLE_S).deliver(
        [
            event | {"messageId": f"m{number}", "timestamp": (BEGAN_AT + timedelta(seconds=number)).isoformat()}
            for number, event in enumerate(in_order)
        ]
    )
    service.clock.advance(60)
    service.catch_up()
    return [who for who in people if not is_right(service.workspace, who)]


def found(workspace: Workspace, who: str) -> Any:
    return workspace.find({"id": who})


def exists(workspace: Workspace, who: str) -> bool:
    return found(workspace, who) is not None


def is_suppressed(workspace: Workspace, email: str) -> bool:
    """Whether the service ignores what comes for this address."""
    before = workspace.counts["ignored"]
    workspace.apply({"type": "person", "action": "event", "name": "Late", "identifiers": {"email": email}}, 0.0)
    return workspace.counts["ignored"] == before + 1
