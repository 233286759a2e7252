"""Activity and About: who did what, and what runs and is kept."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
import redis

from console.web import audit_log
from console.web.access import User
from console.web.pages import activity
from console.web.state import State
from lanes import configurations, keys
from lanes.server.checks import Server
from tests.unit.console.web.browsing import HOSTILE, Browser

ADA, EVE = User("Ada", "admin"), User("Eve", "operator")


@pytest.fixture
def browser(state: State, redis_client: redis.Redis) -> Browser:
    made = Browser(state, "viewer")
    audit_log.write(redis_client, ADA, "pause", "demo", why="x")
    audit_log.write(redis_client, EVE, "pause", "other", why=HOSTILE[0])
    audit_log.write(redis_client, EVE, "plan", "demo")
    entry = orjson.loads(redis_client.lpop(keys.CONSOLE_AUDIT.name))  # type: ignore[arg-type]
    redis_client.rpush(keys.CONSOLE_AUDIT.name, orjson.dumps(entry | {"at_ms": 1_700_000_000_000}))
    return made


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Eve pause", "Ada pause", "Grace sign in", "Eve plan"]),
        ("who=Eve", ["Eve pause", "Eve plan"]),
        ("act=pause", ["Eve pause", "Ada pause"]),
        ("who=Eve&act=pause", ["Eve pause"]),
        ("destination=demo", ["Ada pause", "Eve plan"]),
        ("since=1h", ["Eve pause", "Ada pause", "Grace sign in"]),
        ("until=2024-01-01", ["Eve plan"]),
        ("since=2024-01-01&until=2025-01-01", []),
    ],
)
def test_activity_is_filtered_and_exported_by_who_what_where_and_when(
    browser: Browser, query: str, found: list[str]
) -> None:
    shown = browser.json(f"/activity?{query}")["audit"]
    exported = [orjson.loads(line) for line in browser.get(f"/activity/export?{query}").text.splitlines()]

    assert [f"{entry['who']} {entry['act']}" for entry in shown] == found
    assert exported == shown


@pytest.mark.parametrize("path", ["/activity?since=x", "/activity/export?until=x", "/activity?first=x"])
def test_a_bad_condition_is_named(browser: Browser, path: str) -> None:
    assert browser.get(path).status_code == 400


def test_activity_goes_on_behind_a_page(browser: Browser, redis_client: redis.Redis) -> None:
    for number in range(60):
        audit_log.write(redis_client, ADA, "rate", "demo", requests_per_s=number)

    (older,) = re.findall(r'rel="next" href="([^"]+)"', browser.get("/activity?act=rate").text)

    assert len(browser.json("/activity?act=rate")["audit"]) == 50
    assert len(browser.json(older.replace("&amp;", "&"))["audit"]) == 10


def test_every_act_that_is_recorded_can_be_chosen() -> None:
    pages = Path(activity.__file__).parent
    written = {
        act
        for file in pages.glob("*.py")
        for act in re.findall(r'audit_log\.write\([^"\n]*"([^"]+)"', file.read_text())
    }

    assert written | {"skip", "purge"} == set(activity._ACTS)


def test_about_has_a_verdict_for_each_setting_of_redis(state: State) -> None:
    about = Browser(state, "viewer").json("/about")

    settings = {row["name"]: row for row in about["settings"]}
    assert {"appendonly", "maxmemory-policy", "maxmemory", "memory in use"} <= settings.keys()
    faults = [row["fault"] for row in about["settings"] if row["fault"]]
    assert faults == [finding["text"] for finding in about["findings"]]


def test_a_verdict_says_what_is_wrong() -> None:
    info = {"maxmemory_policy": "allkeys-lru", "maxmemory": 100, "used_memory": 95, "aof_enabled": 0}

    wrong = {verdict.name: verdict.finding.is_fault for verdict in Server(info).verdicts() if verdict.finding}

    assert wrong == {"appendonly": False, "maxmemory-policy": True, "memory in use": False}
    assert list(Server({}).verdicts()) == []


def test_about_says_whose_clock_differs(
    state: State, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    configurations.report(redis_client, configurations.Process("right@host", "c"))
    real = configurations.time.time_ns
    monkeypatch.setattr(configurations.time, "time_ns", lambda: real() + 90_000_000_000)
    configurations.report(redis_client, configurations.Process("ahead@host", "c"))
    monkeypatch.undo()

    ahead = {each["name"]: each["ahead_ms"] for each in Browser(state, "viewer").json("/about")["processes"]}

    assert abs(ahead["right@host"]) < 30_000 < ahead["ahead@host"]


def test_about_has_what_is_kept_with_its_size_and_lifetime_and_the_licences(state: State) -> None:
    browser = Browser(state, "viewer")

    kept = {(row["destination"], row["what"]): row for row in browser.json("/about")["kept"]}

    assert kept["demo", "dead letters"]["number"] == 2
    assert kept["demo", "dead letters"]["bytes"] > 0
    assert kept["demo", "dead letters"]["kept"] == keys.DEAD.lifetime
    assert kept["demo", "delivery log"]["number"] == 2
    assert kept["demo", "merges"]["number"] == 0
    assert kept[None, "activity of the console"]["number"] == 1
    page = browser.get("/about").text
    assert re.search(r"starlette [0-9.]+ <span class=\"hint\">BSD-3-Clause", page)
    assert re.search(r"<kbd>g</kbd> <kbd>d</kbd></dt><dd>Dead letters", page)


def test_an_export_that_cannot_begin_is_a_page(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(state, "viewer")

    def unavailable(*_: object) -> None:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(audit_log, "read", unavailable)

    answer = browser.get("/activity/export")

    assert (answer.status_code, "Redis is unavailable" in answer.text) == (503, True)
    assert "content-disposition" not in answer.headers
