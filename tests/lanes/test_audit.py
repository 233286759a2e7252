"""The books of a queue: every accepted event has one fate or is open, and one that is removed by hand is named."""

from __future__ import annotations

from importlib import import_module

import pytest
import redis

import lanes
from lanes import fates, keys
from tests.lanes.driving import QUEUE, append, claim, deliver, event, queue_of, release, sequences

WEB = fates.name("accepted", "web")
KEY_TYPES = ("hash", "set", "zset")


def audited(client: redis.Redis) -> lanes.Audit:
    return lanes.audit(queue_of(client))


def numbers(client: redis.Redis) -> dict[str, int]:
    """The numbers of all sources and hours that are not 0, by fate."""
    rows = [row for hour in audited(client).hours for row in lanes.by_source(hour).values()]
    return {fate: number for fate in rows[0] if (number := sum(row[fate] for row in rows))}


def bury(client: redis.Redis, claimed: lanes.Claim, name: str, *, blocks: bool = False) -> None:
    burial = lanes.Burial(sequences(claimed)[name], b"why", blocks)
    lanes.settle(queue_of(client), claimed.id, buried=[burial])


def lost(client: redis.Redis) -> list[int]:
    return sorted(sequence for hour in audited(client).hours for sequence in hour.sequences)


def test_an_empty_queue_balances(client: redis.Redis) -> None:
    assert audited(client).balances


def test_each_event_is_counted_by_its_fate_source_and_reason(client: redis.Redis) -> None:
    append(client, *(event(name, name)._replace(counted_as=WEB) for name in "abcd"), event("e", "e"))
    claimed = claim(client)
    by_name = sequences(claimed)
    lanes.settle(
        queue_of(client),
        claimed.id,
        delivered=[by_name[name] for name in "abc"],
        buried=[lanes.Burial(by_name["d"], b"why", counted_as=fates.name("dead", "web", "rejected"))],
        counted_as={
            by_name["a"]: fates.name("sent", "web"),
            by_name["b"]: fates.name("filtered", "web", "drop if x"),
            by_name["c"]: fates.name("sent", "web"),
        },
    )

    assert lanes.fate_totals(queue_of(client)) == [
        ("accepted", "", "", 1),
        ("accepted", "web", "", 4),
        ("dead", "web", "rejected", 1),
        ("filtered", "web", "drop if x", 1),
        ("sent", "web", "", 2),
    ]
    assert numbers(client) == {"accepted": 5, "sent": 2, "filtered": 1, "dead": 1, "waiting": 1}
    assert lanes.stats(queue_of(client)).delivered_total == 2
    assert audited(client).balances


def test_duplicates_are_not_accepted(client: redis.Redis) -> None:
    append(client, event("a", "k"), event("a", "k"), event("b", "k"))
    append(client, event("a", "k"))

    assert numbers(client) == {"accepted": 2, "waiting": 2}


def test_an_event_that_the_claim_lost_is_counted_once(client: redis.Redis) -> None:
    app = fates.name("accepted", "app")
    append(client, event("a", "x")._replace(counted_as=WEB), event("b", "y")._replace(counted_as=app))
    first = claim(client)
    client.zadd(keys.CLAIMS.of(QUEUE), {first.id: 0})
    lanes.reap(queue_of(client))
    second = claim(client)
    deliver(client, first)
    names = {sequences(second)["a"]: fates.name("sent", "web"), sequences(second)["b"]: fates.name("unmatched", "app")}
    lanes.settle(queue_of(client), second.id, delivered=list(names), counted_as=names)
    deliver(client, second)

    assert numbers(client) == {"accepted": 2, "sent": 1, "unmatched": 1}
    assert audited(client).balances


@pytest.mark.parametrize("blocks", [False, True])
def test_a_discarded_dead_letter_leaves_the_dead_ones(client: redis.Redis, blocks: bool) -> None:
    append(client, event("a", "k"), event("b", "k"))
    bury(client, claim(client), "a", blocks=blocks)
    assert numbers(client)["dead"] == 1
    assert audited(client).balances

    lanes.discard(queue_of(client), [1])

    assert numbers(client) == {"accepted": 2, "discarded": 1, "waiting": 1}
    assert audited(client).balances


