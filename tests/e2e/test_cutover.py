"""The change from Segment's classic destination to Segue at a moment: every event is applied once, by one of the two.

Segment gives each event to both: to the stand-in for its classic destination (`tests.moving.classic`) and, by the
webhook, to Segue. The stand-in has the filter that `segue cutover plan` prints. Client clocks are wrong, both sides get
events late and try again, and dead letters from before and after the moment are replayed after it.
"""

from __future__ import annotations

import hmac
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

import lanes
from delivery import fates
from tests.conftest import RedisServer
from tests.e2e.conftest import segue
from tests.moving.classic import Classic
from tests.pipeline import QUEUE, Pipeline, wait_until
from tests.queues import queue_in
from tests.secrets import CREDENTIALS, OTHER_CREDENTIALS, WEBHOOK_SECRET
from tests.unit.test_recipes import file_of

EVENTS = 20_000
PEOPLE = 1000
MOMENT = datetime(2025, 12, 1, 10, tzinfo=UTC)  # before it is half of the events
SKEWS_MIN = (0, 0, 0, -3, 5, -90, 240)  # how wrong the clocks of clients are
FEW = 4_000  # without a moment: as many of them before it as after it
BURIED = 40  # events from before the moment that are dead letters
BATCH = 100

CUTOVER = f"cutover_at = {MOMENT.isoformat()}"


def config(cutover: str) -> str:
    """Return the recipe for the classic destination, with `cutover` among the keys of the destination."""
    secrets = {
        '"another secret"': f'"{WEBHOOK_SECRET}"',
        '"site"': f'"{CREDENTIALS["site_id"]}"',
        '"key"': f'"{CREDENTIALS["api_key"]}"\n{cutover}',
        "journeys": QUEUE,
    }
    text = file_of("classic")
    for written, replacement in secrets.items():
        text = text.replace(written, replacement)
    return text


def events(dice: random.Random, numbers: range) -> list[dict[str, Any]]:
    """Return the events in the order in which Segment received them; `properties.n` is their number."""
    kinds: list[dict[str, Any]] = [
        {"type": "track", "event": "Order Placed"},
        {"type": "track", "event": "Cart Viewed"},
        {"type": "page", "name": "Prices"},
        {"type": "screen", "name": "Cart"},
    ]
    return [received(n, dice.choice(kinds), dice.choice(SKEWS_MIN)) for n in numbers]


