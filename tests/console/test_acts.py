"""What only an admin does in the browser: purge, export and import, erase a person, send from the tester."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

import lanes
from tests.console.conftest import Console, Visitor
from tests.console.shop import ADA, QUEUE
from tests.console.test_looks import PERSON
from tests.pipeline import wait_until


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=15_000)


def dead(console: Console) -> int:
    return lanes.stats(lanes.Queue(client=console.pipeline.redis, name=QUEUE)).dead


def test_what_was_exported_and_purged_comes_in_again(console: Console, visitor: Visitor, tmp_path: Path) -> None:
    before = dead(console)
    page = visitor.go("/dead?reason=rejected")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    file = tmp_path / "dead.jsonl"
    download.value.save_as(file)
    assert len(file.read_text().splitlines()) == 7

    page.get_by_role("button", name="Plan a purge").click()
    page.get_by_label("Type the number").fill("7")
    page.get_by_role("button", name="Purge 7 dead letters for good").click()
    expect(page.get_by_role("status").first).to_contain_text("removed")
    assert dead(console) == before - 7

    page.get_by_role("link", name="Import dead letters from a file").click()
    bad = tmp_path / "bad.jsonl"
    bad.write_text(file.read_text() + '{"source": 1}\n')
    page.get_by_label("JSON lines").set_input_files(bad)
    page.get_by_role("button", name="Show what would come in").click()
    expect(page.get_by_role("row", name="8 source")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Import"))).to_have_count(0)
    page.get_by_label("JSON lines").set_input_files(file)
    page.get_by_role("button", name="Show what would come in").click()
    page.get_by_role("button", name="Import 7 dead letters").click()
    expect(page.get_by_role("status").first).to_contain_text("are imported")
    assert dead(console) == before


def test_the_request_that_is_shown_is_sent_and_answered(console: Console, visitor: Visitor) -> None:
    page = visitor.go("/tester")
    event = {"type": "identify", "userId": "tried-in-the-browser", "traits": {"plan": "pro"}}
    page.get_by_label("Event as JSON").fill(json.dumps(event))
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("main")).to_contain_text(f"{QUEUE} (region us)")
    assert "tried-in-the-browser" not in ids(console)

    page.get_by_role("button", name=f"Send 1 request to {QUEUE}").click()

    expect(page.get_by_role("row", name="createUpdatePerson accepted")).to_be_visible()
    wait_until(lambda: "tried-in-the-browser" in ids(console), "the workspace has the person")
    page.goto(f"{console.url}/activity")
    expect(page.locator("#audit tbody tr").first).to_contain_text("send")


def ids(console: Console) -> set[str]:
    return {person["id"] for person in console.pipeline.people()}


def test_the_badge_counts_what_came_since_the_last_look(visitor: Visitor) -> None:
    page = visitor.go("/")
    expect(page.locator("#badge")).to_contain_text("new")

    page.locator('nav a[href="/dead"]').click()

    expect(page.locator("#badge")).not_to_contain_text("new")
    page.locator('nav a[href="/about"]').click()
    expect(page.locator("#badge")).to_contain_text(re.compile(r"^\W*\d+ blocked"))


def test_a_person_is_erased_and_the_receipt_is_shown_without_script_too(chromium: Browser, console: Console) -> None:
    visitor = Visitor(chromium, console.url, java_script_enabled=False)
    page = visitor.go(PERSON)
    page.get_by_role("link", name="Erase this person").click()
    page.get_by_label("E-mail addresses").fill("someone@example.com")
    page.get_by_role("button", name="Show what would be removed").click()
    expect(page.locator("main")).to_contain_text("None of these identities is of the person of this page")
    page.go_back()
    page.get_by_label("E-mail addresses").fill(ADA)
    page.get_by_role("button", name="Show what would be removed").click()
    expect(page.locator(".steps")).to_contain_text("events on the queue: 2")
    expect(page.locator(".steps")).to_contain_text("dead letters: 1")

    page.get_by_role("button", name="Erase this person").click()

    expect(page.locator("#receipts .pill")).to_have_text("done")
    expect(page.get_by_role("status").first).to_contain_text("is erased")
    assert "ada" not in page.url
    page.get_by_role("link", name="All receipts").click()
    expect(page.locator("#audit tbody tr").first).to_contain_text("forget")
    page.goto(f"{console.url}{PERSON}")
    expect(page.locator("main")).to_contain_text("Nothing is known of this person")
    visitor.context.close()