def test_a_blocking_dead_letter_stays_dead_when_it_is_unblocked(client: redis.Redis) -> None:
    append(client, event("a", "k"), event("b", "k"))
    bury(client, claim(client), "a", blocks=True)

    lanes.unblock(queue_of(client), {1: b"why"}, as_of=lanes.dead_letter_changes(queue_of(client)))

    assert numbers(client) == {"accepted": 2, "dead": 1, "waiting": 1}
    assert audited(client).balances


def test_a_requeued_dead_letter_that_blocks_waits_and_the_others_are_accepted_again(client: redis.Redis) -> None:
    queue = queue_of(client)
    append(client, event("a", "k"), event("b", "b"))
    claimed = claim(client)
    bury(client, claimed, "a", blocks=True)
    bury(client, claimed, "b")
    lanes.requeue(
        queue,
        blocking=[dead for dead in lanes.list_dead_letters(queue) if dead.blocks],
        appended=[event("b again", "b")._replace(replaces=2)],
        as_of=0,
        record=("record", {"done": 1}),
    )

    assert numbers(client) == {"accepted": 3, "replayed": 1, "waiting": 2}
    assert audited(client).balances
    deliver(client, claim(client))
    assert numbers(client) == {"accepted": 3, "sent": 2, "replayed": 1}
    assert audited(client).balances


def test_a_spilled_dead_letter_that_is_imported_is_accepted_again(client: redis.Redis) -> None:
    queue = queue_of(client)
    append(client, event("a", "k"))
    bury(client, claim(client), "a")
    (dead,) = lanes.list_dead_letters(queue)
    lanes.open_spill(queue, "file")
    lanes.spill(queue, "file", [1], as_of=0)
    assert numbers(client) == {"accepted": 1, "spilled": 1}
    assert audited(client).balances

    lanes.import_dead_letters(
        queue, [lanes.ImportedDeadLetter(1, dead.accepted_at_ms, ("k",), dead.body, dead.failure)]
    )

    assert numbers(client) == {"accepted": 2, "spilled": 1, "dead": 1}
    assert audited(client).balances


def test_erased_events_are_forgotten_also_while_a_claim_owns_them(client: redis.Redis) -> None:
    def as_web(_body: bytes) -> str:
        return fates.name("forgotten", "web")

    append(client, *(event(name, "k")._replace(counted_as=WEB) for name in "abc"))
    claimed = claim(client, events=1)
    lanes.erase(queue_of(client), [lanes.digest("k")], counted_as=as_web)
    assert numbers(client) == {"accepted": 3, "forgotten": 2, "waiting": 1}
    assert audited(client).balances

    client.zadd(keys.CLAIMS.of(QUEUE), {claimed.id: 0})
    lanes.reap(queue_of(client))
    again = claim(client)
    names = {claimed_event.sequence: fates.UNKNOWN for claimed_event in again.events}
    lanes.settle(queue_of(client), again.id, delivered=list(names), counted_as=names)

    assert numbers(client) == {"accepted": 3, "forgotten": 3}
    assert audited(client).balances


def test_hours_without_open_events_end_and_others_do_not(client: redis.Redis) -> None:
    append(client, event("a", "x"), event("b", "y"))
    (hour,) = (hour.hour for hour in audited(client).hours)
    claimed = claim(client)
    deliver(client, claimed, "a")
    assert client.ttl(keys.FATES.of(QUEUE, hour)) == -1

    deliver(client, claimed, "b")

    assert client.ttl(keys.FATES.of(QUEUE, hour)) > 0
    assert not client.exists(keys.OPEN.of(QUEUE))


def test_reasons_beyond_the_bound_are_counted_together(client: redis.Redis) -> None:
    reasons = [fates.name("filtered", "w/e", str(n)) for n in range(1_010)]
    append(client, *(event(str(n), str(n))._replace(counted_as=fates.name("accepted", "w/e")) for n in range(1_010)))
    while (claimed := claim(client)).events:
        names = {event.sequence: reasons[event.sequence - 1] for event in claimed.events}
        lanes.settle(queue_of(client), claimed.id, delivered=list(names), counted_as=names)

    (hour,) = audited(client).hours
    for counts in (lanes.fate_totals(queue_of(client)), hour.counts):
        assert len(counts) == 1_001
        assert ("filtered", "w/e", "other", 11) in counts
    assert lanes.by_source(hour)["w/e"]["waiting"] == 0
    assert hour.balances


