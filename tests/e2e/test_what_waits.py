"""The reason of each cooldown: a story that ends right with the cooldown, and wrong without this one cooldown.

There is a story for each operation with a cooldown, and for each change of identifiers with one. The service applies
operations late and shuffled. Each story happens to PEOPLE people at the same time.
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
from mapping.operation import NEEDS_COOLDOWN
from simulator.options import Faults, Options
from simulator.service import Service
from simulator.workspace import Workspace
from tests.stories.delivery import LAG_MS, SETTLE_S, Pipeline
from tests.stories.generator import Event

ordering = import_module("mapping.ordering")  # for monkeypatch

PEOPLE = 40
BEGAN_AT = datetime.now(UTC) - timedelta(seconds=600)

Script = Callable[[str], list[Event]]  # from a person to the events of the story
Story = tuple[Script, Callable[[Workspace, str], bool]]


def address(who: str) -> str:
    return f"{who.replace(' ', '-')}@example.com"


def identify(who: str, **traits: Any) -> Event:
    return {"type": "identify", "userId": who, "traits": {"plan": "pro", **traits}}


def track(name: str, who: str, **members: Any) -> Event:
    return {"type": "track", "event": name, "userId": who, **members}


def has_a_phone(name: str, who: str) -> Event:
    return track(name, who, context={"device": {"token": f"phone of {who}", "type": "ios"}})


def joins(who: str) -> Event:
    return {"type": "group", "userId": who, "groupId": f"club of {who}", "traits": {}}


def leaves(name: str, who: str) -> Event:
    return track(name, who, properties={"objectId": f"club of {who}"})


# Slug of an action → the events of the story, and whether the workspace is right at its end.
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
        # Applied first, it suppresses the id alone: the address does not belong to the person yet.
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
        lambda who: [joins(who), leaves("Object Deleted", who)],
        lambda workspace, who: f"club of {who}" not in {found["object_id"] for found in workspace.objects.json()},
    ),
    "deleteRelationship": (
        lambda who: [joins(who), leaves("Relationship Deleted", who)],
        lambda workspace, who: not found(workspace, who).relationships,
    ),
}


def visitor(who: str) -> str:
    return f"visitor {who}"


# Change of identifiers → how the identifier is remembered, and its index among those of an update; the events of the
# story, and whether the workspace is right at its end.
CHANGES: dict[str, tuple[bytes, int, Script, Callable[[Workspace, str], bool]]] = {
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
        # Applied last, the second update merges two people; the lead is the older.
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


def test_every_action_with_a_cooldown_has_a_story() -> None:
    assert STORIES.keys() == {slug for slug, action in ACTIONS.items() if action.effect in NEEDS_COOLDOWN}


@pytest.mark.parametrize("slug", sorted(STORIES))
def test_the_story_of_an_action_ends_wrong_without_its_cooldown(
    redis_client: redis.Redis, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not wrong_people(redis_client, *STORIES[slug])

    monkeypatch.setattr(ordering, "NEEDS_COOLDOWN", NEEDS_COOLDOWN - {ACTIONS[slug].effect})

    assert wrong_people(redis_client, *STORIES[slug])


@pytest.mark.parametrize("change", CHANGES)
def test_the_story_of_a_change_of_identifiers_ends_wrong_without_its_cooldown(
    redis_client: redis.Redis, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, number, *story = CHANGES[change]
    assert not wrong_people(redis_client, *story)

    partners = identifier_changes.partners

    def all_but_this(named: identifier_changes.Identifiers, keys: Collection[bytes]) -> Iterator[bytes]:
        flat = iter(partners(named, keys))
        return chain.from_iterable(
            pair for at, pair in enumerate(zip(flat, flat, strict=True)) if at != number or pair[1][:1] != rule
        )

    monkeypatch.setattr(identifier_changes, "partners", all_but_this)

    assert wrong_people(redis_client, *story)


def test_an_update_of_existing_people_only_ends_wrong_without_its_cooldown(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Applied last, it finds the person that the other update creates."""
    story: Story = (
        lambda who: [identify(who, _update=True, first=True), identify(who)],
        lambda workspace, who: "first" not in found(workspace, who).attributes,
    )
    assert not wrong_people(redis_client, *story)

    monkeypatch.setattr(identifier_changes, "updates_only", lambda _body: False)

    assert wrong_people(redis_client, *story)


def test_an_update_that_is_dropped_as_a_whole_is_lost_unless_the_next_one_repeats_it(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no cooldown here."""
    story: Story = (
        lambda who: [identify(who, first=True), identify(who)],
        lambda workspace, who: "first" in found(workspace, who).attributes,
    )
    assert not wrong_people(redis_client, *story, stale_updates="profile")

    monkeypatch.setattr(recent_attributes, "remember", lambda *_args: None)

    assert wrong_people(redis_client, *story, stale_updates="profile")


def wrong_people(
    client: redis.Redis,
    script: Script,
    is_right: Callable[[Workspace, str], bool],
    stale_updates: Literal["attribute", "profile"] = "attribute",
) -> list[str]:
    """Return the people whose story did not end right."""
    people = [f"user {number}" for number in range(PEOPLE)]
    client.flushall()
    service = Service(seed=1)
    service.set_options(Options(stale_updates=stale_updates))
    service.set_faults(Faults(apply="shuffled", shuffle_batches=True, lag_ms=LAG_MS, lag_tail=0))
    events = chain.from_iterable(zip(*map(script, people), strict=True))
    Pipeline(client, service, "acknowledged", SETTLE_S).deliver(
        [
            event | {"messageId": f"m{number}", "timestamp": (BEGAN_AT + timedelta(seconds=number)).isoformat()}
            for number, event in enumerate(events)
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
    """Whether the service ignores events for this address."""
    before = workspace.counts["ignored"]
    workspace.apply({"type": "person", "action": "event", "name": "Late", "identifiers": {"email": email}}, 0.0)
    return workspace.counts["ignored"] == before + 1
