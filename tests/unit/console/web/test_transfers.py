"""Dead letters as a file: the export of a filter, and an import that first says what would come in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import redis

import lanes
from console.web import app, visit
from console.web.pages import transfers
from console.web.state import State
from dead_letters import query
from dead_letters.query import Filter
from tests.conftest import RedisServer
from tests.queues import default_queue
from tests.unit.console.web.browsing import ADDRESS, DIGEST, Browser, state_of

LINE: dict[str, Any] = {
    "source": "demo",
    "event": {"type": "track", "event": "x", "userId": "1"},
    "failure": {"class": "invalid", "message": "m", "faults": [], "buried_at_ms": 1_700_000_000_000},
}


def lines(*changes: dict[str, Any]) -> bytes:
    return b"\n".join(orjson.dumps(LINE | change) for change in changes)


def fields_of(page: str) -> dict[str, str]:
    """Return the fields of the form that imports what the plan shows."""
    return dict(re.findall(r'name="(lines|count)" value="([^"]+)"', page))


def record_of(browser: Browser) -> tuple[str, Any]:
    entry = browser.json("/activity")["audit"][0]
    return entry["act"], entry["facts"]


def dead(state: State) -> int:
    return lanes.count_dead_letters(default_queue(state.session.client, "demo"))[0]


def test_an_export_has_exactly_the_dead_letters_of_the_filter_and_is_recorded(state: State) -> None:
    operator = Browser(state, "operator")

    answer = operator.post("/export/demo", reason="invalid", person=f"digest:{DIGEST}")

    (line,) = map(orjson.loads, answer.text.splitlines())
    assert (line["failure"]["class"], line["event"]["userId"]) == ("invalid", ADDRESS)
    assert re.fullmatch(
        r"attachment; filename\*=UTF-8''dead-letters-demo-[0-9TZ]+\.jsonl", answer.headers["content-disposition"]
    )
    assert record_of(operator) == ("export", {"filter": {"reason": "invalid", "person": "…"}, "count": 1})
    assert len(operator.post("/export/demo").text.splitlines()) == 2
    assert len(operator.post("/export/demo", ids="1").text.splitlines()) == 1


@pytest.mark.parametrize("name", ["日本", "a\r\nX-Injected: yes", 'a"; b'])
def test_an_export_is_named_after_any_destination(
    redis_server: RedisServer, redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    redis_client.ping()
    key, path = orjson.dumps(name).decode(), tmp_path / "segue.toml"
    source = f'[sources.web]\nwrite_key = "k"\ndestinations = [{key}]\n'
    path.write_text(f'{source}[destinations.{key}]\nsite_id = "a"\napi_key = "b"\n')
    monkeypatch.setenv("SEGUE_CONFIG", str(path))

    answer = Browser(state_of(redis_server.url), "operator").post(f"/export/{quote(name, safe='')}", reason="invalid")

    assert answer.status_code == 200, answer.text
    assert "x-injected" not in answer.headers
    assert f"''dead-letters-{quote(name, safe='')}-" in answer.headers["content-disposition"]


def test_an_export_is_imported_after_a_plan_with_its_number(state: State, admin: Browser) -> None:
    exported = admin.post("/export/demo").content
    admin.post("/purge/demo", all="yes", count="2")
    assert dead(state) == 0

    plan = admin.upload("/import", exported)
    assert "2 dead letters" in plan.text
    assert dead(state) == 0
    admin.follow(admin.post("/import/lines", **fields_of(plan.text)))

    assert dead(state) == 2
    assert record_of(admin) == ("import", {"count": 2, "existing": 0})
    again = admin.upload("/import", exported)
    assert "All of them exist already" in again.text
    assert fields_of(again.text) == {}


def test_every_refused_line_is_named_with_its_field_and_nothing_is_imported(state: State, admin: Browser) -> None:
    content = lines({}, {"event": 7}, {"failure": {"class": "boredom"}}) + b"\n{"

    page = admin.upload("/import", content)

    rows = re.findall(r'data-label="Line" class="n">(\w+)<.*?(?:<code>(.*?)</code>|–)</td>', page.text)
    assert rows == [("2", "event"), ("3", "failure.class"), ("4", "")]
    assert fields_of(page.text) == {}
    assert dead(state) == 2


def test_a_plan_whose_number_changed_is_shown_again(state: State, admin: Browser) -> None:
    exported = admin.post("/export/demo").content
    admin.post("/purge/demo", all="yes", count="2")
    fields = fields_of(admin.upload("/import", exported).text)
    admin.follow(admin.post("/import/lines", **fields))
    admin.post("/skip/demo", reason="invalid", count="1")

    page = admin.post("/import/lines", **fields)

    assert fields_of(page.text)["count"] == "1"
    assert dead(state) == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b" \n", "The file is empty"),
        (b"\x28\xb5\x2f\xfdxx", "a spill file"),
        (b"x" * 8_000_001, "more than 8,000,000 bytes"),
    ],
    ids=["empty", "spilled", "long"],
)
def test_a_file_that_cannot_be_taken_is_refused(admin: Browser, content: bytes, text: str) -> None:
    page = admin.upload("/import", content)

    assert page.status_code == 400
    assert text in page.text


@pytest.mark.parametrize("given", ["", "x", "AAAA", "KLUv_QBYAQAA"], ids=["none", "short", "bytes", "torn"])
def test_lines_that_are_not_those_of_a_plan_are_not_imported(admin: Browser, given: str) -> None:
    assert admin.post("/import/lines", lines=given, count="1").status_code == 400


def test_lines_that_decompress_to_more_than_a_file_may_have_are_refused(admin: Browser) -> None:
    bomb = transfers.urlsafe_b64encode(transfers.zstandard.compress(b"\n" * 50_000_000)).decode()

    assert admin.post("/import/lines", lines=bomb, count="1").status_code == 400


def test_a_long_body_is_read_only_of_a_user_who_may_import(state: State) -> None:
    content = b"\n" * (visit.MOST_BODY + 1)

    assert Browser(state).upload("/import", content).status_code == 413
    assert Browser(state, "operator").upload("/import", content).status_code == 413
    assert Browser(state, "admin").upload("/import", content).status_code == 400  # it was read, and is empty


def test_a_purge_needs_the_typed_number_and_may_take_all(state: State, admin: Browser) -> None:
    queue = default_queue(state.session.client, "demo")
    assert "Type the number, 1" in admin.get("/purge/demo?reason=invalid").text
    assert "All of them" in admin.get("/purge/demo?all=yes").text
    assert admin.get("/purge/demo").status_code == 400
    assert admin.post("/purge/demo", reason="invalid", count="2").status_code == 400
    assert admin.post("/purge/demo", count="2").status_code == 400
    assert admin.post("/skip/demo", all="yes", count="2").status_code == 400
    assert dead(state) == 2

    admin.follow(admin.post("/purge/demo", reason="invalid", count="1"))

    assert [each.failure.reason for each in query.matching(queue, Filter())] == ["rejected"]
    assert record_of(admin) == ("purge", {"filter": {"reason": "invalid"}, "count": 1})
    assert "Type the number" not in Browser(state, "operator").get("/purge/demo?reason=rejected").text


def test_a_file_is_read_from_any_form_that_a_browser_may_send() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="destination"\r\n\r\njourneys\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a \\"name=x"\r\n\r\none\r\n\r\ntwo\r\n--b--\r\n'
    )

    assert app.upload_of(body, 'multipart/form-data; boundary="b"') == (
        {"destination": ["journeys"]},
        b"one\r\n\r\ntwo",
    )
    assert app.upload_of(b"", "multipart/form-data; boundary=b") == ({}, b"")