def states(client: redis.Redis) -> dict[str, int]:
    """Make an event of each state; return their sequences."""
    append(client, *(event(name, name) for name in ("buried", "blocking", "delayed", "claimed")))
    append(client, event("ready", "ready"), event("behind", "claimed"), event("other", "other"))
    claimed = claim(client, events=4, depth=0)
    by_name = sequences(claimed)
    bury(client, claimed, "buried")
    bury(client, claimed, "blocking", blocks=True)
    release(client, claimed, "delayed", delay_ms=60_000)
    return by_name | {"ready": 5, "behind": 6}


def remove(client: redis.Redis, sequence: int, *only: str) -> list[str]:
    """Remove an event by hand from every key that holds it as a field or a member, or from some; return which did."""
    found = []
    for name in client.scan_iter(f"{keys.base(QUEUE)}:*"):
        short = name.decode().removeprefix(keys.base(QUEUE))
        kind = client.type(name).decode()
        short = ":claim" if short.startswith(":claim:") and "blocking" not in short else short
        if (only and short not in only) or kind not in KEY_TYPES or short.startswith((":age", ":open")):
            continue
        removed = {"hash": client.hdel, "set": client.srem, "zset": client.zrem}[kind](name, str(sequence))
        found += [short] if removed else []
    return found


@pytest.mark.parametrize("state", ["buried", "blocking", "delayed", "claimed", "ready", "behind"])
def test_an_event_that_was_removed_by_hand_from_all_keys_is_named(client: redis.Redis, state: str) -> None:
    sequence = states(client)[state]
    assert audited(client).balances

    assert remove(client, sequence)

    assert not audited(client).balances
    assert lost(client) == [sequence]


@pytest.mark.parametrize("state", ["buried", "blocking", "delayed", "claimed", "ready", "behind"])
def test_an_event_that_was_removed_from_any_one_key_is_named(client: redis.Redis, state: str) -> None:
    """But for what it was tried with, and what it is counted as: these do not hold it."""
    held_by = set(remove(client, states(client)[state])) - {":attempts", ":buried_as"}
    for key in held_by:
        client.flushall()
        sequence = states(client)[state]
        assert remove(client, sequence, key) == [key]
        result = audited(client)
        named = [int(each.subject.split()[-1]) for each in result.violations if each.subject[-1].isdigit()]
        assert not result.balances, key
        assert sequence in (*named, *lost(client)), key


def test_two_lost_events_are_named_when_another_key_has_one_of_them(client: redis.Redis) -> None:
    append(client, *(event(name, name) for name in "abcd"))
    remove(client, 2)
    remove(client, 3, ":event")

    assert lost(client) == [2, 3]


def test_a_count_that_was_changed_by_hand_is_a_difference(client: redis.Redis) -> None:
    append(client, event("a", "k"))
    (hour,) = (hour.hour for hour in audited(client).hours)
    client.hincrby(keys.FATES.of(QUEUE, hour), fates.ACCEPTED, 1)

    assert not audited(client).balances
    assert [hour.difference for hour in audited(client).hours] == [1]


def test_a_fate_that_was_counted_for_another_source_is_a_difference(client: redis.Redis) -> None:
    append(client, event("a", "k")._replace(counted_as=WEB))
    claimed = claim(client)
    lanes.settle(queue_of(client), claimed.id, delivered=[1], counted_as={1: fates.name("sent", "app")})

    (hour,) = audited(client).hours
    assert not hour.difference
    assert not hour.balances


def test_events_that_were_accepted_before_are_not_audited(client: redis.Redis) -> None:
    append(client, event("a", "k"))
    remove(client, 1)
    (hour,) = audited(client).hours

    assert not lanes.audit(queue_of(client), first_hour=hour.hour).balances
    assert lanes.audit(queue_of(client), first_hour=hour.hour + 1).balances


def test_a_lost_event_among_too_many_to_list_is_not_named(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    append(client, *(event(name, name) for name in "abcd"))
    remove(client, 2)
    monkeypatch.setattr(import_module("lanes.audit"), "MOST_NAMED", 2)

    assert audited(client).unnamed == 1
    assert not audited(client).balances
    assert lost(client) == []


def test_an_event_that_was_set_aside_without_its_record_stays_lost(client: redis.Redis) -> None:
    append(client, event("a", "k"), event("b", "k"))
    client.hdel(keys.EVENT.of(QUEUE), "1")
    claim(client)
    deliver(client, claim(client))

    assert lanes.stats(queue_of(client)).waiting == 0
    assert lost(client) == [1]
