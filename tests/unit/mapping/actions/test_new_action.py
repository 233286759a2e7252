"""A new action needs no changes elsewhere: all rules that depend on an action are derived from its definition.

Each test adds copies of existing actions, under other slugs, to the registry. The same rules must apply to a copy as to
the original: in ordering, configuration, delivery, dead letters, privacy and documentation.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakeredis
import orjson
import pytest
import redis

import lanes
import mapping
from dead_letters import dry_run, query
from dead_letters.query import Filter
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Rejected, Response
from mapping.actions import ACTIONS, Action
from mapping.envelope import pack
from mapping.subscription import compile_subscription
from tests.claims import deliver_one
from tests.queues import queue_of
from tests.secrets import CREDENTIALS, CREDENTIALS_TOML

QUEUE = "journeys"
DOCS = Path(__file__).parents[4] / "docs" / "configuration.md"


def copy(original: str, slug: str, **changes: Any) -> Action:
    title = f"{ACTIONS[original].title} Again"
    return replace(ACTIONS[original], slug=slug, title=title, trigger=f'event = "{slug}"', **changes)


def expunged(payload: dict[str, Any]) -> dict[str, Any]:
    return {"type": "person", "action": "expunge", "identifiers": {"id": payload["person_id"]}}


COPIES = (
    copy("suppressPerson", "silencePerson"),
    copy("mergePeople", "unitePeople"),
    copy("deleteDevice", "dropDevice"),
    copy("deletePerson", "expungePerson", operation=expunged),
    copy("trackScreenView", "trackTvScreen"),
)


@pytest.fixture(autouse=True)
def _registered_copies() -> Iterator[None]:
    """Add the copies, and restore the registry in its order."""
    before = dict(ACTIONS)
    ACTIONS.update({action.slug: action for action in COPIES})
    yield
    ACTIONS.clear()
    ACTIONS.update(before)


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def destination(*slugs: str) -> mapping.Destination:
    """Return a destination with the presets of these actions, and Track Event for all other events."""
    others = " and ".join(f'event != "{slug}"' for slug in slugs)
    subscriptions = [
        compile_subscription(
            index,
            name=ACTIONS[slug].title,
            trigger=f'type = "track" and {others}' if slug == "trackEvent" else ACTIONS[slug].trigger,
            slug=slug,
            mapping=ACTIONS[slug].default_mapping,
        )
        for index, slug in enumerate((*slugs, "trackEvent"))
    ]
    return mapping.compile_destination(QUEUE, subscriptions, **CREDENTIALS)


def event(name: str, user: str = "a", at: str = "10:00:00", **more: Any) -> dict[str, Any]:
    device = {"device": {"token": "t", "type": "ios"}}
    timestamp = f"2024-03-05T{at}Z"
    base = {"type": "track", "event": name, "userId": user, "messageId": name, "timestamp": timestamp}
    return base | {"context": device} | more


def deliver(
    client: redis.Redis, to: mapping.Destination, *events: dict[str, Any], **outcomes: Outcome
) -> list[dict[str, Any]]:
    """Append and deliver the events; return the bodies that were sent. `outcomes` are by Customer.io's action."""
    for each in events:
        users = tuple(str(each[name]) for name in ("userId", "previousId") if name in each)
        entry = lanes.NewEvent(pack("website", each), users, each["messageId"])
        lanes.append(queue_of(client, QUEUE), [entry])
    bodies: list[dict[str, Any]] = []

    def send(request: Request) -> list[Outcome]:
        sent = [orjson.loads(item.data) for item in request.items]
        bodies.extend(sent)
        return [outcomes.get(body["action"], Delivered()) for body in sent]

    while deliver_one(queue_of(client, QUEUE), to, send).events:
        pass
    return bodies


@pytest.mark.parametrize("slug", ["silencePerson", "unitePeople", "dropDevice", "expungePerson"])
def test_a_copy_of_an_action_that_removes_or_merges_needs_the_cooldown(slug: str) -> None:
    info = mapping.ordering_info(event(slug, previousId="b"), destination(slug))

    assert info.needs_cooldown


def test_a_copy_of_a_screen_view_needs_no_cooldown() -> None:
    assert not mapping.ordering_info(event("trackTvScreen"), destination("trackTvScreen")).needs_cooldown


