"""Limits of connections: what a client leaves unfinished ends in time, and costs other clients nothing."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from ingest.app import Ingest
from ingest.serving import connections, limits, refused_connections
from ingest.serving.limits import MAX_HEAD_BYTES, Limits
from settings import Settings
from tests.conftest import RedisServer
from tests.logged import logged
from tests.pipeline import configuration, environment, free_port, wait_until
from tests.unit.ingest.endpoint import LIMITS, Connection, connection, ingest, served

HEAD = b"POST /v1/t HTTP/1.1\r\nHost: x\r\n"
OTHER_ADDRESS = "127.0.0.2"
SHORT_S = 0.2
GONE: list[bytes] = []  # the queries of requests to `/late` whose clients have gone


pytestmark = pytest.mark.usefixtures("redis_client")  # an earlier test may have left a queue with other settings


@pytest.fixture(autouse=True)
def _quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_SWEEP_S", 0.02)
    monkeypatch.setattr(refused_connections, "INTERVAL_S", 0.05)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Return the length of the body and of a query such as `?5000`; after `/late`, when the client has gone."""
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/late":
        await receive()
        GONE.append(scope["query_string"])
        return
    content = b"%d" % length + b"x" * int(scope["query_string"] or 0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(content))]})
    await send({"type": "http.response.body", "body": content})


def run(use: Callable[[int], Awaitable[None]], **changed: Any) -> None:
    """Serve `echo` with these limits and call `use` with its port."""

    async def in_time() -> None:
        async with asyncio.timeout(20), served(echo, limits=replace(LIMITS, **changed)) as port:
            await use(port)

    asyncio.run(in_time())


async def ended(client: Connection) -> bytes:
    """Return what the server still sends before it closes the connection."""
    try:
        return await client._reader.read()
    except ConnectionError:
        return b""


@contextlib.asynccontextmanager
async def many(port: int, count: int, data: bytes = b"") -> AsyncIterator[list[Connection]]:
    """Open connections that send the data and nothing else."""
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connection(port)) for _ in range(count)]
        for client in opened:
            await client.send(data)
        yield opened


