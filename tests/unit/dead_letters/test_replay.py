"""Replays and dry runs over an imitation server: what is requeued, in which order, and how it is counted."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import fakeredis
import orjson
import pytest
import redis
from redis.client import Pipeline
from redis.exceptions import WatchError

import lanes
import mapping
from dead_letters import dry_run, query, record
from dead_letters import replay as replays
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from dead_letters.replay import ReplayContext
from delivery import identity_memory
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Rejected, Response, RetryLater
from lanes import keys, suppression
from mapping.envelope import pack, unpack
from tests.claims import deliver_one
from tests.queues import queue_of
from tests.secrets import CREDENTIALS

QUEUE = "journeys"
LONG_AGO = "2024-03-05T10:20:30Z"


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def configured(**delivery: Any) -> mapping.Destination:
    return mapping.destinations({"destinations": {QUEUE: {**CREDENTIALS, "delivery": delivery}}})[QUEUE]


def send_events(client: redis.Redis, *events: dict[str, Any]) -> None:
    for number, members in enumerate(events):
        event = {"timestamp": LONG_AGO, "messageId": f"m{number}", "userId": "jo"} | members
        body = pack("website", event)
        lanes.append(queue_of(client, QUEUE), [lanes.NewEvent(body, (f"id:{event['userId']}",), event["messageId"])])


def track(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": name} | more


def work(client: redis.Redis, destination: mapping.Destination, **answers: Outcome) -> list[dict[str, Any]]:
    """Deliver everything; `answers` has the outcomes of operations by name. Return what was sent."""
    sent: list[dict[str, Any]] = []

    def send(request: Request) -> list[Outcome]:
        bodies = [orjson.loads(item.data) for item in request.items]
        sent.extend(bodies)
        return [answers.get(str(body.get("name")), Delivered()) for body in bodies]

    while deliver_one(queue_of(client, QUEUE), destination, send).events:
        pass
    return sent


def refused(text: str = "name: no (invalid)") -> Rejected:
    return Rejected(text, Response(207, "{}", 0))


def replay(
    client: redis.Redis,
    destination: mapping.Destination,
    wanted: Filter = Filter(),  # noqa: B008 - it is frozen
    mode: replays.Mode = "mapped",
    steps: int = 100,
    limit: int = 1000,
) -> replays.Replay:
    """Make some steps of a replay, until its end by default."""
    begun = replays.begin(queue_of(client, QUEUE), wanted, who="jo@here", per_s=1000, mode=mode)
    context = ReplayContext(lambda _: None, lambda _: None)
    queue = replace(queue_of(client, QUEUE), limit=limit)
    for _ in range(steps):
        if not replays.step(queue, begun.id, destination, context):
            break
    ended = replays.read(queue_of(client, QUEUE), begun.id)
    assert ended is not None
    return ended


def dead_letters(client: redis.Redis) -> list[DeadLetter]:
    return list(query.matching(queue_of(client, QUEUE), Filter()))


def test_a_replayed_event_keeps_its_age_its_attempts_and_its_original(client: redis.Redis) -> None:
    destination = configured()
    send_events(client, track("bad"))
    work(client, destination, bad=refused())
    (first,) = dead_letters(client)
    query.edit(queue_of(client, QUEUE), first, first.event | {"properties": {"edited": True}})

    assert replay(client, destination).done == 1
    work(client, destination, bad=refused("still bad"))

    (second,) = dead_letters(client)
    assert second.sequence > first.sequence
    assert second.failure.accepted_at_ms == first.failure.accepted_at_ms
    assert [attempt["reason"] for attempt in second.failure.attempts] == ["name: no (invalid)", "still bad"]
    assert second.failure.original == first.event
    assert second.event["properties"] == {"edited": True}


def test_an_edit_during_a_replay_is_sent_or_is_refused(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    destination = configured()
    send_events(client, track("bad"))
    work(client, destination, bad=refused())
    (first,) = dead_letters(client)
    read_page = query.page
    edits: list[bool] = []

    def edited_meanwhile(*arguments: Any, **more: Any) -> Any:
        page = read_page(*arguments, **more)
        edits.append(query.edit(queue_of(client, QUEUE), first, first.event | {"event": f"edited {len(edits)}"}))
        return page

    monkeypatch.setattr(query, "page", edited_meanwhile)
    ended = replay(client, destination)

    assert edits == [True, False], "after the first edit it differs from what the operator has read"
    assert (ended.processed, ended.done) == (1, 1)
    assert [body["name"] for body in work(client, destination)] == ["edited 0"]
    assert not query.edit(queue_of(client, QUEUE), first, first.event), "it was replayed"


def test_the_failure_has_the_whole_record(client: redis.Redis) -> None:
    send_events(client, track("bad", properties={"price": 3}))
    work(client, configured(), bad=refused())

    (dead_letter,) = dead_letters(client)
    failure = dead_letter.failure
    (fault,) = failure.faults
    assert (fault.subscription, fault.action, fault.path) == ("Track Event", "trackEvent", "/api/v2/entity")
    assert fault.payload is not None
    assert fault.request is not None
    assert fault.payload["data"] == {"price": 3}
    assert fault.request["attributes"] == {"price": 3}
    assert fault.response == {"status": 207, "body": "{}", "batch_index": 0}
    assert (dead_letter.source, failure.keys, failure.unsent) == ("website", ("id:jo",), ())
    assert len(failure.attempts) == 1


def test_the_recorded_requests_are_sent_again(client: redis.Redis) -> None:
    """The event is mapped to something else by now."""
    send_events(client, track("bad", properties={"price": 3}))
    (before,) = work(client, configured(), bad=refused())
    switched_off = {**CREDENTIALS, "presets": {"Track Event": False}}
    destination = mapping.destinations({"destinations": {QUEUE: switched_off}})[QUEUE]

    ended = replay(client, destination, mode="as_recorded")

    assert (ended.done, ended.skipped) == (1, 0)
    assert work(client, destination) == [before]
    assert lanes.stats(queue_of(client, QUEUE)).dead == 0


def test_a_dead_letter_without_a_request_is_skipped_by_a_replay_as_recorded(client: redis.Redis) -> None:
    destination = configured()
    send_events(client, {"type": "page", "properties": {}})
    work(client, destination)

    ended = replay(client, destination, mode="as_recorded")

    assert (ended.done, ended.skipped, ended.state) == (0, 1, "done")
    assert lanes.stats(queue_of(client, QUEUE)).dead == 1


def test_the_unsent_operations_are_sent_again_behind_the_exhausted_one(client: redis.Redis) -> None:
    """They were never sent."""
    subscription = {"name": "Twice", "trigger": 'type = "track"', "action": "Track Event", "mapping": {"name": "twice"}}
    table = {**CREDENTIALS, "subscriptions": [subscription]}
    destination = mapping.destinations({"destinations": {QUEUE: table}})[QUEUE]
    send_events(client, track("bad"))
    client.hset(f"segue:{{{QUEUE}}}:attempts", "1", b'[1,"w","HTTP 503"]\n' * 29)
    work(client, destination, bad=RetryLater("HTTP 503", Response(503, "")))
    (dead_letter,) = dead_letters(client)
    assert [unsent.request["name"] for unsent in dead_letter.failure.unsent] == ["twice"]

    replay(client, destination, mode="as_recorded")

    assert [body["name"] for body in work(client, destination)] == ["bad", "twice"]


def test_dead_letters_of_a_person_are_requeued_in_order_behind_live_events(client: redis.Redis) -> None:
    destination = configured()
    send_events(client, *(track(f"bad{n}") for n in range(3)))
    work(client, destination, **{f"bad{n}": refused() for n in range(3)})
    send_events(client, track("live", messageId="live"))

    replay(client, destination)

    assert [body["name"] for body in work(client, destination)] == ["live", "bad0", "bad1", "bad2"]


def test_the_same_replay_is_joined_and_another_one_waits_for_it(client: redis.Redis) -> None:
    destination = configured()
    send_events(client, track("bad"), track("bad", userId="al"))
    work(client, destination, bad=refused())

    first = replays.begin(queue_of(client, QUEUE), Filter(), who="jo", per_s=9)
    again = replays.begin(queue_of(client, QUEUE), Filter(), who="al", per_s=5)
    other = replays.begin(queue_of(client, QUEUE), Filter(person="id:al"), who="al", per_s=9)
    dry = replays.begin(queue_of(client, QUEUE), Filter(), who="al", per_s=9, mode="dry_run")

    assert (again.id, again.who, again.per_s) == (first.id, "jo", 5)
    assert again == replays.read(queue_of(client, QUEUE), first.id)
    assert replays.next_up(queue_of(client, QUEUE)) == [first.id, dry.id]
    replays.cancel(queue_of(client, QUEUE), first.id)
    assert replays.next_up(queue_of(client, QUEUE)) == [other.id, dry.id]
    cancelled = replays.read(queue_of(client, QUEUE), first.id)
    assert cancelled is not None
    assert cancelled.state == "cancelled"


def test_overlapping_replays_requeue_each_dead_letter_once(client: redis.Redis) -> None:
    """The second operator gets what the first one has not replayed."""
    destination = configured()
    send_events(client, *(track("bad", userId=f"u{n}") for n in range(4)))
    work(client, destination, bad=refused())

    first = replay(client, destination, Filter(ids=(1, 2)))
    second = replay(client, destination, Filter(ids=(1, 2, 3)))

    assert (first.done, second.total, second.done) == (2, 1, 1)
    assert len(work(client, destination)) == 3


def lose_first_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reply of the first watched transaction be lost: redis-py repeats the transaction."""
    execute, lost = Pipeline.execute, []

    def once(pipeline: Pipeline, *arguments: Any) -> Any:
        is_watching = pipeline.watching
        replies = execute(pipeline, *arguments)
        if is_watching and not lost:
            lost.append(replies)
            raise WatchError
        return replies

    monkeypatch.setattr(Pipeline, "execute", once)


