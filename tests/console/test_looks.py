"""Every page in Chromium: no fault of accessibility, nothing against the policy, no sideways scrolling, pictures."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

import lanes
from tests.console.conftest import NARROW, WIDE, Console, Visitor
from tests.console.shop import ADA, CORRECTED, QUEUE, order

# With PICTURES=1 the pictures of docs/console.md are taken anew (`make pictures`).
IMAGES: Final = Path("docs/images") if os.environ.get("PICTURES") else None
PERSON: Final = f"/people/{lanes.digest(f'email:{ADA}').hex()}"
# Every page: a new one is one line. STEPS has what is done on a page before it is looked at.
PAGES: Final = {
    "overview": "/",
    "people": "/people",
    "person": PERSON,
    "as-of": f"{PERSON}/as-of",
    "two-moments": f"{PERSON}/as-of?at=1d&and=2100-01-01",
    "dead-letters": "/dead",
    "list": "/dead?view=list&reason=rejected",
    "dead-letter": "/dead/journeys/FIRST",
    "plan": "PLAN",
    "replays": "/replays",
    "skip": "/skip/journeys?reason=rejected",
    "purge": "/purge/journeys?all=yes",
    "import": "/import",
    "forget": f"{PERSON}/forget",
    "destinations": "/destinations",
    "destination": f"/destinations/{QUEUE}",
    "figures": f"/destinations/{QUEUE}#charts",
    "workbench": f"/destinations/{QUEUE}/workbench",
    "tester": "/tester",
    "sources": "/sources",
    "activity": "/activity",
    "about": "/about",
    "not-found": "/nowhere",
    "live": "/live",  # the last one: see Console.go_live
}
SCHEMES: Final[tuple[Any, ...]] = ("light", "dark")
RULES: Final = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


@pytest.fixture(scope="module")
def addresses(chromium: Browser, console: Console) -> dict[str, str]:
    """The address of each page; a plan is made for its own one."""
    visitor = Visitor(chromium, console.url)
    page = visitor.go("/dead?view=list&reason=rejected")
    first = page.locator("a[data-row]").first.get_attribute("href")
    page = visitor.go("/dead")
    page.get_by_role("button", name="Plan a replay").click()
    page.get_by_role("heading", name="What a replay would do").wait_for()
    plan = page.url.removeprefix(console.url)
    visitor.context.close()
    assert first is not None
    return PAGES | {"dead-letter": first, "plan": plan}


def try_event(page: Page, _: Console) -> None:
    page.get_by_role("button", name="Test", exact=True).click()
    page.get_by_role("heading", name=QUEUE, exact=True).scroll_into_view_if_needed()
    page.mouse.wheel(0, 400)


def compare(page: Page, _: Console) -> None:
    text = page.get_by_label("Presets, subscriptions and filters as TOML")
    text.fill(text.input_value() + CORRECTED)
    page.get_by_role("button", name="Compare").click()
    page.locator("#result").scroll_into_view_if_needed()


def watch(page: Page, console: Console) -> None:
    console.go_live(page)
    passing = [order(random.Random(number), number, f"customer-{number}") for number in range(2_000, 2_012)]
    console.pipeline.send([event | {"messageId": str(time.time_ns() + at)} for at, event in enumerate(passing)])
    expect(page.locator("#tail")).to_contain_text("filtered")
    page.locator("#tail summary").nth(3).click()
    page.evaluate("scrollTo(0, 0)")


def upload(page: Page, _: Console) -> None:
    bad = {"name": "dead.jsonl", "mimeType": "application/x-ndjson", "buffer": b'{"source": 1}\n'}
    page.get_by_label("JSON lines").set_input_files(bad)  # type: ignore[arg-type]
    page.get_by_role("button", name="Show what would come in").click()


def name_person(page: Page, _: Console) -> None:
    page.get_by_label("E-mail addresses").fill(ADA)
    page.get_by_role("button", name="Show what would be removed").click()


STEPS: Final[dict[str, Callable[[Page, Console], None]]] = {
    "forget": name_person,
    "import": upload,
    "live": watch,
    "tester": try_event,
    "workbench": compare,
}


def show(visitor: Visitor, console: Console, name: str, path: str) -> Page:
    page = visitor.go(path)
    if name in STEPS:
        STEPS[name](page, console)
    return page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_fault_of_accessibility_and_fits(
    chromium: Browser, console: Console, addresses: dict[str, str], name: str
) -> None:
    visitor = Visitor(chromium, console.url)
    page = show(visitor, console, name, addresses[name])

    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, (scheme, found.generate_report())
    assert page.title().endswith(" – Segue")
    for width in (1280, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
    expected = ["404"] if name == "not-found" else []
    assert [text for text in visitor.complaints if not any(part in text for part in expected)] == []
    visitor.context.close()


def test_pictures_of_pages(chromium: Browser, console: Console, addresses: dict[str, str], tmp_path: Path) -> None:
    names = PAGES if IMAGES else ["overview"]
    for name, size, scheme in product(names, (WIDE, NARROW), SCHEMES):
        visitor = Visitor(chromium, console.url, color_scheme=scheme, viewport=size)
        page = show(visitor, console, name, addresses[name])
        picture = (IMAGES or tmp_path) / f"console-{name}-{size['width']}-{scheme}.png"
        page.screenshot(path=picture)
        assert picture.stat().st_size > 5_000
        visitor.context.close()
