"""Several tabs, hidden tabs, the way back, a connection that is lost, and pages without script.

The clock of the browser is moved where a page waits for it.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, Request, expect

import lanes
from tests.console.conftest import Console, Visitor
from tests.console.shop import QUEUE
from tests.pipeline import wait_until

# The browser has no hidden tabs without a window. A page sees this property, and the event that goes with it.
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
A_MINUTE_MS = 60_000
REPLAY = re.compile("^Replay [0-9,]+ dead letters?$")


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=15_000)


@pytest.fixture
def fetched(visitor: Visitor) -> list[str]:
    """The addresses that scripts of the page fetch; the clock of its browser stands until it is moved."""
    addresses: list[str] = []
    visitor.page.on("request", lambda request: addresses.append(request.url) if _is_fetch(request) else None)
    visitor.page.clock.install()
    return addresses


def _is_fetch(request: Request) -> bool:
    return request.resource_type == "fetch"


def test_a_hidden_tab_asks_for_nothing_and_is_fresh_when_it_is_shown(visitor: Visitor, fetched: list[str]) -> None:
    page = visitor.go("/")
    with page.expect_request(_is_fetch):
        page.clock.run_for(6_000)
    expect(page.locator("#stale")).to_have_text("")
    page.evaluate(HIDE, True)
    fetched.clear()

    page.clock.run_for(5 * A_MINUTE_MS)
    assert fetched == []

    with page.expect_response(f"{visitor.url}/"):
        page.evaluate(HIDE, False)
    assert fetched == [f"{visitor.url}/"]


def test_a_tab_says_since_when_it_is_not_updated_and_recovers(visitor: Visitor) -> None:
    visitor.page.clock.install()
    page = visitor.go("/destinations")
    page.route("**/*", lambda route: route.abort())
    page.clock.run_for(6_000)
    expect(page.locator("#stale")).to_contain_text(re.compile(r"Not updated since \d{4}-\d\d-\d\d"))

    page.unroute_all()
    page.clock.run_for(A_MINUTE_MS)

    expect(page.locator("#stale")).to_have_text("")
    visitor.complaints.clear()  # of the requests that were aborted


def plan(page: Page) -> None:
    page.get_by_role("button", name="Plan a replay", exact=True).click()
    expect(page.get_by_role("button", name=REPLAY)).to_be_visible()


def test_the_plan_of_a_second_tab_is_made_anew_when_its_number_has_changed(console: Console, visitor: Visitor) -> None:
    first, second = visitor.page, visitor.context.new_page()
    for page in (first, second):
        page.goto(f"{console.url}/dead?reason=invalid")
    first.get_by_role("link", name="List").click()
    first.get_by_role("checkbox").first.check()
    first.get_by_role("button", name="Plan a replay of the selected").click()
    expect(first.get_by_role("button", name="Replay 1 dead letter")).to_be_visible()
    plan(second)
    total = second.get_by_role("button", name=REPLAY).inner_text()
    first.goto(f"{console.url}/dead?view=list&reason=invalid")
    first.get_by_role("checkbox").first.check()
    first.get_by_role("button", name="Plan a skip of the selected").click()
    first.get_by_label("Type the number").fill("1")
    first.get_by_role("button", name="Skip 1 dead letter").click()
    expect(first.get_by_role("status").first).to_contain_text("removed")

    second.get_by_role("button", name=REPLAY).click()

    expect(second.get_by_role("status").first).to_contain_text("changed meanwhile")
    expect(second.get_by_role("button", name=REPLAY)).not_to_have_text(total)
    assert lanes.stats(lanes.Queue(client=console.pipeline.redis, name=QUEUE)).dead == 31


def is_shown(page: Page, button: str) -> bool:
    """Look at the page again, and return whether it has the button."""
    page.reload()
    return page.get_by_role("button", name=button).is_visible()


def test_the_way_back_leads_to_the_same_filter_and_page(visitor: Visitor) -> None:
    page = visitor.go("/dead")
    page.locator("details.filters summary").click()
    page.get_by_label("Reason").select_option("rejected")
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_role("link", name="List").click()
    address, rows = page.url, page.locator("a[data-row]").count()
    page.locator("a[data-row]").last.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Dead letter")

    page.go_back()

    assert page.url == address
    expect(page.locator("a[data-row]")).to_have_count(rows)
    page.go_back()
    expect(page.locator(".chips")).to_contain_text("reason = rejected")
    page.go_forward()
    assert page.url == address


def test_rows_are_walked_opened_and_selected_with_keys(visitor: Visitor) -> None:
    page = visitor.go("/dead?view=list&reason=rejected")
    rows = page.locator("a[data-row]")
    for key in ("j", "j", "k", "x"):
        page.keyboard.press(key)
    expect(rows.first).to_be_focused()
    expect(page.get_by_role("checkbox").first).to_be_checked()
    number = rows.first.inner_text()

    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text(f"Dead letter {number}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_they_are_chosen(chromium: Browser, console: Console, scheme: str) -> None:
    visitor = Visitor(chromium, console.url, color_scheme=scheme)
    page = visitor.go("/")

    def is_dark() -> bool:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) < 3 * 128

    assert is_dark() is (scheme == "dark")
    for _ in range(2 if scheme == "light" else 1):
        page.locator("#theme").click()
    assert is_dark() is (scheme == "light")
    visitor.context.close()


def test_a_replay_is_planned_and_begun_without_script(chromium: Browser, console: Console) -> None:
    visitor = Visitor(chromium, console.url, java_script_enabled=False)
    page = visitor.go("/dead?view=list&reason=rejected")
    page.get_by_role("checkbox").first.check()
    with page.expect_navigation():
        page.get_by_role("button", name="Plan a replay of the selected").click()
    begin = page.get_by_role("button", name="Replay 1 dead letter")
    wait_until(lambda: is_shown(page, "Replay 1 dead letter"), "the plan is done")
    with page.expect_navigation():
        begin.click()

    wait_until(lambda: not is_shown(page, "Cancel"), "the replay is done")

    expect(page.locator("#progress")).to_contain_text("1 of 1")
    visitor.context.close()
