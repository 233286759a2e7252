"""“Save as case”: the event of the tester as a case file that passes, without personal data."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console import cli
from console.web.state import State
from tests.conftest import RedisServer
from tests.unit.console.web.browsing import ADDRESS, Browser, state_of

EVENT = json.dumps({"type": "identify", "userId": ADDRESS, "traits": {"email": ADDRESS, "note": "call Jo"}})


@pytest.fixture
def state(redis_server: RedisServer) -> State:
    return state_of(redis_server.url)


def test_a_tested_event_becomes_a_case_that_passes(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(state, "operator")
    assert "Save as case" in browser.post("/tester", event=EVENT).text

    page = browser.post("/tester/case", event=EVENT, source="demo")

    assert page.status_code == 200, page.text
    (shown,) = re.findall(r'<pre id="case"[^>]*>(.*?)</pre>', page.text, re.DOTALL)
    assert ADDRESS not in shown
    assert "Jo" not in shown
    text = html.unescape(re.sub(r"<[^>]+>", "", shown))
    assert json.loads(text)["expect"]["fates"] == {"demo": "sent"}
    (tmp_path / "case.json").write_text(text)
    for name in ("SEGUE_CONFIG", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(cli.app, ["test", str(tmp_path / "case.json")])
    assert (result.exit_code, result.stdout) == (0, "1 case in 1 file: 1 passed, 0 failed\n")


def test_what_is_no_event_is_refused(state: State) -> None:
    assert Browser(state, "operator").post("/tester/case", event="{").status_code == 400
