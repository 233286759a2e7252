"""What an operator does in the browser, from the question to the answer: with and without script, by mouse and keys."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import lanes
from tests.console.conftest import Console, Visitor
from tests.console.shop import ADA, QUEUE, page
from tests.pipeline import wait_until
from tests.unit.console.web.browsing import HOSTILE


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=15_000)


def dead(console: Console) -> int:
    return lanes.stats(lanes.Queue(client=console.pipeline.redis, name=QUEUE)).dead


def plan(page: Page) -> str:
    """Plan a replay of what the page shows; return the label of the button that would begin it."""
    page.get_by_role("button", name="Plan a replay", exact=True).click()
    button = page.get_by_role("button", name=re.compile("^Replay [0-9,]+ dead letters?$"))
    expect(button).to_be_visible()
    return button.inner_text()


def test_the_order_of_a_person_is_found_in_two_steps(visitor: Visitor) -> None:
    page = visitor.go("/about")
    page.keyboard.press("/")
    page.wait_for_url("**/people#search")
    page.keyboard.type(ADA)
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_contain_text("Person")
    assert "ada" not in page.url
    expect(page.locator(".lead").first).to_contain_text("blocks its lane")
    expect(page.get_by_role("link", name="Open the dead letter")).to_be_visible()
    page.locator(".timeline details summary").first.click()
    expect(page.locator(".timeline pre").first).to_contain_text('"identifiers"')
    assert ADA not in page.content()


def test_a_replay_does_what_its_plan_says_and_the_record_shows_it(console: Console, visitor: Visitor) -> None:
    before = dead(console)
    page = visitor.go("/dead?reason=rejected")
    label = plan(page)
    assert label == "Replay 7 dead letters"
    expect(page.get_by_text("would send: person identify")).to_be_visible()

    page.get_by_role("button", name=label).click()

    expect(page.locator("#progress")).to_contain_text("7 of 7")
    expect(page.locator("#progress .pill")).to_have_text("done")
    expect(page.get_by_role("heading", level=1)).to_have_text("Replay")
    page.goto(f"{console.url}/activity")
    expect(page.locator("#audit tbody tr").first).to_contain_text("replay")
    page.goto(f"{console.url}/dead")
    expect(page.locator("#found")).to_contain_text(f"{before} dead letters")  # refused again


def test_selected_dead_letters_are_skipped_after_the_number_is_typed(console: Console, visitor: Visitor) -> None:
    before = dead(console)
    page = visitor.go("/dead?view=list&reason=invalid")
    for box in page.get_by_role("checkbox").all()[:2]:
        box.check()
    page.get_by_role("button", name="Plan a skip of the selected").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text("2 dead letters")
    page.get_by_label("Type the number").fill("3")
    page.get_by_role("button", name="Skip 2 dead letters").click()
    expect(page.locator("main")).to_contain_text("Nothing was skipped")
    visitor.complaints.clear()  # of the answer 400
    page.go_back()
    page.get_by_label("Type the number").fill("2")
    page.get_by_role("button", name="Skip 2 dead letters").click()

    expect(page.get_by_role("status").first).to_contain_text("removed")
    assert dead(console) == before - 2


def test_a_destination_is_paused_and_resumed(visitor: Visitor) -> None:
    page = visitor.go(f"/destinations/{QUEUE}")
    page.get_by_label("Reason").fill("maintenance")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_contain_text("is paused by")

    page.get_by_role("button", name="Resume").click()

    expect(page.locator("#now .pill")).to_have_text("delivering")


def test_everything_works_without_script(chromium: Browser, console: Console) -> None:
    visitor = Visitor(chromium, console.url, java_script_enabled=False)
    page = visitor.go("/dead")
    page.locator("details.filters summary").click()
    page.get_by_label("Reason").select_option("invalid")
    page.get_by_role("button", name="Filter", exact=True).click()
    assert "reason=invalid" in page.url
    page.get_by_role("link", name="List").click()
    page.locator("a[data-row]").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Dead letter")
    page.go_back()
    assert "view=list" in page.url
    page.get_by_role("link", name=re.compile("reason = invalid")).click()
    assert "reason=" not in page.url
    visitor.context.close()


def test_a_list_that_is_used_stays_as_it_is(console: Console, visitor: Visitor) -> None:
    visitor.page.clock.install()
    page = visitor.go("/dead?view=list")
    page.get_by_role("checkbox").first.check()
    rows = page.locator("#found tbody tr").count()
    before = dead(console)
    console.pipeline.send([_broken()], write_key="shop-server-key-4711")
    wait_until(lambda: dead(console) > before, "one more is a dead letter")

    page.clock.run_for(6_000)
    expect(page.locator("#stale")).to_contain_text("1 new")
    assert page.locator("#found tbody tr").count() == rows
    page.get_by_role("checkbox").first.uncheck()
    page.locator("h1").hover()
    page.evaluate("document.activeElement.blur()")
    page.clock.run_for(6_000)
    expect(page.locator("#found tbody tr")).to_have_count(rows + 1)


def test_keys_lead_to_pages_and_can_be_switched_off(visitor: Visitor) -> None:
    page = visitor.go("/")
    page.keyboard.press("g")
    page.keyboard.press("b")
    page.wait_for_url("**/about")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_label("Keys of the keyboard are on").uncheck()
    page.evaluate("document.activeElement.blur()")

    page.keyboard.press("?")

    expect(page.locator("#keys")).not_to_be_visible()


@pytest.mark.parametrize("key", ["[", "Escape"])
def test_keys_lead_to_the_next_page_of_a_list_and_back(visitor: Visitor, key: str) -> None:
    page = visitor.go("/activity")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<a rel=next href=/people>Next</a>')")
    page.keyboard.press("]")
    page.wait_for_url("**/people")

    page.keyboard.press(key)

    page.wait_for_url("**/activity")


def test_colours_and_zone_are_remembered(chromium: Browser, console: Console) -> None:
    visitor = Visitor(chromium, console.url, timezone_id="Asia/Tokyo")
    page = visitor.go("/dead?view=list")
    utc = page.locator("time").first.inner_text()
    assert utc.endswith("Z")
    page.locator("#zone").click()
    page.locator("#theme").click()
    page.locator("#theme").click()

    page.reload()

    expect(page.locator("time").first).to_contain_text("Tokyo")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert "Tokyo" not in page.url
    visitor.context.close()


def test_hostile_texts_do_nothing(console: Console, visitor: Visitor) -> None:
    visitor.page.on("dialog", lambda dialog: visitor.complaints.append(dialog.message))
    events = [_broken(name=text, messageId=f"hostile-{at}", userId=f"hostile-{at}") for at, text in enumerate(HOSTILE)]
    before = dead(console)
    console.pipeline.send(events, write_key="shop-server-key-4711")
    page = visitor.go("/dead?view=list")
    expect(page.locator("#found tbody tr")).to_have_count(min(50, before + len(events)))
    expect(page.locator("#found")).to_contain_text("<img src=x onerror=alert(1)>")

    for row in page.locator("a[data-row]").all()[-len(events) :]:
        address = row.get_attribute("href")
        other = visitor.context.new_page()
        other.on("console", visitor._keep)
        other.goto(f"{console.url}{address}")
        assert other.locator("main img").count() == 0
        assert other.evaluate("document.documentElement.scrollWidth") <= 1280
        other.close()


def _broken(**members: Any) -> dict[str, Any]:
    return {**page(0, "hostile-reader"), "messageId": "one more", **members}


def test_the_drawing_of_why_a_person_waits_has_the_events_of_the_list(visitor: Visitor) -> None:
    page = visitor.go(f"/people/{lanes.digest(f'email:{ADA}').hex()}")
    expect(page.locator("svg.graph .node")).to_have_count(3)

    drawn = page.locator("svg.graph .node").evaluate_all("all => all.map(each => each.dataset.sequence)")
    listed = page.locator(".tree li").evaluate_all("all => all.map(each => each.dataset.sequence)")
    arrows = page.locator("svg.graph .edge").evaluate_all("all => all.map(each => each.dataset.edge)")
    before = page.locator(".tree li").evaluate_all(
        "all => all.map(each => [each.dataset.before, each.dataset.sequence])"
    )
    pairs = [f"{each}-{after}" for joined, after in before for each in joined.split()]

    assert sorted(drawn) == sorted(listed)
    assert len(set(arrows)) == 2
    assert set(arrows) == set(pairs)
    expect(page.locator(".tree .pill.warn")).to_have_text("cause")
    page.get_by_role("link", name="Open the dead letter").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Dead letter")


def test_a_person_is_shown_as_of_a_moment(visitor: Visitor) -> None:
    page = visitor.go(f"/people/{lanes.digest(f'email:{ADA}').hex()}")
    page.get_by_role("link", name="The person as of a moment").click()

    expect(page.get_by_role("row", name=re.compile("^plan "))).to_contain_text("text, 3 characters")
    page.get_by_label("and beside it (UTC)").fill("2026-01-05")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("row", name=re.compile("^plan "))).to_contain_text("added")
    assert "and=2026-01-05" in page.url
    assert ADA not in page.content()
