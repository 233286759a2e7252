"""What a viewer sees of odd events: no contents, wherever a text is expected."""

from __future__ import annotations

from typing import Any

import pytest
import redis

import lanes
from console.web.state import State
from lanes import fates
from mapping.envelope import pack
from tests.queues import default_queue
from tests.unit.console.web.browsing import ADDRESS, DIGEST, Browser, bury, copy, event, failure

ODD = ({"messageId": {"of": ADDRESS}}, {"event": {"of": ADDRESS}}, {"event": [ADDRESS]}, {"type": f"of {ADDRESS}"})


@pytest.mark.parametrize("members", ODD)
def test_a_viewer_sees_no_contents_of_a_refused_event_in_place_of_a_text(
    state: State, redis_client: redis.Redis, members: dict[str, Any]
) -> None:
    copy(redis_client, event(30, **members), "refused", sequence=None)
    viewer = Browser(state, "viewer")

    assert ADDRESS not in viewer.get("/live").text
    assert ADDRESS not in viewer.get("/live", "application/json").text


@pytest.mark.parametrize("path", [f"/people/{DIGEST}", "/dead?view=list", "/dead/demo/1"])
def test_a_viewer_sees_no_contents_of_an_object_in_place_of_a_name(
    state: State, redis_client: redis.Redis, path: str
) -> None:
    page = event(30, type="page", event=None, name={"of": ADDRESS})
    new = lanes.NewEvent(pack("demo", page), (f"email:{ADDRESS}",), "m30", counted_as=fates.name("accepted", "demo"))
    lanes.append(default_queue(redis_client, "demo"), [new])
    bury(redis_client, page, failure("boom"))
    viewer = Browser(state, "viewer")

    assert ADDRESS not in viewer.get(path).text
    assert ADDRESS not in viewer.get(path, "application/json").text


def test_a_name_that_is_an_object_gives_way_to_the_type(state: State, redis_client: redis.Redis) -> None:
    bury(redis_client, event(30, type="page", event=None, name={"of": ADDRESS}), failure("boom"))

    assert "page" in [row["name"] for row in Browser(state, "viewer").json("/dead?view=list")]
