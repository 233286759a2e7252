"""A console over a real Redis, and a browser without scripts."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import Any, Final

import httpx
import orjson
import redis

import lanes
from console.session import Session
from console.web import app, tokens
from console.web.access import ROLES, Role
from console.web.state import State
from delivery import log as delivery_log
from delivery.batching import Item, Request
from delivery.outcomes import Delivered, Outcome, Rejected, Response
from lanes import fates, keys
from lanes.taps import streams
from lanes.taps.tap import Tap
from mapping.envelope import pack
from mapping.operation import BATCH_PATH
from settings import Settings
from tests.queues import default_queue
from workers import heartbeat

HOST: Final = "127.0.0.1:8081"
ADDRESS: Final = "ada.lovelace@example.com"  # of the one person whose data is everywhere
ID: Final = "customer-20151210"
DIGEST: Final = lanes.digest(f"email:{ADDRESS}").hex()
HOSTILE: Final = (
    "<img src=x onerror=alert(1)>",
    "[/x]{{ 7*7 }}{% raw %}",
    "\x1b]0;title\x07",
    "\u202etxt.exe",
    "'\"><script>alert(1)</script>",
)
tokens._COST["n"] = 16  # a hash takes a millisecond, not fifty
_REQUESTS: Final = orjson.dumps([{"type": "person", "identifiers": {"email": ADDRESS}, "attributes": {"id": ID}}])
_MOMENTS: Final = count(int(time.time() * 1000) - 60_000)
_TOKENS: Final = {role: tokens.make(role) for role in ROLES}


def settings(url: str, **values: Any) -> Settings:
    """Return the settings of a console with a token for each role."""
    entries = " ".join(entry for _, entry in _TOKENS.values())
    return Settings(REDIS_URL=url, **({"console_auth": "tokens", "console_tokens": entries} | values))


class Browser:
    """A browser in which a user of this role has signed in; None: no user has."""

    def __init__(self, state: State, role: Role | None = None, name: str = "Grace") -> None:
        self.app = app.create(state)
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        if role is not None:
            answer = self.post("/sign-in", name=name, token=_TOKENS[role][0])
            assert answer.status_code == 303, answer.text

    def get(self, path: str, accept: str = "text/html", **headers: str) -> httpx.Response:
        """Return the response to a GET."""
        return self._send("GET", path, {"Accept": accept, **headers}, None)

    def json(self, path: str) -> Any:
        """Return the JSON of a page."""
        answer = self.get(path, "application/json")
        assert answer.status_code == 200, answer.text
        return orjson.loads(answer.content)

    def post(self, path: str, *, headers: dict[str, str] | None = None, **form: Any) -> httpx.Response:
        """Return the response to a POST of a form of the console itself."""
        own = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
        return self._send("POST", path, own if headers is None else headers, form)

    def upload(self, path: str, content: bytes, **form: str) -> httpx.Response:
        """Return the response to a POST of a form with a file."""
        own = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
        return self._send("POST", path, own, form, {"file": ("dead.jsonl", content)})

    def follow(self, answer: httpx.Response) -> httpx.Response:
        """Return the page to which a POST leads."""
        assert answer.status_code == 303, answer.text
        return self.get(answer.headers["location"])

    def reveal(self) -> None:
        """Have identities and contents shown."""
        assert self.post("/reveal", to="/").status_code == 303

    def _send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        form: dict[str, Any] | None,
        files: dict[str, tuple[str, bytes]] | None = None,
    ) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 5000))
            base = f"http://{HOST}"
            async with httpx.AsyncClient(transport=transport, base_url=base, cookies=self.cookies) as client:
                return await client.request(method, path, headers=self.headers | headers, data=form, files=files)

        answer = asyncio.run(send())
        for line in answer.headers.get_list("set-cookie"):
            name, value = line.partition(";")[0].split("=", 1)
            self.cookies.pop(name, None)
            if "Max-Age=0" not in line:
                self.cookies[name] = value
        return answer


def state_of(url: str, **values: Any) -> State:
    """Return the state of a console with the default configuration."""
    return State(Session(settings(url, **values), {}))


def event(number: int, **members: Any) -> dict[str, Any]:
    """Return an event of the person."""
    return {
        "type": "track",
        "event": "Order Placed",
        "userId": ADDRESS,
        "messageId": f"of {ADDRESS} {number}",
        "timestamp": "2026-01-05T12:00:00.000Z",
        "properties": {"email": ADDRESS, "customer": ID, ADDRESS: 1, "total": 99.5},
        **members,
    }


def failure(message: str, reason: str = "rejected") -> bytes:
    """Return the failure of a dead letter, which has data of the person in every place."""
    request = {"type": "person", "action": "event", "identifiers": {"email": ADDRESS}, "attributes": {"id": ID}}
    fault = {
        "subscription": "Track Event",
        "action": "trackEvent",
        "message": message,
        "payload": {"email": ADDRESS},
        "path": "/api/v2/entity",
        "request": request,
        "response": {"status": 207, "body": f'{{"errors": ["{ADDRESS}"]}}', "batch_index": 0},
    }
    now_ms = int(time.time() * 1000)
    return orjson.dumps(
        {
            "class": reason,
            "message": message,
            "faults": [fault],
            "accepted": [_request(fault)],
            "unsent": [_request(fault)],
            "attempts": [{"at_ms": now_ms, "worker": "w1@host", "reason": f"HTTP 400: {ADDRESS}"}],
            "keys": [f"email:{ADDRESS}"],
            "buried_at_ms": now_ms,
            "worker": "w1@host",
            "configuration": "abc",
            "original": event(0),
        }
    )


def _request(fault: dict[str, Any]) -> dict[str, Any]:
    return {name: fault[name] for name in ("subscription", "action", "path", "request", "payload")}


def bury(client: redis.Redis, event: dict[str, Any], failed: bytes, source: str = "demo") -> int:
    """Add a dead letter of the person; return its sequence."""
    queue = default_queue(client, "demo")
    keys_of = (f"email:{ADDRESS}",)
    lanes.import_dead_letters(
        queue, [lanes.ImportedDeadLetter(None, 1_700_000_000_000, keys_of, pack(source, event), failed)]
    )
    return lanes.count_dead_letters(queue)[1]


def fill(client: redis.Redis) -> lanes.Queue:
    """Have one person with data everywhere: waiting events behind a blocking dead letter, other dead letters, and
    requests in the delivery log."""
    queue = default_queue(client, "demo")
    heartbeat.send(client)
    counted = fates.name("accepted", "demo")
    for number in range(3):
        body = pack("demo", event(number))
        lanes.append(queue, [lanes.NewEvent(body, (f"email:{ADDRESS}",), f"m{number}", counted_as=counted)])
    claim = lanes.claim(queue, lease_ms=1000, max_events=1, max_bytes=10**6, max_depth=0, poll_ms=0)
    log_sent(queue, claim)
    refused = failure(f"attributes.email: '{ADDRESS}' of {ID} is no address")
    lanes.settle(queue, claim.id, buried=[lanes.Burial(claim.events[0].sequence, refused, blocks=True)])
    bury(client, event(8), failure(f"{ADDRESS} cannot be read", "invalid"))
    client.hincrby(keys.SOURCES.name, "demo:accepted", 3)
    copy(client, event(20), "accepted")
    copy(client, event(20), "sent", items=True)
    copy(client, event(21), "dead", text=f"{ADDRESS} of {ID} is no address", sequence=21, items=True)
    copy(client, event(22), "refused", text=f"userId: must not be '{ADDRESS}'", sequence=None)
    return queue


def copy(
    client: redis.Redis,
    event: dict[str, Any],
    fate: str,
    *,
    text: str | None = None,
    sequence: int | None = 20,
    items: bool = False,
    source: str = "demo",
    reason: str = "",
) -> None:
    """Have a live tail show an event with this fate: of a worker if it has `items`, else of ingest."""
    tap = Tap()
    tap.watch(1)
    streams.watch(client, 1)
    facts: dict[str, Any] = {"at_ms": next(_MOMENTS), "sequence": sequence}
    facts["destination"] = None if sequence is None else "demo"
    facts |= {"fate": fate, "source": source, "reason": reason, "text": text}
    if items:
        sent = {"action": "trackEvent", "path": "/api/v2/entity", "outcome": "delivered", "reason": text}
        facts |= {"worker": "w1@host", "accepted_ms": facts["at_ms"], "items": [{**sent, "unapplied": None}]}
    tap.add(facts, orjson.dumps(event) if fate == "refused" else pack(source, event), _REQUESTS if items else b"")
    if items:
        streams.follow(tap, client)
    else:
        asyncio.run(_follow_async(tap, client))


async def _follow_async(tap: Tap, client: redis.Redis) -> None:
    options = client.connection_pool.connection_kwargs
    async with redis.asyncio.Redis(host=options["host"], port=options["port"], db=options["db"]) as other:
        await streams.follow_async(tap, other)


def log_sent(queue: lanes.Queue, claim: lanes.Claim) -> None:
    """Write an accepted and a refused request to the delivery log."""
    body = {"type": "person", "action": "event", "identifiers": {"email": ADDRESS, "id": ID}, "name": "Order Placed"}
    number = claim.events[0].sequence
    item = Item(number, 0, "trackEvent", "event", "/api/v2/entity", orjson.dumps(body), f"demo:of {ADDRESS}")
    outcomes: list[list[Outcome]] = [[Delivered()], [Rejected(f"{ADDRESS} is bad", Response(207, ""))]]
    for outcome in outcomes:
        recorder = delivery_log.Recorder(queue, claim, "w1@host")
        recorder.recording(lambda _request, outcome=outcome: outcome)(Request(BATCH_PATH, (item,)))
        recorder.write()
