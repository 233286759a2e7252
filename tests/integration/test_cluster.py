"""A Redis Cluster: each queue is on the server of its slot, and a server that is unavailable stops no other queue."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from prometheus_client import generate_latest
from typer.testing import CliRunner

import lanes
from console import cli
from console.checking import redis_findings, redis_summary
from console.exporter.collector import QueueCollector
from console.session import Session
from ingest.acceptance import Configuration
from lanes import keys
from lanes.cluster import key_slot, servers
from lanes.server.connect import connect, connect_async
from lanes.taps import streams
from lanes.taps.tap import Tap
from mapping.envelope import pack
from privacy import erasure
from settings import Settings
from tests.ha.load import HaPipeline
from tests.ha.nodes import ClusterNode, ClusterSet
from tests.pipeline import configuration, wait_until

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
EVENT = lanes.NewEvent(b"x", ("id:1",), "m1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSet]:
    """Three primaries, none of which has a replica."""
    with ClusterSet(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def client(cluster: ClusterSet) -> Iterator[redis.Redis]:
    """A client of the empty cluster."""
    for node in cluster.nodes:
        node.client.flushall()
        node.client.script_flush()
    with connect(cluster.url, socket_timeout=5) as connected:
        yield connected


def opened(client: redis.Redis, name: str) -> lanes.Queue:
    return lanes.open_queue(lanes.Queue(client=client, name=name))


def test_each_queue_is_on_the_server_of_its_slot(cluster: ClusterSet, client: redis.Redis) -> None:
    for name, node in zip(cluster.names(), cluster.primaries, strict=True):
        queue = opened(client, name)
        lanes.append(queue, [EVENT])
        claim = lanes.claim(queue, lease_ms=1000, max_events=9, max_bytes=10**6, max_depth=0, poll_ms=0)
        lanes.settle(queue, claim.id, delivered=[event.sequence for event in claim.events])

        assert lanes.stats(queue).delivered_total == 1
        assert all(key.startswith(keys.base(name).encode()) for key in node.client.scan_iter())

    assert lanes.stranded(client, ()) == []
    lanes.append(opened(client, cluster.names()[1]), [lanes.NewEvent(b"x", ("id:1",), "m2")])
    assert [(queue.name, queue.waiting) for queue in lanes.stranded(client, ())] == [(cluster.names()[1], 1)]


def test_copies_of_a_live_tail_are_written_and_read_wherever_their_keys_are(
    cluster: ClusterSet, client: redis.Redis
) -> None:
    streams.watch(client, 1)
    worker, ingest = Tap(), Tap()

    async def follow_ingest() -> None:
        async with connect_async(cluster.url) as other:
            await streams.follow_async(ingest, other)
            ingest.add({"by": "ingest"})
            await streams.follow_async(ingest, other)

    streams.follow(worker, client)
    worker.add({"by": "worker"})
    streams.follow(worker, client)
    asyncio.run(follow_ingest())

    found = [stored.copy.facts["by"] for stream in streams.STREAMS for stored in streams.read(client, stream)]
    assert found == ["ingest", "worker"]
    streams.clear(client)
    assert not any(streams.read(client, stream) for stream in streams.STREAMS)


def test_every_server_is_checked(cluster: ClusterSet, client: redis.Redis) -> None:
    bad = cluster.primaries[2]
    bad.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        faults = [finding.text for finding in redis_findings(client, cluster.url_of(bad)) if finding.is_fault]
    finally:
        bad.client.config_set("maxmemory-policy", "noeviction")

    broker, evicting = faults
    assert broker.startswith("SEGUE_BROKER_URL: this is a node of a Redis Cluster")
    assert evicting.startswith(f"127.0.0.1:{bad.port}: maxmemory-policy is allkeys-lru")
    assert len(list(redis_summary(client))) == 3
    assert erasure.rewrite_history(client) == "requested"


def test_a_url_of_one_node_is_refused(cluster: ClusterSet) -> None:
    for node in cluster.nodes:
        with (
            connect(cluster.url_of(node)) as plain,
            pytest.raises(lanes.UnsuitableServer, match="this is a node of a Redis Cluster: REDIS_URL must name"),
        ):
            opened(plain, cluster.names()[0])


def test_a_redis_that_is_no_cluster_is_named(cluster: ClusterSet) -> None:
    url = cluster.broker_url.replace("redis://", "redis+cluster://").removesuffix("/0")
    with connect(url) as plain:
        assert [finding.text for finding in redis_findings(plain)] == [
            "cannot be used: Redis refuses a command: This instance has cluster support disabled"
        ]


def test_the_documented_user_may_use_every_node(cluster: ClusterSet) -> None:
    (rule,) = re.findall(r"^ +user carrier (.+)$", SECURITY.read_text(), re.MULTILINE)
    rights = ["carrier", "reset", *rule.replace("PASSWORD", "p4ss").split()]
    for node in cluster.nodes:
        node.client.execute_command("ACL SETUSER", *rights)
    with connect(cluster.url.replace("://", "://carrier:p4ss@")) as of_user:
        (fault,) = [finding.text for finding in redis_findings(of_user) if finding.is_fault]
        assert fault.endswith("User carrier has no permissions to run the 'cluster|slots' command")
        for node in cluster.nodes:
            node.client.execute_command("ACL SETUSER", *rights, "+cluster|slots")

        assert not [finding.text for finding in redis_findings(of_user) if finding.is_fault]
        lanes.append(opened(of_user, cluster.names()[2]), [EVENT])
    for node in cluster.nodes:
        node.client.execute_command("ACL DELUSER", "carrier")


def move_slot(slot: int, source: ClusterNode, target: ClusterNode) -> Iterator[str]:
    """Move a slot key by key; yield when half of its keys are moved, and when all are."""
    target.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
    source.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
    names = sorted(source.client.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000))
    for part, stage in ((names[::2], "half"), (names[1::2], "whole")):
        source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *part)
        if stage == "whole":
            for node in (target, source):
                node.client.execute_command("CLUSTER SETSLOT", slot, "NODE", target.id)
        yield stage


def test_a_queue_whose_slot_moves_is_unavailable_and_whole_after_it(cluster: ClusterSet, client: redis.Redis) -> None:
    name, source, target = cluster.names()[0], *cluster.primaries[:2]
    queue, slot = opened(client, name), key_slot(keys.base(name).encode())
    lanes.append(queue, [EVENT])
    moving = move_slot(slot, source, target)
    try:
        next(moving)
        with pytest.raises(redis.ConnectionError, match="does not have the whole slot"):
            lanes.append(queue, [lanes.NewEvent(b"y", ("id:1",), "m2")])
        next(moving)

        accepted = lanes.append(queue, [EVENT, lanes.NewEvent(b"y", ("id:1",), "m2")]).results

        assert accepted == ("duplicates", "accepted")
        assert queue.client.info("server")["tcp_port"] == target.port
    finally:
        list(moving)
        list(move_slot(slot, target, source))


def status_of(pipeline: HaPipeline) -> dict[str, int]:
    """Return the number of delivered events of each destination, as `segue status` tells it."""
    command = [sys.executable, "-m", "console.cli", "status", "--json"]
    done = subprocess.run(command, env=pipeline.environment, capture_output=True, text=True, check=True, timeout=60)
    return {row["name"]: row["delivered_total"] for row in json.loads(done.stdout)["destinations"]}


@pytest.mark.usefixtures("client")
def test_the_status_names_what_an_unavailable_node_has_and_shows_the_rest(
    cluster: ClusterSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "segue.toml"
    file.write_text("".join(map(configuration, cluster.names())))
    for name, value in {"REDIS_URL": cluster.url, "SEGUE_BROKER_URL": cluster.broker_url, "SEGUE_CONFIG": file}.items():
        monkeypatch.setenv(name, str(value))
    for name in cluster.names():
        event = {"type": "track", "event": "e", "userId": "1", "messageId": "m1"}
        lanes.append(Session.join().new_queue(name), [lanes.NewEvent(pack("s", event), ("id:1",), "m1")])
    command, runner = cli.app, CliRunner(env={"COLUMNS": "400"})
    for away, node in zip(cluster.names(), cluster.primaries, strict=True):
        node.kill()
        try:
            as_json, screen = runner.invoke(command, ["status", "--json"]), runner.invoke(command, ["status"])
            for name in cluster.names():
                for words in (["lanes", "show", "id:1"], ["lanes", "list"], ["dead", "list"], ["audit"]):
                    done = runner.invoke(command, [*words, "--destination", name])
                    assert (done.exit_code == 0) == (name != away), (words, done.exception)
        finally:
            node.start()

        found = json.loads(as_json.stdout)
        assert (as_json.exit_code, screen.exit_code) == (1, 1)
        assert [(row["name"], row["waiting"]) for row in found["destinations"]] == [
            (name, 1) for name in cluster.names() if name != away
        ]
        assert f"destination {away}" in {each["part"] for each in found["unavailable"]}
        assert {each["reason"].partition(":")[0] for each in found["unavailable"]} == {"Redis is unavailable"}
        (line,) = (line for line in screen.stdout.splitlines() if line.startswith("warning: "))
        assert f"destination {away}" in line
        assert str(node.port) in line
        wait_until(lambda: not runner.invoke(command, ["status"]).exit_code, "the status is whole again")


def scraped(client: redis.Redis, names: list[str]) -> str:
    """Return what `segue metrics` serves."""
    document = tomllib.loads("".join(map(configuration, names)))
    return generate_latest(QueueCollector(client, Settings(), Configuration.of(document))).decode()


def post(pipeline: HaPipeline, name: str, number: int) -> int:
    event = {"type": "track", "event": "e", "userId": f"{name}-{number}", "messageId": f"{name}-{number}"}
    return pipeline.http.post(f"{pipeline.ingest_url}/v1/track", json=event, auth=(name, "")).status_code


@pytest.mark.usefixtures("client")
def test_a_server_that_is_unavailable_stops_no_other_destination(cluster: ClusterSet) -> None:
    away, *others = cluster.names()
    with HaPipeline(cluster.url, cluster.names(), workers=0, SEGUE_BROKER_URL=cluster.broker_url) as pipeline:
        assert [post(pipeline, name, 1) for name in cluster.names()] == [200] * 3
        cluster.primaries[0].kill()
        try:
            pipeline.start_worker()  # also one that starts meanwhile delivers
            wait_until(lambda: {person["id"] for person in pipeline.people()} == {f"{name}-1" for name in others}, "2")
            wait_until(lambda: post(pipeline, away, 2) == 429, "events of the server that is unavailable are refused")
            assert [post(pipeline, name, 2) for name in others] == [200] * 2
            assert pipeline.http.get(f"{pipeline.ingest_url}/ready").status_code == 200
            wait_until(lambda: len(pipeline.people()) == 4, "the others are delivered")
            with connect(cluster.url, socket_timeout=5) as client:
                figures = scraped(client, cluster.names())
            assert "segue_redis_up 0.0" in figures
            assert f'segue_queue_limit_events{{destination="{away}"}}' not in figures
            assert all(f'segue_queue_limit_events{{destination="{name}"}} 1e+06' in figures for name in others)
        finally:
            cluster.primaries[0].start()
        wait_until(lambda: post(pipeline, away, 2) == 200, "events are accepted again")
        pipeline.drain()
        assert status_of(pipeline) == dict.fromkeys(cluster.names(), 2)


def test_a_queue_follows_a_failover_and_waits_for_the_disk_of_the_replica(tmp_path: Path) -> None:
    async def append(url: str, number: int) -> lanes.Appended:
        client = connect_async(url, socket_timeout=5)
        queue = lanes.AsyncQueue(client=client, name="q", replicated_ms=2000)
        try:
            await lanes.open_queue_async(queue)
            return await lanes.append_async(queue, [lanes.NewEvent(b"x", ("id:1",), f"m{number}")])
        finally:
            await client.aclose()

    with ClusterSet(tmp_path, primaries=1, replicas=1) as cluster, connect(cluster.url) as client:
        queue = opened(client, "q")
        assert asyncio.run(append(cluster.url, 1)).results == ("accepted",)
        cluster.fail_over("q", cluster.ask_for_failover)
        wait_until(cluster.is_whole, "the old primary follows the new one")

        assert asyncio.run(append(cluster.url, 2)).results == ("accepted",)
        with pytest.raises(redis.ConnectionError, match="does not have the whole slot"):
            lanes.stats(queue)
        assert lanes.stats(queue).waiting == 2
        assert list(servers(client)) == [f"127.0.0.1:{cluster.replicas[0][0].port}"]