def received(n: int, event: dict[str, Any], skew_min: int) -> dict[str, Any]:
    """Return an event with what Segment adds to it. The last one before the moment is 1 ms before it."""
    at = MOMENT + (
        timedelta(milliseconds=40) * (n - EVENTS // 2) if n != EVENTS // 2 - 1 else timedelta(milliseconds=-1)
    )
    by_client = at + timedelta(minutes=skew_min)
    return event | {
        "messageId": f"m{n}",
        "userId": f"user {n % PEOPLE}",
        "anonymousId": f"a{n % PEOPLE}",
        "properties": {"n": n, "url": "https://shop.example/"},
        "integrations": {},
        "originalTimestamp": iso(by_client - timedelta(seconds=2)),
        "sentAt": iso(by_client),
        "timestamp": iso(at - timedelta(seconds=2)),
        "receivedAt": iso(at),
    }


def iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Webhook:
    """Segment's webhook. It repeats some requests, as after a response that was lost."""

    def __init__(self, pipeline: Pipeline, dice: random.Random) -> None:
        self._http, self._url, self._dice = pipeline.http, f"{pipeline.ingest_url}/v1/webhook/segment", dice

    def send(self, events: list[dict[str, Any]]) -> None:
        for first in range(0, len(events), BATCH):
            body = orjson.dumps(events[first : first + BATCH])
            signed = {"X-Signature": hmac.new(WEBHOOK_SECRET.encode(), body, "sha1").hexdigest()}
            for _ in range(1 + (self._dice.random() < 0.1)):
                assert self._http.post(self._url, content=body, headers=signed).status_code == 200


@contextmanager
def beside(classic: Classic, events: list[dict[str, Any]]) -> Iterator[None]:
    """Give the events to the classic destination in a thread, until the block ends."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            classic.retry()
            classic.receive(events)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failures, failures


def bury_all(pipeline: Pipeline, count: int) -> None:
    """Make a dead letter of each waiting event, as a worker does with events that it cannot deliver."""
    queue = queue_in(pipeline.redis, QUEUE)
    wait_until(lambda: lanes.stats(queue).waiting == count, "the events wait")
    claim = lanes.claim(queue, lease_ms=10_000, max_events=count, max_bytes=10**7, max_depth=count, poll_ms=0)
    failure = orjson.dumps({"class": "internal", "message": "an older version", "faults": [], "buried_at_ms": 1})
    burials = [
        lanes.Burial(event.sequence, failure, counted_as=fates.buried(event.body, "internal")) for event in claim.events
    ]
    lanes.settle(queue, claim.id, buried=burials)
    assert lanes.stats(queue).dead == count


def kill_a_busy_worker(pipeline: Pipeline) -> None:
    wait_until(lambda: pipeline.stats().claims > 0, "a worker has a claim")
    pipeline.kill_worker(0)
    pipeline.start_worker()


def move(pipeline: Pipeline, dropped_if: str | None, numbers: range) -> Classic:
    """Let Segment give all events to both, until nothing waits on either side.

    Of the events from before the moment, each side gets some only after it. Of the first ones after the moment, some
    become dead letters.
    """
    dice = random.Random(18)
    both, late, refused = events(dice, numbers), len(numbers) // 40, len(numbers) // 10
    before, after = both[: len(both) // 2], both[len(both) // 2 :]
    buried, others = before[:BURIED], before[BURIED:]
    late_at_segue, late_at_classic = dice.sample(others, late), dice.sample(others, late)
    sides = {"segue": CREDENTIALS["site_id"], "classic": OTHER_CREDENTIALS["site_id"]}
    classic = Classic(pipeline.simulator_url, **OTHER_CREDENTIALS, dropped_if=dropped_if)
    webhook = Webhook(pipeline, dice)

    webhook.send(buried)
    bury_all(pipeline, BURIED)
    pipeline.start_worker()
    pipeline.start_worker()

    pipeline.faults(seed=1, site_id=sides["classic"], status_503=0.1)
    with beside(classic, without(before, late_at_classic)):
        webhook.send(without(others, late_at_segue))
        kill_a_busy_worker(pipeline)
        pipeline.drain()
    assert classic.waiting, "some events of the classic destination are retried after the moment"

    pipeline.faults(seed=2, item_errors=0.02)  # of all who send: only Segue does now
    webhook.send(after[:refused])
    pipeline.drain()
    assert pipeline.stats().dead > BURIED

    pipeline.faults(seed=3, site_id=sides["segue"], status_503=0.1, reset_after=0.3)  # in some 25 requests
    with beside(classic, [*after[:refused], *dice.sample(late_at_classic, late), *after[refused:]]):
        webhook.send(dice.sample(rest := [*late_at_segue, *after[refused:]], len(rest)))
        kill_a_busy_worker(pipeline)
        pipeline.drain()

    pipeline.faults()
    classic.retry()
    replayed = segue("dead", "replay", "--all", "--json", environment=pipeline.environment)
    assert replayed.returncode == 0, replayed.stderr
    pipeline.drain()
    assert (classic.waiting, pipeline.stats().dead) == ([], 0)
    pipeline.assert_accounted()
    return classic


def applied(pipeline: Pipeline) -> dict[int, list[dict[str, Any]]]:
    """Return the events that the simulator applied, without ids, by their number."""
    found = defaultdict(list)
    for person in pipeline.people():
        for event in person["events"]:
            found[event["attributes"]["n"]].append({name: value for name, value in event.items() if name != "id"})
    return found


def without(events: list[dict[str, Any]], left_out: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = {event["messageId"] for event in left_out}
    return [event for event in events if event["messageId"] not in ids]


@pytest.mark.parametrize("has_moment", [True, False], ids=["with a moment", "without"])
def test_both_destinations_together_apply_every_event(redis_server: RedisServer, has_moment: bool) -> None:
    count = EVENTS if has_moment else FEW
    numbers = range((EVENTS - count) // 2, (EVENTS + count) // 2)
    variables = {"SEGUE_LEASE_S": "2", "SEGUE_SWEEP_S": "0.25", "SEGUE_SETTLE_S": "0.05"}
    with Pipeline(redis_server.url, workers=0, config=config(CUTOVER if has_moment else ""), **variables) as pipeline:
        dropped_if = None
        if has_moment:
            plan = segue("cutover", "plan", "--json", environment=pipeline.environment)
            assert plan.returncode == 0, plan.stderr
            dropped_if = orjson.loads(plan.stdout)["drop_if"]
        classic = move(pipeline, dropped_if, numbers)
        found, requests = (
            applied(pipeline),
            pipeline.http.get(f"{pipeline.simulator_url}/_sim/stats").json()["requests"],
        )

    assert requests["503"] > 0, "both sides had to try again"
    assert requests["reset"] > 0, "Segue repeated requests that had been processed"
    assert found.keys() == set(numbers)
    counts = Counter(len(each) for each in found.values())
    if has_moment:
        assert counts == {1: count}
        assert (classic.sent, classic.dropped) == (count // 2, count // 2)
    else:
        assert counts == {2: count}, "each event is there twice"
        assert [each for each in found.values() if each[0] != each[1]] == [], "both make the same of an event"
