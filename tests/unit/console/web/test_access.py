"""Who may use which route, which requests are refused before any route, and what a session is worth."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from contextlib import suppress
from typing import get_args

import httpx
import pytest
import redis
from starlette.requests import Request

from console.errors import CommandError
from console.web import app, cookies, tokens, users
from console.web import state as state_module
from console.web.access import CHANGES, ROLES, Permission, Role, User
from console.web.guard import HEADERS
from console.web.routes import ROUTES, Rule
from console.web.state import State
from tests.conftest import RedisServer
from tests.unit.console.web.browsing import HOST, Browser, fill, settings, state_of

# What each role may do, stated a second time: a new permission needs a decision here.
MAY: dict[Permission, tuple[Role, ...]] = {
    "look": ("viewer", "operator", "admin"),
    "find": ("viewer", "operator", "admin"),
    "reveal": ("operator", "admin"),
    "test": ("operator", "admin"),
    "pause": ("operator", "admin"),
    "rate": ("operator", "admin"),
    "replay": ("operator", "admin"),
    "skip": ("operator", "admin"),
    "edit": ("operator", "admin"),
    "export": ("operator", "admin"),
    "send": ("admin",),
    "purge": ("admin",),
    "import": ("admin",),
    "forget": ("admin",),
    "unsuppress": ("admin",),
}
PUBLIC = {
    ("GET", "/static/{name}"),
    ("GET", "/health"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("POST", "/sign-out"),
}
PARTS = {"name": "console.css", "destination": "demo", "sequence": "1", "id": "none", "digest": "0123456789abcdef"}


def address_of(rule: Rule) -> str:
    return re.sub(r"{(\w+)}", lambda match: PARTS[match[1]], rule.path)


def status_of(browser: Browser, rule: Rule) -> int:
    path = address_of(rule)
    answer = browser.get(path, "application/json") if rule.method == "GET" else browser.post(path)
    return answer.status_code


def test_every_permission_is_decided_for_every_role() -> None:
    assert {*MAY, "public"} == set(get_args(Permission))
    for permission, roles in MAY.items():
        assert tuple(role for role in ROLES if User("x", role).may(permission)) == roles


def test_only_these_routes_need_no_user() -> None:
    assert {(rule.method, rule.path) for rule in ROUTES if rule.permission == "public"} == PUBLIC
    assert all((rule.raw is not None) == (rule.permission == "public") for rule in ROUTES)


def test_every_route_that_changes_anything_is_a_post_with_a_permission() -> None:
    assert all(rule.method == "POST" for rule in ROUTES if rule.permission in CHANGES)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reaches_exactly_what_it_may(state: State, role: Role) -> None:
    browser = Browser(state, role)
    for rule in ROUTES:
        if rule.permission != "public":
            status = status_of(browser, rule)
            assert (status == 403) is (role not in MAY[rule.permission]), (rule.method, rule.path, status)
            assert status < 500, (rule.method, rule.path, status)


def test_without_a_user_every_route_but_the_public_ones_asks_to_sign_in(state: State) -> None:
    browser = Browser(state)
    for rule in ROUTES:
        if rule.permission != "public":
            answer = browser.get(address_of(rule)) if rule.method == "GET" else browser.post(address_of(rule))
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/sign-in"), (rule.method, rule.path)


def test_a_read_only_console_changes_nothing(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    fill(redis_client)
    browser = Browser(state_of(redis_server.url, console_read_only=True), "admin")
    for rule in ROUTES:
        if rule.permission != "public":
            assert (status_of(browser, rule) == 403) is (rule.permission in CHANGES), (rule.method, rule.path)


@pytest.mark.parametrize("path", ["/", "/health", "/static/console.css", "/nowhere", "/sign-in", "/dead/demo/99"])
def test_every_answer_has_the_policy(state: State, path: str) -> None:
    answer = Browser(state, "viewer").get(path)

    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8081",
        "",
        "127.0.0.1:80@evil.example",
        "localhost:80/evil",
        "[::1]evil.example",
        "[::1",
        "127.0.0.1:port",
        "localhost ",
    ],
)
def test_another_host_name_reaches_no_route(state: State, host: str) -> None:
    browser = Browser(state, "admin")
    for path in ("/", "/health", "/static/console.js", "/people"):
        assert browser.get(path, Host=host).status_code == 421
    own = {"Host": host, "Sec-Fetch-Site": "same-origin"}
    assert browser.post("/destinations/demo/pause", headers=own, why="x").status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:8081", "[::1]:8081", "10.1.2.3", "console.example.com"])
def test_an_address_localhost_and_configured_names_are_answered(
    redis_server: RedisServer, redis_client: redis.Redis, host: str
) -> None:
    redis_client.ping()
    state = state_of(redis_server.url, console_hosts="other.example, Console.example.com")

    assert Browser(state, "viewer").get("/about", Host=host).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://{HOST}.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{HOST}"},
        {"Origin": "http://[::1"},
        {"Origin": HOST},
    ],
)
def test_a_post_from_elsewhere_changes_nothing(state: State, headers: dict[str, str]) -> None:
    browser = Browser(state, "admin")

    answer = browser.post("/destinations/demo/pause", headers=headers, why="forged")

    assert answer.status_code == 403
    assert browser.json("/destinations/demo")["operator"]["pause"] is None


def test_a_post_with_the_own_origin_is_taken_from_a_browser_that_says_no_more(state: State) -> None:
    browser = Browser(state, "admin")

    answer = browser.post("/destinations/demo/pause", headers={"Origin": f"http://{HOST}"}, why="maintenance")

    assert answer.status_code == 303
    assert browser.json("/destinations/demo")["operator"]["pause"]["why"] == "maintenance"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_no_other_method_is_known(state: State, method: str) -> None:
    browser = Browser(state, "admin")

    assert browser._send(method, "/destinations/demo", {"Sec-Fetch-Site": "same-origin"}, None).status_code == 405


def test_a_wrong_token_begins_no_session(state: State) -> None:
    browser = Browser(state)
    token, _ = tokens.make("admin")

    for given in (token, "", "x" * 10_000):
        answer = browser.post("/sign-in", name="Eve", token=given)
        assert answer.status_code == 401
        assert not browser.cookies
        assert given == "" or given not in answer.text


def test_a_session_cannot_be_forged_prolonged_or_used_for_another_purpose(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(state, "viewer")
    session = browser.cookies[cookies.SESSION]
    payload, _, signature = session.partition(".")

    for forged in (f"{payload[:-4]}AAAA.{signature}", f"{payload}.", payload, "..", "\u00e9.x"):
        assert cookies.content_of(state.secret, cookies.SESSION, forged) is None
    assert cookies.content_of(state.secret, cookies.REVEAL, session) is None
    assert cookies.content_of(state.secret, cookies.SESSION, session) is not None
    later = time.time() + cookies.SESSION_S + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert cookies.content_of(state.secret, cookies.SESSION, session) is None


def test_a_session_ends_when_its_token_is_removed(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    redis_client.ping()
    browser = Browser(state_of(redis_server.url), "admin")
    _, other = tokens.make("admin")

    browser.app = Browser(state_of(redis_server.url, console_tokens=other)).app

    assert browser.get("/about").status_code == 303


def test_a_session_cookie_is_not_for_scripts_nor_for_other_sites(state: State) -> None:
    token, entry = tokens.make("viewer")
    state.session.settings.__dict__["console_tokens"] = entry
    answer = Browser(state).post("/sign-in", name="Grace", token=token)

    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}


def test_a_sign_in_leads_to_no_other_site(state: State) -> None:
    token, entry = tokens.make("viewer")
    state.session.settings.__dict__["console_tokens"] = entry
    for to in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\r\nX: y"):
        answer = Browser(state).post("/sign-in", name="Grace", token=token, to=to)
        assert answer.headers["location"] == "/"


def test_the_proxy_names_the_user_and_its_groups(redis_server: RedisServer, redis_client: redis.Redis) -> None:
    redis_client.ping()
    browser = Browser(state_of(redis_server.url, console_auth="proxy", trusted_proxies="127.0.0.1"))
    browser.headers = {"X-Forwarded-User": "grace", "X-Forwarded-Groups": "staff, segue-viewer,segue-operator"}

    assert browser.json("/about")["user"] == {"name": "grace", "role": "operator"}
    browser.headers["X-Forwarded-Groups"] = "staff,not-segue-admin,segue-admin-x"
    assert browser.get("/about").status_code == 303


@pytest.mark.parametrize(
    ("headers", "user"),
    [
        ([("user", "Jürgen"), ("groups", "segue-viewer")], ("Jürgen", "viewer")),
        ([("user", "a"), ("groups", "staff"), ("groups", "x, segue-operator")], ("a", "operator")),
        ([("user", "eve"), ("user", "grace"), ("groups", "segue-admin")], None),
    ],
    ids=["not ASCII", "groups in several lines", "two names"],
)
def test_the_headers_of_a_proxy_are_read_as_it_writes_them(
    redis_server: RedisServer, headers: list[tuple[str, str]], user: tuple[str, Role] | None
) -> None:
    state = state_of(redis_server.url, console_auth="proxy", trusted_proxies="127.0.0.1")
    lines = [(f"x-forwarded-{name}".encode(), value.encode()) for name, value in headers]
    request = Request({"type": "http", "client": ("127.0.0.1", 5000), "headers": lines})

    found = users.user_of(request, state)

    assert (found and (found.name, found.role)) == user


def test_the_headers_of_a_proxy_count_only_from_its_address(
    redis_server: RedisServer, redis_client: redis.Redis
) -> None:
    redis_client.ping()
    browser = Browser(state_of(redis_server.url, console_auth="proxy", trusted_proxies="10.0.0.0/8"))
    browser.headers = {"X-Forwarded-User": "eve", "X-Forwarded-Groups": "segue-admin", "X-Forwarded-For": "10.0.0.1"}

    assert browser.get("/about").status_code == 303


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"console_auth": "none", "console_host": "0.0.0.0"}, "open to everyone"),
        ({"console_auth": "none", "console_host": "console.example.com"}, "open to everyone"),
        ({"console_auth": "tokens", "console_tokens": None}, "segue console token"),
        ({"console_auth": "proxy", "trusted_proxies": "*"}, "SEGUE_TRUSTED_PROXIES"),
    ],
)
def test_the_console_does_not_start_open(values: dict[str, str], fault: str) -> None:
    with pytest.raises(CommandError, match=fault):
        users.ensure_safe(settings("redis://127.0.0.1:1/0", **values))


def test_on_loopback_it_starts_without_authentication() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        users.ensure_safe(settings("redis://127.0.0.1:1/0", console_auth="none", console_host=host))


def test_without_redis_a_page_says_so() -> None:
    browser = Browser(state_of("redis://127.0.0.1:1/0", console_auth="none"))

    answer = browser.get("/")

    assert answer.status_code == 503
    assert "Redis is unavailable" in answer.text
    assert "Traceback" not in answer.text
    assert browser.get("/health").status_code == 200


@pytest.mark.parametrize(("path", "most"), [("/", 1), ("/dead", 2)])
def test_a_redis_that_answers_nothing_is_not_waited_for_again_and_again(
    path: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "_PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        browser = Browser(state_of(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", console_auth="none"))

        answer = browser.get(path)

        silent.setblocking(False)
        waits = 0
        with suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                waits += 1
    assert (answer.status_code, "Redis is unavailable: Timeout" in answer.text) == (503, True)
    assert 1 <= waits <= most


def test_a_flood_of_guesses_leaves_threads_to_others(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(tokens, "entry_of", lambda *_: is_over.wait(30) and None)

    async def flood() -> int:
        transport = httpx.ASGITransport(app.create(state))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            form, own = {"name": "Eve", "token": "guess"}, {"Sec-Fetch-Site": "same-origin"}
            guesses = [asyncio.create_task(client.post("/sign-in", data=form, headers=own)) for _ in range(60)]
            await asyncio.sleep(0)
            try:
                return (await asyncio.wait_for(client.get("/health"), 10)).status_code
            finally:
                is_over.set()
                await asyncio.gather(*guesses)

    assert asyncio.run(flood()) == 200