async def flood(client: Connection, size: int) -> None:
    for _ in range(size // 100_000):
        await client.send(b"a" * 100_000)


async def is_served(port: int) -> bool:
    async with connection(port) as client:
        return (await client.request("POST", "/", b"body")).body == b"4"


@pytest.mark.parametrize("piece", [b"X-Filler: " + b"a" * 1000 + b"\r\n", b"a" * 1000])
def test_a_head_without_end_is_refused_with_431(piece: bytes) -> None:
    async def use(port: int) -> None:
        async with connection(port) as client:
            await client.send(HEAD + piece * (MAX_HEAD_BYTES // len(piece) + 20))
            reply = await client.reply()
            assert (reply.status, reply.json["code"]) == (431, "head_too_large")
            assert await ended(client) == b""

    run(use)


def test_a_head_below_the_limit_is_served() -> None:
    async def use(port: int) -> None:
        async with connection(port) as client:
            assert (await client.request("POST", "/", b"body", X_Filler="a" * 60_000)).status == 200
            assert (await client.request("POST", "/", b"body", X_Filler="a" * 60_000)).status == 200

    run(use)


def test_requests_that_are_sent_at_once_count_one_by_one() -> None:
    request = HEAD + b"X-Filler: " + b"a" * 20_000 + b"\r\nContent-Length: 4\r\n\r\nbody"

    async def use(port: int) -> None:
        async with connection(port) as client:
            await client.send(request * 20)
            assert [(await client.reply()).body for _ in range(20)] == [b"4"] * 20

    run(use)


@pytest.mark.parametrize(
    ("sent", "code"),
    [(HEAD, "head_timeout"), (HEAD + b"Content-Length: 5\r\n\r\nfour", "body_timeout"), (b"G", "head_timeout")],
)
def test_a_request_that_is_not_complete_in_time_is_refused_with_408(sent: bytes, code: str) -> None:
    async def use(port: int) -> None:
        async with connection(port) as client:
            await client.send(sent)
            reply = await client.reply()
            assert (reply.status, reply.json["code"], reply.headers["connection"]) == (408, code, "close")
            assert await ended(client) == b""

    run(use, head_s=SHORT_S, body_s=SHORT_S)


def test_bytes_that_trickle_in_do_not_move_the_deadline() -> None:
    async def use(port: int) -> None:
        async with connection(port) as client:
            reply = asyncio.create_task(client.reply())
            await client.send(HEAD)
            while not reply.done():
                with contextlib.suppress(ConnectionError):
                    await client.send(b"a")
                await asyncio.sleep(0.01)
            assert (await reply).status == 408

    run(use, head_s=SHORT_S)


@pytest.mark.parametrize("is_used", [False, True])
def test_an_idle_connection_is_closed_without_a_response(is_used: bool) -> None:
    async def use(port: int) -> None:
        async with connection(port) as client:
            if is_used:
                assert (await client.request("POST", "/")).status == 200
            assert await ended(client) == b""

    run(use, idle_s=SHORT_S)


def test_a_connection_with_a_response_under_way_is_not_idle() -> None:
    async def use(port: int) -> None:
        async with many(port, 1, b"POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") as [client]:
            reading = asyncio.create_task(ended(client))
            done, _ = await asyncio.wait([reading], timeout=3 * SHORT_S)
            reading.cancel()
            assert not done

    run(use, idle_s=SHORT_S, head_s=SHORT_S, body_s=SHORT_S)


def test_a_client_that_does_not_read_its_responses_is_cut_off() -> None:
    async def use(port: int) -> None:
        async with connection(port) as client:
            with contextlib.suppress(ConnectionError):
                for _ in range(10):
                    await client.send(b"GET /?5000000 HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while not client._writer.transport.is_closing():  # a client that has not read notices a reset only
                    await client.send(b"\r\n")
                    await asyncio.sleep(0.02)

    run(use, body_s=SHORT_S)


def test_what_exceeds_a_request_is_not_read_without_end() -> None:
    async def use(port: int) -> None:
        async with connection(port) as client:
            await client.send(HEAD + b"Content-Length: 100000000\r\n\r\n")
            with pytest.raises(ConnectionError):
                await flood(client, 99_000_000)

    run(use)


@pytest.mark.parametrize(
    "unfinished", [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\nbody", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_connections_that_wait_give_way_to_new_ones(unfinished: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_SLOW_S", 0.0)

    async def use(port: int) -> None:
        async with many(port, 10, unfinished) as opened:
            for _ in range(5):
                assert await is_served(port)
            await ended(opened[0])  # the one that has waited longest

    run(use, connections=10)


def test_a_connection_that_is_being_served_does_not_give_way() -> None:
    late = b"POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

    async def use(port: int) -> None:
        async with many(port, 2, late), connection(port) as client:
            reply = await client.reply()
            assert (reply.status, reply.json["code"], reply.headers["retry-after"]) == (
                503,
                "too_many_connections",
                "5",
            )

    run(use, connections=2)


def test_one_address_has_a_share_of_the_connections_and_a_proxy_all() -> None:
    async def use(port: int) -> None:
        async with many(port, 3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(OTHER_ADDRESS, 0))
            other = Connection(reader, writer)
            assert (await other.request("POST", "/", b"body")).status == 200
            reader, second = await asyncio.open_connection("127.0.0.1", port, local_addr=(OTHER_ADDRESS, 0))
            assert (await Connection(reader, second).reply()).json["code"] == "too_many_connections"
            writer.close()
            second.close()

    run(use, connections_per_address=1, proxies=limits._networks("127.0.0.1"))


def test_an_address_counts_its_open_connections_only() -> None:
    async def use(port: int) -> None:
        for _ in range(20):
            assert await is_served(port)

    run(use, connections_per_address=2)


def test_requests_that_are_sent_at_once_have_a_limit_that_ends_with_them() -> None:
    async def use(port: int) -> None:
        for _ in range(3):
            async with many(port, 1, b"GET / HTTP/1.1\r\n\r\n" * 5000) as [client]:
                assert 100 < (await ended(client)).count(b"HTTP/1.1 200") < 5000
            async with many(port, 1, b"GET / HTTP/1.1\r\n\r\n" * 50) as [client]:
                assert [(await client.reply()).status for _ in range(50)] == [200] * 50

    run(use, queued_requests=100)


def test_a_request_learns_that_its_client_has_gone_also_when_others_wait_behind_it() -> None:
    async def use(port: int) -> None:
        async with many(port, 1, b"GET /late?1 HTTP/1.1\r\n\r\nGET /late?2 HTTP/1.1\r\n\r\n"):
            pass
        while b"1" not in GONE:
            await asyncio.sleep(0.01)

    GONE.clear()
    run(use)


def test_unfinished_requests_have_a_limit_of_bytes_and_the_oldest_gives_way() -> None:
    body = HEAD + b"Content-Length: 100001\r\n\r\n" + b"a" * 100_000

    async def use(port: int) -> None:
        async with many(port, 1, body) as [oldest], many(port, 4, body):
            assert (await oldest.reply()).json["code"] == "too_many_unfinished"
            assert await is_served(port)

    run(use, unfinished_bytes=450_000)


def test_completed_requests_are_not_counted_as_unfinished() -> None:
    async def use(port: int) -> None:
        async with connection(port) as client:
            for _ in range(20):
                assert (await client.request("POST", "/", b"a" * 100_000)).body == b"100000"

    run(use, unfinished_bytes=150_000)


def test_an_invalid_request_behind_a_valid_one_does_not_take_its_response() -> None:
    async def use(port: int) -> None:
        async with connection(port) as client:
            await client.send(HEAD + b"Content-Length: 4\r\n\r\nbodyno HTTP\r\n\r\n")
            assert (await client.reply()).body == b"4"
            assert await ended(client) == b""

    run(use)


def test_an_invalid_request_gets_the_documented_body() -> None:
    async def use(port: int) -> None:
        async with connection(port) as client:
            await client.send(b"no HTTP\r\n\r\n")
            reply = await client.reply()
            assert (reply.status, reply.headers["content-type"]) == (400, "application/json")
            assert reply.json["code"] == "invalid_request"
            assert reply.json["message"].startswith("the request is not valid HTTP/1.1: ")

    run(use)


def test_many_refusals_are_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def use(port: int) -> None:
        async with many(port, 30, b"no HTTP\r\n\r\n") as opened:
            for client in opened:
                await ended(client)
        while not logged(caplog, "connections_refused"):
            await asyncio.sleep(0.01)

    run(use)

    lines = logged(caplog, "connections_refused")
    counts = [re.fullmatch(r"(\d+) invalid_request", line["causes"]) for line in lines]
    assert sum(int(count[1]) for count in counts if count) == 30
    assert len(counts) < 30
    assert {line["network"] for line in lines} == {"127.0.0.0/24"}, "an address alone is personal data"


def test_no_refusal_is_logged_before_the_interval_is_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused_connections, "INTERVAL_S", 3600)

    async def refuse() -> None:
        refused = refused_connections.RefusedConnections()
        for _ in range(3):
            refused.add("invalid_request", "127.0.0.1")
            await asyncio.sleep(0)
        assert logged(caplog) == []
        refused.write()

    asyncio.run(refuse())

    (line,) = logged(caplog)
    assert (line["causes"], line["network"], line["of_network"]) == ("3 invalid_request", "127.0.0.0/24", 3)


def test_checks_of_readiness_share_one_connection_to_redis(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    def opened() -> int:
        return int(redis_client.info("stats")["total_connections_received"])

    async def run() -> None:
        app = Ingest(Settings(REDIS_URL=redis_server.url))
        async with asyncio.timeout(20), served(app, "on") as port, many(port, 100) as clients:
            before = opened()
            statuses = await asyncio.gather(*(client.request("GET", "/ready") for client in clients))
            assert {reply.status for reply in statuses} == {200}
            assert opened() - before < 10

    asyncio.run(run())


def test_a_document_that_names_the_host_of_the_request_is_not_for_caches(redis_server: RedisServer) -> None:
    async def headers(**settings: Any) -> dict[str, str]:
        async with ingest(redis_server.url, **settings) as client:
            return (await client.request("GET", "/v1/projects/demo/settings")).headers

    named = asyncio.run(headers())
    stated = asyncio.run(headers(public_url="https://events.example.com"))

    assert (named["cache-control"], named["vary"]) == ("no-store", "host, x-forwarded-proto")
    assert not {"cache-control", "vary"} & stated.keys()


def test_the_open_files_bound_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "open_files", lambda: 256)

    found = Limits.of(Settings(max_connections=1000))

    assert (found.connections, found.connections_per_address) == (192, 96)
    assert found.summary() == (
        "at most 192 connections in each process, 96 from one address; 256 open files are allowed"
    )


@pytest.mark.parametrize(
    ("first", "second", "are_one"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:f::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
    ],
)
def test_an_ipv6_client_is_counted_by_its_network(first: str, second: str, are_one: bool) -> None:
    assert (connections._network(first) == connections._network(second)) is are_one


def test_proxies_are_addresses_and_networks() -> None:
    found = replace(LIMITS, proxies=limits._networks("127.0.0.1,10.0.0.0/8,fd00::/8"))

    assert all(map(found.is_proxy, ("127.0.0.1", "::ffff:127.0.0.1", "10.1.2.3", "fd00::1")))
    assert not any(map(found.is_proxy, ("11.0.0.1", "::ffff:11.0.0.1", "fe00::1", "")))
    assert replace(LIMITS, proxies=limits._networks("*")).is_proxy("198.51.100.1")


# With real processes


@contextlib.contextmanager
def endpoint(
    redis_server: RedisServer, directory: Path, *options: str, files: int = 1024
) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """Run `segue ingest`; yield its process, its port and the file with its output."""
    config = directory / "segue.toml"
    config.write_text(configuration())
    port, log = free_port(), directory / "log"
    variables = environment(redis_server.url, "http://127.0.0.1:9", config, SEGUE_INGEST_PORT=str(port))
    command = f'ulimit -n {files}; exec "$0" -m console.cli ingest "$@"'
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", command, sys.executable, *options],
            env=os.environ | variables,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until(lambda: is_ready(port) or process.poll() is not None, "ingest is ready")
        assert process.poll() is None
        yield process, port, log
    except BaseException as error:
        error.add_note(log.read_text())
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def status(port: int, method: str, path: str, body: bytes = b"") -> int:
    """Send a request over a connection of its own; return the status of the response."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(client):
        client.request(method, path, body)
        return client.getresponse().status


def is_ready(port: int) -> bool:
    try:
        return status(port, "GET", "/ready") == 200
    except (OSError, http.client.HTTPException):
        return False


def send(port: int, message_id: str) -> int:
    event = {"event": "Bought", "userId": "1", "writeKey": "demo", "messageId": message_id}
    return status(port, "POST", "/v1/t", orjson.dumps(event))


def test_idle_connections_beyond_the_open_files_lock_no_client_out(redis_server: RedisServer, tmp_path: Path) -> None:
    with endpoint(redis_server, tmp_path, files=256) as (_, port, log), contextlib.ExitStack() as opened:
        assert "at most 192 connections" in log.read_text()
        for _ in range(400):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))

        assert [send(port, f"m{number}") for number in range(50)] == [200] * 50


def test_several_processes_share_the_port_and_one_that_is_killed_is_replaced(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with endpoint(redis_server, tmp_path, "--processes", "2") as (process, port, _):
        wait_until(lambda: len(servers(process.pid)) == 2, "two processes serve")
        killed = servers(process.pid)[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in servers(process.pid) and len(servers(process.pid)) == 2, "it is replaced")
        assert [send(port, f"p{number}") for number in range(20)] == [200] * 20


@pytest.mark.parametrize("processes", [1, 2])
def test_an_endpoint_is_not_ready_for_a_moment_before_it_closes_its_port(
    redis_server: RedisServer, tmp_path: Path, processes: int
) -> None:
    with endpoint(redis_server, tmp_path, "--processes", str(processes)) as (process, port, _):
        wait_until(lambda: len(servers(process.pid)) == (0 if processes == 1 else processes), "all of them serve")

        process.send_signal(signal.SIGTERM)
        wait_until(lambda: status(port, "GET", "/ready") == 503, "it is not ready")
        assert (status(port, "GET", "/health"), send(port, "late")) == (200, 200)

        assert process.wait(20) == (-signal.SIGTERM if processes == 1 else 0)
        assert not is_ready(port)


def test_processes_end_when_their_supervisor_is_killed(redis_server: RedisServer, tmp_path: Path) -> None:
    with endpoint(redis_server, tmp_path, "--processes", "2") as (process, port, _):
        process.kill()
        process.wait()
        wait_until(lambda: not is_ready(port), "the port is free")
        socket.create_server(("127.0.0.1", port)).close()


def servers(pid: int) -> list[int]:
    """Return the processes that serve: the children of the supervisor but multiprocessing's tracker of resources."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, line in lines.items() if b"spawn_main" in line]