@pytest.mark.parametrize("after_burial", ["go_on", "hold"])
def test_a_replay_whose_reply_was_lost_counts_what_it_requeued(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, after_burial: str
) -> None:
    destination = configured(after_burial=after_burial)
    send_events(client, *[track("bad", userId=f"u{n}") for n in range(3)])
    work(client, destination, bad=refused())
    lose_first_reply(monkeypatch)

    ended = replay(client, destination)

    assert (ended.done, ended.missing, lanes.stats(queue_of(client, QUEUE)).waiting) == (3, 0, 3)


def test_a_dry_run_whose_reply_was_lost_counts_a_page_once(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = configured()
    send_events(client, *[track("bad", userId=f"u{n}") for n in range(3)])
    work(client, destination, bad=refused())
    lose_first_reply(monkeypatch)

    figures = replay(client, destination, mode="dry_run").figures

    assert (figures["operation:person event"], figures["people"]) == (3, 3)


def test_a_dry_run_that_is_cancelled_while_a_page_is_mapped_keeps_no_person(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination, queue = configured(), queue_of(client, QUEUE)
    send_events(client, track("bad"), track("bad"))
    work(client, destination, bad=refused())
    monkeypatch.setattr(replays, "PAGE", 1)
    begun = replays.begin(queue, Filter(), who="jo@here", per_s=1000, mode="dry_run")
    run = dry_run.run

    def cancelled(*arguments: Any) -> Any:
        replays.cancel(queue, begun.id)
        return run(*arguments)

    monkeypatch.setattr(dry_run, "run", cancelled)
    for _ in range(3):
        replays.step(queue, begun.id, destination, ReplayContext(lambda _: None, lambda _: None))

    assert not client.exists(keys.DRY_RUN_PEOPLE.of(QUEUE, begun.id))


def test_a_full_or_busy_queue_goes_first(client: redis.Redis) -> None:
    destination = configured()
    send_events(client, track("bad"))
    work(client, destination, bad=refused())

    assert replay(client, destination, steps=5, limit=10).done == 0
    assert replay(client, destination).done == 1


def test_a_dead_letter_that_blocks_is_requeued_into_a_full_queue(client: redis.Redis) -> None:
    destination = configured(after_burial="hold")
    send_events(client, track("bad", userId="before", messageId="before"))
    work(client, configured(), bad=refused())
    send_events(client, track("bad"), *(track("waits", messageId=f"waits {number}") for number in range(9)))
    work(client, destination, bad=refused())

    assert replay(client, destination, steps=5, limit=10).done == 1
    assert len(work(client, destination)) == 10

    ended = replay(client, destination)
    assert (ended.state, ended.done) == ("done", 2)


def test_a_blocking_dead_letter_that_cannot_be_requeued_is_left_in_a_full_queue(client: redis.Redis) -> None:
    destination = configured(after_burial="hold")
    send_events(client, {"type": "page", "properties": {}}, track("waits", messageId="waits"))
    work(client, destination)

    ended = replay(client, destination, mode="as_recorded", steps=5, limit=2)
    assert (ended.state, ended.done, ended.skipped) == ("running", 0, 0)


def test_every_dead_letter_is_read_once_for_any_filter(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    destination = configured()
    send_events(client, *(track("rare" if n % 50 == 49 else "bad", userId=f"u{n}") for n in range(90)))
    send_events(client, *(track("bad", userId=f"v{n}", messageId=f"v{n}") for n in range(90)))
    work(client, destination, bad=refused(), rare=refused())
    begun = replays.begin(queue_of(client, QUEUE), Filter(event="rare"), who="jo", per_s=1000)
    read: list[int] = []
    reading = record.read
    monkeypatch.setattr(record, "read", lambda stored: read.append(stored.sequence) or reading(stored))
    monkeypatch.setattr(replays, "PAGE", 10)

    while replays.step(queue_of(client, QUEUE), begun.id, destination, ReplayContext(lambda _: None, lambda _: None)):
        pass

    ended = replays.read(queue_of(client, QUEUE), begun.id)
    assert ended is not None
    assert (ended.done, ended.state) == (1, "done")
    assert len(read) == len(set(read)) <= 60, "it ends with the page of the last match"


def test_a_dry_run_counts_what_would_be_sent_and_changes_nothing(client: redis.Redis) -> None:
    destination = configured()
    send_events(
        client,
        track("bad", properties={"price": 3}),
        {"type": "page", "properties": {}, "messageId": "page"},
        {"type": "identify", "traits": {"name": "Jo"}, "messageId": "identify"},
        track("User Deleted", messageId="deleted"),
    )
    sent = {"bad": refused(), "None": refused()}
    work(client, destination, **sent)
    first = dead_letters(client)[0]
    query.edit(queue_of(client, QUEUE), first, first.event | {"properties": {"price": 4}})
    before = {key: client.dump(key) for key in client.keys("*:dead")}

    ended = replay(client, destination, mode="dry_run")

    assert (ended.state, ended.processed) == ("done", 4)
    assert ended.figures == {
        "people": 1,
        "fail_again": 1,
        "changed": 1,
        "operation:person event": 1,
        "operation:person identify": 1,
        "operation:person delete": 1,
        "change:attributes.price": 1,
        "risk:more than 72 h old: it triggers no campaign": 1,
        "risk:older than the hours for which updates are remembered: Customer.io may drop it as a whole": 1,
        "risk:a delete cannot be undone": 1,
        "risk:the same request was refused before: Customer.io probably refuses it again": 2,
    }
    assert {key: client.dump(key) for key in client.keys("*:dead")} == before
    assert lanes.stats(queue_of(client, QUEUE)).waiting == 0


def test_a_dry_run_counts_the_changes_of_a_hundred_fields_each(client: redis.Redis) -> None:
    """Events may have any names of properties: each name would be a line of the plan."""
    destination, people = configured(), [f"person {number}" for number in range(120)]
    send_events(client, *[track("bad", properties={who: 1}, messageId=who) for who in people])
    work(client, destination, bad=refused())
    for number, dead_letter in enumerate(dead_letters(client)):
        properties = {people[number]: 2, "x" * 300: 2} if number else {people[number]: 2}
        query.edit(queue_of(client, QUEUE), dead_letter, dead_letter.event | {"properties": properties})

    figures = replay(client, destination, mode="dry_run").figures

    fields = {name: count for name, count in figures.items() if name.startswith("change:")}
    assert len(fields) == dry_run.MOST_FIELDS + 1
    assert sum(fields.values()) == 120 + 119
    assert fields[dry_run.OTHER_FIELDS] == 120 - 99
    assert max(map(len, fields)) < 210


def test_a_dry_run_of_a_refused_privacy_request_compares_each_of_its_operations(client: redis.Redis) -> None:
    """Its operations belong to no subscription."""
    destination = configured()
    person = mapping.Person(("jo",), ("jo@example.com",))
    send_events(client, mapping.PrivacyRequest(person, "delete").event("request") | {"userId": "jo"})
    work(client, destination, **{"None": refused()})

    ended = replay(client, destination, mode="dry_run")

    assert ended.figures == {
        "people": 2,
        "fail_again": 0,
        "changed": 0,
        "operation:person delete": 2,
        "risk:a delete cannot be undone": 1,
        "risk:the same request was refused before: Customer.io probably refuses it again": 1,
    }


def test_an_update_that_is_older_than_one_sent_since_is_a_risk(client: redis.Redis) -> None:
    destination = configured()
    send_events(client, {"type": "identify", "traits": {"name": "Jo"}})
    work(client, destination, **{"None": refused()})
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    send_events(client, {"type": "identify", "traits": {"name": "Joe"}, "timestamp": now, "messageId": "newer"})
    work(client, destination)

    figures = replay(client, destination, mode="dry_run").figures

    risks = [name for name in figures if name.startswith("risk:")]
    assert risks == ["risk:older than an update that was sent since: newer values are not overwritten"]
    assert figures["change:attributes.name"] == 1


def test_an_update_that_is_older_than_one_of_other_attributes_is_none(client: redis.Redis) -> None:
    """Each attribute has a clock of its own."""
    destination = configured()
    hour_ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    send_events(client, {"type": "identify", "traits": {"name": "Jo"}, "timestamp": hour_ago})
    work(client, destination, **{"None": refused()})
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    send_events(client, {"type": "identify", "traits": {"plan": "pro"}, "timestamp": now, "messageId": "newer"})
    work(client, destination)

    figures = replay(client, destination, mode="dry_run").figures

    assert figures["changed"] == 0
    assert [name for name in figures if name.startswith("risk:older")] == []


def test_a_dry_run_says_of_how_many_nothing_would_be_sent(client: redis.Redis) -> None:
    send_events(client, track("bad"), {"type": "page", "properties": {}, "messageId": "page"})
    work(client, configured(), bad=refused())
    switched_off = {**CREDENTIALS, "presets": {"Track Event": False}}
    destination = mapping.destinations({"destinations": {QUEUE: switched_off}})[QUEUE]

    figures = replay(client, destination, mode="dry_run").figures

    assert figures["risk:a filter excludes it, or no subscription takes it: nothing is sent"] == 1
    assert (figures["fail_again"], figures.get("people", 0)) == (1, 0)


def test_a_dry_run_sends_no_shadow_event(client: redis.Redis) -> None:
    send_events(client, track("bad"))
    work(client, configured(), bad=refused())
    shadow = {**CREDENTIALS, "mode": "shadow"}
    destination = mapping.destinations({"destinations": {QUEUE: shadow}})[QUEUE]

    figures = replay(client, destination, mode="dry_run").figures

    assert [name for name in figures if name.startswith(("operation:", "risk:"))] == [
        "risk:the destination sends no events of this time: it is recorded as a shadow event"
    ]


def test_a_dry_run_has_the_failures_of_a_deleted_person_where_late_events_are_buried(client: redis.Redis) -> None:
    destination, queue = configured(after_deletion="bury"), queue_of(client, QUEUE)
    send_events(client, track("bad"))
    work(client, destination, bad=refused())
    deleted = {"identifiers": {"id": "jo"}}
    identity_memory.remember(queue, [identity_memory.Change("delete", deleted, int(time.time() * 1000))], "email_or_id")

    figures = replay(client, destination, mode="dry_run").figures

    assert (figures["fail_again"], figures.get("operation:person event")) == (1, None)
    replay(client, destination)
    assert work(client, destination) == []
    assert [dead.failure.reason for dead in dead_letters(client)] == ["deleted"]


def test_what_became_of_the_person_since_and_campaigns_are_risks(client: redis.Redis) -> None:
    destination, queue = configured(), queue_of(client, QUEUE)
    hour_ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    for user in ("jo", "al"):
        send_events(client, track("bad", userId=user, messageId=user, timestamp=hour_ago))
    work(client, destination, bad=refused())
    deleted = {"identifiers": {"id": "jo"}}
    identity_memory.remember(queue, [identity_memory.Change("delete", deleted, int(time.time() * 1000))], "email_or_id")

    figures = replay(client, destination, mode="dry_run").figures

    assert {name: count for name, count in figures.items() if name.startswith("risk:")} == {
        "risk:at most 72 h old: it may trigger campaigns": 1,
        "risk:older than the deletion of its person: it is dropped, or buried again with `after_deletion`": 1,
        "risk:the same request was refused before: Customer.io probably refuses it again": 1,
    }
    assert (figures["operation:person event"], figures["people"]) == (1, 1)  # of the other person
    assert not client.keys("*:people")


def test_a_dead_letter_of_a_suppressed_person_is_never_sent(client: redis.Redis) -> None:
    destination, queue = configured(), queue_of(client, QUEUE)
    for user in ("jo", "al"):
        send_events(client, track("bad", userId=user, messageId=user))
    work(client, destination, bad=refused())
    suppression.suppress(queue, [lanes.digest("id:jo")])

    planned = replay(client, destination, mode="dry_run").figures
    ended = replay(client, destination)

    assert planned["risk:its person is suppressed: it is not sent, and stays a dead letter"] == 1
    assert (planned["operation:person event"], planned["people"]) == (1, 1)
    assert (ended.done, ended.skipped) == (1, 1)
    assert [dead_letter.event["userId"] for dead_letter in dead_letters(client)] == ["jo"]


def test_a_dead_letter_that_blocks_keeps_its_position_and_its_attempts(client: redis.Redis) -> None:
    destination = configured(after_burial="hold")
    send_events(client, track("bad"), track("next", messageId="next"))
    work(client, destination, bad=refused())

    assert replay(client, destination).done == 1

    claim = lanes.claim(queue_of(client, QUEUE), lease_ms=1000, max_events=9, max_bytes=10**6, max_depth=9, poll_ms=0)
    assert [unpack(event.body).event["event"] for event in claim.events] == ["bad", "next"]
    assert len(unpack(claim.events[0].body).requeued["attempts"]) == 1


def test_a_dead_letter_that_cannot_be_requeued_is_skipped_and_the_others_go_on(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = configured()
    send_events(client, *(track(name, userId=name) for name in ("damaged", "raising", "good")))
    work(client, destination, damaged=refused(), raising=refused(), good=refused())
    client.hset(keys.FAILURE.of(QUEUE), "1", b"[]")
    ordering_info = mapping.ordering_info

    def raising(event: dict[str, Any], to: mapping.Destination) -> Any:
        if event.get("event") == "raising":
            raise RuntimeError("a bug")
        return ordering_info(event, to)

    monkeypatch.setattr(mapping, "ordering_info", raising)
    ended = replay(client, destination)

    assert (ended.state, ended.processed, ended.done, ended.skipped) == ("done", 3, 1, 2)
    assert [sent["name"] for sent in work(client, destination)] == ["good"]
    assert [dead.sequence for dead in dead_letters(client)] == [1, 2]


def test_a_dry_run_counts_a_dead_letter_that_raises_as_one_that_fails_again(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = configured()
    send_events(client, *(track(name, userId=name) for name in ("damaged", "raising", "good")))
    work(client, destination, damaged=refused(), raising=refused(), good=refused())
    client.hset(keys.FAILURE.of(QUEUE), "1", b"[]")
    translate = mapping.translate

    def raising(event: dict[str, Any], to: mapping.Destination, now_s: float) -> Any:
        if event.get("event") == "raising":
            raise RuntimeError("a bug")
        return translate(event, to, now_s)

    monkeypatch.setattr(mapping, "translate", raising)

    figures = replay(client, destination, mode="dry_run").figures

    assert (figures["fail_again"], figures["operation:person event"]) == (2, 1)
