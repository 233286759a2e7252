"""The live tail in Chromium, over real ingest and worker processes."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

import lanes
from lanes import keys
from tests.console.conftest import Console, Visitor
from tests.console.shop import ADA, page
from tests.pipeline import wait_until
from tests.unit.console.web.browsing import HOSTILE


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=15_000)


def track(name: str, **members: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": "live-reader", "messageId": name, **members}


def row(page: Page, text: str) -> Locator:
    return page.locator("#tail > li").filter(has_text=text)


def test_events_appear_with_their_fates(console: Console, visitor: Visitor) -> None:
    console.go_live(visitor.page)
    console.pipeline.send([track("Is Sent")])
    expect(row(visitor.page, "Is Sent")).to_contain_text("sent as trackEvent")
    broken = page(0, "live-broken") | {"name": "Is Dead"}
    console.pipeline.send([track("Is Filtered", properties={"internal": True}), broken, track("Is Sent")])
    answer = httpx.post(
        f"{console.pipeline.ingest_url}/v1/batch",
        json={"writeKey": "demo", "batch": [track("Is Refused", event=None), track("Is Taken")]},
    )
    assert len(answer.json()["rejected"]) == 1

    expect(row(visitor.page, "Is Filtered").locator(".pill").first).to_have_text("filtered")
    expect(row(visitor.page, "Is Filtered")).to_contain_text("filter: ")
    expect(row(visitor.page, "Is Dead").locator(".pill").first).to_have_text("dead letter")
    expect(row(visitor.page, "duplicate")).to_contain_text("Is Sent")
    expect(row(visitor.page, "refused")).to_contain_text("HTTP 400")
    expect(row(visitor.page, "Is Taken")).to_contain_text("sent as trackEvent")


def test_a_row_opens_to_the_event_the_decisions_and_the_requests(console: Console, visitor: Visitor) -> None:
    console.go_live(visitor.page)
    console.pipeline.send([track("Is Opened", userId=ADA, properties={"total": 99.5})])
    opened = row(visitor.page, "Is Opened")
    expect(opened).to_contain_text("accepted")

    opened.locator("summary").click()

    expect(opened.get_by_label("Decisions")).to_contain_text("accepted")
    expect(opened.locator("pre").last).to_contain_text('"event": "Is Opened"')
    assert ADA not in visitor.page.content()
    expect(opened).to_contain_text("a…@example.com")
    opened.get_by_role("link", name="The person").click()
    assert lanes.digest(f"email:{ADA}").hex() in visitor.page.url


def test_a_pause_keeps_the_rows_and_counts_those_that_wait(console: Console, visitor: Visitor) -> None:
    console.go_live(visitor.page)
    visitor.page.keyboard.press(".")
    expect(visitor.page.get_by_role("button", name="Go on")).to_be_visible()
    before = visitor.page.locator("#tail > li").count()

    console.pipeline.send([track(f"Waits {number}") for number in range(3)])

    expect(visitor.page.locator("#more")).to_have_text(re.compile("^[3-9] more$"))  # others may be under way
    assert visitor.page.locator("#tail > li").count() == before
    visitor.page.get_by_role("button", name="Go on").click()
    expect(row(visitor.page, "Waits 2")).to_be_visible()
    assert visitor.page.locator("#tail > li").count() >= before + 3
    expect(visitor.page.locator("#more")).to_have_text("")


def test_a_filter_chooses_rows_also_those_that_follow(console: Console, visitor: Visitor) -> None:
    console.go_live(visitor.page)
    visitor.page.get_by_text("Filter", exact=True).first.click()
    visitor.page.get_by_label("Person").fill("live-chosen")
    visitor.page.get_by_role("button", name="Filter").click()
    visitor.page.wait_for_url("**/live?person=digest**")
    assert "live-chosen" not in visitor.page.url

    console.pipeline.send([track("Is Another"), track("Is Chosen", userId="live-chosen")])

    expect(row(visitor.page, "Is Chosen")).to_contain_text("sent as")
    assert visitor.page.locator("#tail > li").count() == 1


def test_hostile_texts_in_the_tail_do_nothing(console: Console, visitor: Visitor) -> None:
    visitor.page.on("dialog", lambda dialog: visitor.complaints.append(dialog.message))
    console.go_live(visitor.page)
    hostile = [track(text, messageId=f"tail-{at}", properties={text: text}) for at, text in enumerate(HOSTILE)]

    console.pipeline.send(hostile)

    expect(row(visitor.page, "<img src=x onerror=alert(1)>").first).to_contain_text("sent as")
    expect(row(visitor.page, "txt.exe").first).to_be_visible()
    for summary in row(visitor.page, "live-").or_(visitor.page.locator("#tail > li")).locator("summary").all()[:8]:
        summary.click()
    assert visitor.page.locator("main img").count() == 0
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_without_script_the_page_shows_what_passed_before(chromium: Browser, console: Console) -> None:
    visitor = Visitor(chromium, console.url, java_script_enabled=False)
    visitor.go("/live")

    def is_shown() -> bool:
        console.pipeline.send([track("Without Script", messageId=str(next(numbers)))])
        visitor.page.get_by_role("link", name="Load it again").click()
        return row(visitor.page, "Without Script").count() > 0

    numbers = iter(range(10_000))
    wait_until(is_shown, "the page shows an event")
    row(visitor.page, "Without Script").first.locator("summary").click()
    expect(row(visitor.page, "Without Script").first.locator("pre").first).to_be_visible()
    assert re.search(r"Every event is shown|are shown: one in", visitor.page.content())
    visitor.context.close()


def test_a_hidden_tab_ends_the_stream_and_without_watchers_nothing_is_copied(
    console: Console, visitor: Visitor
) -> None:
    console.go_live(visitor.page)
    visitor.page.close()
    console.pipeline.redis.delete(keys.TAP_WATCHED.name)
    streams = keys.TAP_INGEST.name, keys.TAP_WORKERS.name

    def is_quiet() -> bool:
        console.pipeline.redis.delete(*streams)
        console.pipeline.send([track("Unwatched", messageId=str(next(numbers)))])

        return not console.pipeline.redis.exists(*streams)

    numbers = iter(range(10_000))
    wait_until(is_quiet, "nothing is copied")
