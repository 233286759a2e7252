"""The registry of Redis keys is complete and true: a pipeline that uses every feature is compared with it, both ways.

Keyspace notifications name each key and each command on it, so no key is too short-lived to be seen.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

import lanes
from dead_letters import query
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from lanes import keys
from lanes.keys import Key
from mapping.envelope import pack
from privacy import receipts
from tests.conftest import RedisServer
from tests.e2e.conftest import clean_environment, segue
from tests.pipeline import OTHER, QUEUE, Pipeline, configuration, wait_until
from tests.queues import queue_in, queue_of
from tests.secrets import OTHER_CREDENTIALS

LEASE_S = 2.0
HOT_LENGTH = 1000  # events of a lane that Segue counts as hot
PAGE = {"type": "page", "properties": {}}  # refused: a page view has a URL

# Command, as a notification names it → type of the value that it creates.
_TYPES = {
    **dict.fromkeys(("set", "append", "incrby", "setrange"), "string"),
    **dict.fromkeys(("hset", "hincrby"), "hash"),
    **dict.fromkeys(("lpush", "rpush"), "list"),
    **dict.fromkeys(("zadd", "zincr"), "zset"),
    "xadd": "stream",
    "sadd": "set",
}
_DELETED = {"del", "expired", "evicted"}


class Seen(NamedTuple):
    """A key from its creation to its deletion, or to the end."""

    name: str
    type: str
    has_ttl: bool


def differences(seen: Iterable[Seen], registry: Iterable[Key]) -> list[str]:
    """Return how the keys of a run differ from the registry, one text for each difference."""
    seen, entries, found = set(seen), list(registry), list[str]()
    for name, kind, has_ttl in sorted(seen):
        matching = [entry for entry in entries if entry.matches(name)]
        if len(matching) != 1:
            found.append(f"{name}: has {[entry.name for entry in matching]} as its entries")
            continue
        (entry,) = matching
        if kind != entry.type:
            found.append(f"{name}: is a {kind}, and its entry says {entry.type}")
        if entry.expires is not None and has_ttl != entry.expires:
            found.append(f"{name}: {'has a' if has_ttl else 'has no'} TTL, and its entry says {entry.lifetime!r}")
    unseen = [entry.name for entry in entries if not was_seen(entry, seen)]
    return found + [f"{name}: was not seen" for name in unseen]


def was_seen(entry: Key, seen: Iterable[Seen]) -> bool:
    """Whether one of the keys is of this entry."""
    return any(entry.matches(key.name) for key in seen)


class Watch:
    """The keys of a server, as its keyspace notifications report them."""

    def __init__(self) -> None:
        self._ended = set[Seen]()
        self._alive: dict[str, Seen] = {}

    def report(self, name: str, command: str) -> None:
        """Record that a command was executed on a key."""
        known = self._alive.get(name)
        if command in _DELETED:
            if known is not None:
                self._ended.add(self._alive.pop(name))
        elif command in ("expire", "persist") and known is not None:
            self._alive[name] = known._replace(has_ttl=command == "expire")
        elif known is None or command == "set":
            self._alive[name] = Seen(name, _TYPES.get(command, f"value that {command} creates"), has_ttl=False)

    @property
    def alive(self) -> set[Seen]:
        """The keys that exist now."""
        return set(self._alive.values())

    @property
    def seen(self) -> set[Seen]:
        """The keys that exist now, and those that were deleted."""
        return self.alive | self._ended


@contextmanager
def watching(url: str) -> Iterator[Watch]:
    """Watch the keys of the server until the end; then all reports have been read."""
    watch, over = Watch(), threading.Event()
    with redis.Redis.from_url(url) as client:
        before = client.config_get("notify-keyspace-events")["notify-keyspace-events"]
        client.config_set("notify-keyspace-events", "KA")
        subscription = client.pubsub(ignore_subscribe_messages=True)
        subscription.psubscribe("__keyspace@0__:*")
        subscription.get_message(timeout=5)

        def listen() -> None:
            while True:
                message: dict[str, Any] | None = subscription.get_message(timeout=0.2)
                if message is not None:
                    name = message["channel"].decode(errors="backslashreplace").partition(":")[2]
                    watch.report(name, message["data"].decode())
                elif over.is_set():
                    return

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield watch
        finally:
            over.set()
            thread.join()
            subscription.close()
            client.config_set("notify-keyspace-events", before)


def scanned(client: redis.Redis) -> set[Seen]:
    """Return the keys that exist now, as Redis describes them."""
    return {
        Seen(name.decode(errors="backslashreplace"), client.type(name).decode(), client.ttl(name) >= 0)
        for name in client.scan_iter(count=1000)
    }


class Scenario:
    """A pipeline with two destinations: dead letters of `demo` do not block, those of `other` do."""

    def __init__(self, server: RedisServer, directory: Path) -> None:
        config, spill = directory / "segue.toml", directory / "spill"
        config.write_text(
            configuration(delivery={"requests_per_s": 1000, "dead_letters": 3})
            + configuration(OTHER, **OTHER_CREDENTIALS, delivery={"requests_per_s": 1000, "after_burial": "hold"})
        )
        shared = {"SEGUE_CONFIG": str(config), "SEGUE_SPILL_DIR": str(spill), "SEGUE_SETTLE_S": "0.2"}
        shared |= {"SEGUE_REORDER_MS": "50", "SEGUE_LEDGER_DIR": str(directory / "ledger")}
        self.pipeline = Pipeline(server.url, workers=1, SEGUE_LEASE_S=str(LEASE_S), SEGUE_SWEEP_S="0.25", **shared)
        self.client = self.pipeline.redis
        self._environment = clean_environment(REDIS_URL=server.url, **shared)
        self._spill = spill

    def run(self) -> None:
        """Use every feature that writes to Redis, one after the other."""
        self._deliver()
        self._retry()
        self._let_a_claim_expire()
        self._bury_and_spill()
        self._edit_and_replay()
        self._start_ledger()
        self._use_console()
        self._erase()
        self._request_privacy()
        self._move()

    def _deliver(self) -> None:
        """Updates, a merge, a deletion, a changed identifier, a conflict; events that wait, are unsent, or refused."""
        refused = self.pipeline.http.post(f"{self.pipeline.ingest_url}/v1/track", json={"event": "no key"})
        assert refused.status_code == 401
        self.pipeline.send(
            [
                {"type": "identify", "userId": "old", "traits": {"plan": "free"}},
                {"type": "identify", "userId": "new", "anonymousId": "visitor", "traits": {"email": "n@example.com"}},
                {"type": "alias", "userId": "new", "previousId": "old"},
                *({"type": "track", "event": f"e{n}", "userId": "old"} for n in range(3)),
                {"type": "identify", "userId": "leaver"},
                {"type": "track", "event": "User Deleted", "userId": "leaver"},
                {"type": "track", "event": "Application Opened", "anonymousId": "visitor"},
                {"type": "identify", "userId": "new", "traits": {"email": "changed@example.com"}},
                {"type": "identify", "userId": "owner", "traits": {"email": "owned@example.com"}},
                {"type": "identify", "userId": "other", "traits": {"email": "owned@example.com"}},
            ]
        )
        self.pipeline.drain()

    def _retry(self) -> None:
        self.pipeline.faults(status_503=1.0)
        self.pipeline.send([{"type": "track", "event": "retried", "userId": "new"}])
        self._wait_for(keys.ATTEMPTS)
        self.pipeline.faults()
        self.pipeline.drain()

    def _let_a_claim_expire(self) -> None:
        self.pipeline.faults(latency_ms=[4000, 4000])
        self.pipeline.send([{"type": "track", "event": "expires", "userId": "new"}])
        wait_until(lambda: self.pipeline.stats().claims > 0, "a worker has a claim")
        self.pipeline.workers[0].send_signal(signal.SIGSTOP)  # else a slow command finds the claim settled
        self._command("lanes", "skip", self.client.get(keys.SEQ.of(QUEUE)).decode(), "--yes", "--destination", QUEUE)
        self.pipeline.kill_worker(0)
        self.pipeline.faults()
        self.pipeline.start_worker()
        wait_until(lambda: self.pipeline.stats().reaped_total > 0, "the event of the expired claim is returned")
        self.pipeline.drain()

    def _bury_and_spill(self) -> None:
        self.pipeline.send([PAGE | {"userId": f"refused {n}"} for n in range(6)])
        blocked = [PAGE | {"userId": "blocked"}, {"type": "track", "event": "after", "userId": "blocked"}]
        self.pipeline.send(blocked, write_key=OTHER)
        self._wait_for(keys.BLOCKING, OTHER)
        self.pipeline.drain()
        self.client.delete(keys.RETENTION_DONE.of(QUEUE))  # the next check would be in half a minute
        wait_until(lambda: any(self._spill.rglob("*")), "dead letters are moved to a file")
        wait_until(lambda: len(self._dead_letters(QUEUE)) < 4, "dead letters leave Redis")

    def _edit_and_replay(self) -> None:
        for name in (QUEUE, OTHER):
            dead_letter = self._dead_letters(name)[0]
            url = '{"properties": {"url": "https://example.com/edited"}}'
            self._command("dead", "edit", str(dead_letter.sequence), "--patch", url, "--destination", name)
            self._command("dead", "replay", "--dry-run", "--destination", name)
            self._command("dead", "replay", str(dead_letter.sequence), "--destination", name)
        self.pipeline.drain()

    def _start_ledger(self) -> None:
        """From now on a ledger takes what workers record, and removes the people who are erased."""
        self.pipeline.start_ledger()
        self._wait_for(keys.LEDGER)

    def _use_console(self) -> None:
        """Have identities shown, which is signed and recorded, and watch the live tail."""
        headers = {"Sec-Fetch-Site": "same-origin"}
        url = self.console_url = self.pipeline.start_console()
        assert self.pipeline.http.post(f"{url}/reveal", data={"to": "/"}, headers=headers).status_code == 303
        wait_until(self._is_copied, "ingest and a worker copy what passes")

    def _is_copied(self) -> bool:
        """Look at the live tail, and send an event; return whether it was copied."""
        assert self.pipeline.http.get(f"{self.console_url}/live").status_code == 200
        self.pipeline.send([{"type": "track", "event": "watched", "userId": "new"}])
        return self.client.exists(keys.TAP_INGEST.name, keys.TAP_WORKERS.name) == 2

    def _erase(self) -> None:
        """Erase a person with many waiting events."""
        self.pipeline.workers[0].terminate()
        self.pipeline.workers.pop(0).wait()
        self.pipeline.send([{"type": "track", "event": f"e{n}", "userId": "hot"} for n in range(HOT_LENGTH)])
        self._command("forget", "--user-id", "hot", "--destination", QUEUE)
        self._lose_a_record()
        self._command("lanes", "configure", "--apply", SEGUE_QUEUE_LIMIT="5000")
        self._command("lanes", "configure", "--apply")
        self.pipeline.start_worker()

    def _lose_a_record(self) -> None:
        """Delete the record of a ready event, which the next claim sets aside. Segue itself never does that."""
        self.pipeline.send([{"type": "track", "event": "lost", "userId": "lost"}])
        self.client.hdel(keys.EVENT.of(QUEUE), self.client.get(keys.SEQ.of(QUEUE)))

    def _request_privacy(self) -> None:
        """A deletion request of Segment, and a suppression by an operator."""
        deletion = {"type": "delete", "userId": "new", "messageId": "deletes new"}
        self.pipeline.send([deletion])
        self._command("forget", "--user-id", "refused 5", "--suppress", "--destination", QUEUE)
        self._command("unsuppress", "--user-id", "refused 5", "--destination", QUEUE)
        wait_until(self._erasures_are_done, "the erasures are done")
        self.pipeline.drain()
        self._wait_for(keys.AOF_REWRITE_DONE)

    def _move(self) -> None:
        """Move the queue of a destination that is not configured any more."""
        event = {"type": "track", "event": "moved", "userId": "new", "messageId": "moved"}
        lanes.append(queue_of(self.client, "gone"), [lanes.NewEvent(pack("demo", event), ("id:new",), "demo:moved")])
        self._command("lanes", "move", "gone", OTHER)
        self.pipeline.drain()

    def _erasures_are_done(self) -> bool:
        history = receipts.history(queue_in(self.client, QUEUE))
        return len(history) == 3 and all(receipt.state == "done" for receipt in history)

    def _dead_letters(self, name: str) -> list[DeadLetter]:
        return list(query.matching(queue_in(self.client, name), Filter()))

    def _wait_for(self, key: Key, queue: str = QUEUE) -> None:
        name = key.of(queue) if key.name.startswith(":") else key.name
        wait_until(lambda: bool(self.client.exists(name)), f"{name} exists")

    def _command(self, *arguments: str, **variables: str) -> None:
        done = segue(*arguments, environment=self._environment | variables)
        assert done.returncode == 0, done.stderr


def test_every_key_of_a_run_has_its_entry_and_every_entry_its_key(redis_server: RedisServer, tmp_path: Path) -> None:
    with watching(redis_server.url) as watch:
        scenario = Scenario(redis_server, tmp_path)
        with scenario.pipeline:
            scenario.run()
            # Celery returns messages that were not acknowledged every ten seconds.
            wait_until(lambda: was_seen(keys.CELERY_UNACKED_MUTEX, watch.seen), "Celery looked for lost messages")
        with redis.Redis.from_url(redis_server.url) as client:
            at_the_end = scanned(client)

    assert at_the_end <= watch.alive, "notifications describe keys as Redis does"
    assert differences(watch.seen, keys.REGISTRY) == []


EVENT = Seen(keys.EVENT.of(QUEUE), "hash", has_ttl=False)
WAKEUP = Seen(keys.WAKEUP.of(QUEUE), "string", has_ttl=True)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([EVENT, WAKEUP], []),
        ([EVENT, WAKEUP, Seen("segue:{demo}:new", "set", has_ttl=False)], ["segue:{demo}:new: has [] as its entries"]),
        ([EVENT._replace(type="list"), WAKEUP], ["segue:{demo}:event: is a list, and its entry says hash"]),
        (
            [EVENT._replace(has_ttl=True), WAKEUP],
            [f"segue:{{demo}}:event: has a TTL, and its entry says {keys.EVENT.lifetime!r}"],
        ),
        (
            [EVENT, WAKEUP._replace(has_ttl=False)],
            [f"segue:{{demo}}:wakeup: has no TTL, and its entry says {keys.WAKEUP.lifetime!r}"],
        ),
        ([EVENT], [":wakeup: was not seen"]),
    ],
    ids=["none", "unknown key", "wrong type", "unexpected TTL", "no TTL", "unseen entry"],
)
def test_every_difference_from_the_registry_is_found(seen: list[Seen], expected: list[str]) -> None:
    assert differences(seen, [keys.EVENT, keys.WAKEUP]) == expected


def test_a_key_with_two_entries_is_a_difference() -> None:
    (difference,) = differences([EVENT], [keys.EVENT, replace(keys.EVENT, meaning="another")])

    assert difference == "segue:{demo}:event: has [':event', ':event'] as its entries"


def test_a_key_that_is_created_again_without_a_ttl_is_seen_without_one() -> None:
    watch = Watch()
    for command in ("set", "expire", "del", "set"):
        watch.report(WAKEUP.name, command)

    assert watch.seen == {WAKEUP, WAKEUP._replace(has_ttl=False)}