def test_every_action_that_merges_has_a_primary_and_a_secondary() -> None:
    for action in ACTIONS.values():
        if action.effect == "merge":
            assert {"primary", "secondary"} <= {field.key for field in action.fields}


def test_a_copy_of_a_merge_joins_the_keys_of_the_secondary_and_the_primary() -> None:
    info = mapping.ordering_info(event("unitePeople", previousId="b"), destination("unitePeople"))

    assert info.join == ("id:b", "id:a")


@pytest.mark.parametrize("slug", ["silencePerson", "expungePerson"])
def test_a_late_event_of_a_person_removed_by_a_copy_is_not_sent(client: redis.Redis, slug: str) -> None:
    late, back = event("late", at="09:59:59"), event("back", at="10:00:01")

    bodies = deliver(client, destination(slug), event(slug), late, back)

    assert [body.get("name") for body in bodies] == [None, "back"]


def test_later_events_of_a_person_merged_by_a_copy_go_to_the_primary(client: redis.Redis) -> None:
    before, merge, after = event("before", "b"), event("unitePeople", previousId="b"), event("after", "b")

    bodies = deliver(client, destination("unitePeople"), before, merge, after)

    assert [body.get("identifiers") for body in bodies] == [{"id": "b"}, None, {"id": "a"}]


def test_a_deletion_by_a_copy_is_sent_after_a_later_suppression(client: redis.Redis) -> None:
    """A late deletion recreates no person, unlike a late update."""
    first, second = event("silencePerson", at="10:00:02"), event("expungePerson", at="10:00:01")

    bodies = deliver(client, destination("silencePerson", "expungePerson"), first, second)

    assert [body["action"] for body in bodies] == ["suppress", "expunge"]


@pytest.mark.parametrize("slug", ["silencePerson", "unitePeople", "dropDevice", "expungePerson"])
def test_a_dry_run_says_that_the_operation_of_a_copy_is_irreversible(client: redis.Redis, slug: str) -> None:
    to = destination(slug)
    refused = Rejected("no (invalid)", Response(207, "{}", 0))
    verbs = ("suppress", "merge", "delete_device", "expunge")
    deliver(client, to, event(slug, previousId="b"), **dict.fromkeys(verbs, refused))

    dead_letters = list(query.matching(queue_of(client, QUEUE), Filter()))
    (preview,) = dry_run.run(queue_of(client, QUEUE), dead_letters, to, time.time())

    assert [risk for risk in preview.risks if risk.endswith("cannot be undone")]


def test_a_copy_has_a_preset_and_a_title() -> None:
    text = f"""
    [destinations.d]
    {CREDENTIALS_TOML}
    [[destinations.d.subscriptions]]
    name = "By title"
    action = "suppress person again"
    trigger = 'event = "x"'
    [destinations.d.presets]
    "Merge People Again" = false
    """
    names = [each.name for each in mapping.destinations(tomllib.loads(text))["d"].subscriptions]

    assert "Suppress Person Again" in names
    assert "By title" in names
    assert "Merge People Again" not in names


def test_a_copy_of_an_action_that_2021_lacks_is_refused_there() -> None:
    text = f"""
    [destinations.d]
    {CREDENTIALS_TOML}
    compatibility = "2021"
    """
    more = '[[destinations.d.subscriptions]]\nname = "x"\naction = "trackTvScreen"\ntrigger = \'event = "x"\''

    names = [each.name for each in mapping.destinations(tomllib.loads(text))["d"].subscriptions]
    with pytest.raises(mapping.ConfigurationError, match='compatibility = "2021"'):
        mapping.destinations(tomllib.loads(text + more))

    assert "Track Screen View Again" not in names
    assert "Suppress Person Again" in names


def test_a_privacy_request_has_the_slug_of_the_registered_action() -> None:
    del ACTIONS["suppressPerson"]
    request = mapping.PrivacyRequest(mapping.Person(("a",)), "suppress").event("m")

    (operation,) = mapping.translate(request, destination("silencePerson"), 0.0).operations

    assert operation.action == "silencePerson"


def test_the_documentation_lists_every_action_except_the_copies() -> None:
    text = DOCS.read_text(encoding="utf-8")

    missing = {
        slug for slug, action in ACTIONS.items() if f"| {action.title} | `{slug}` | `{action.trigger}` |" not in text
    }

    assert missing == {action.slug for action in COPIES}
