"""Every page in Chromium: no fault of accessibility, nothing against the policy, no sideways scrolling, pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

import lanes
from tests.console.conftest import NARROW, WIDE, Console, Visitor
from tests.console.shop import ADA, QUEUE

# With PICTURES=1 the pictures of docs/console.md are taken anew (`make pictures`).
IMAGES: Final = Path("docs/images") if os.environ.get("PICTURES") else None
PERSON: Final = f"/people/{lanes.digest(f'email:{ADA}').hex()}"
PAGES: Final = {
    "overview": "/",
    "people": "/people",
    "person": PERSON,
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
    "workbench": f"/destinations/{QUEUE}/workbench",
    "tester": "/tester",
    "sources": "/sources",
    "activity": "/activity",
    "about": "/about",
    "not-found": "/nowhere",
}
PICTURED: Final = ("overview", "person", "dead-letters", "dead-letter", "plan", "destination", "tester")
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


def try_event(page: Page) -> None:
    page.get_by_role("button", name="Test", exact=True).click()


def plan_import(page: Page) -> None:
    bad = {"name": "dead.jsonl", "mimeType": "application/x-ndjson", "buffer": b'{"source": 1}\n'}
    page.get_by_label("JSON lines").set_input_files(bad)  # type: ignore[arg-type]
    page.get_by_role("button", name="Show what would come in").click()


def plan_erasure(page: Page) -> None:
    page.get_by_label("E-mail addresses").fill(ADA)
    page.get_by_role("button", name="Show what would be removed").click()


STEPS: Final[dict[str, Callable[[Page], None]]] = {"tester": try_event, "import": plan_import, "forget": plan_erasure}


def show(visitor: Visitor, name: str, path: str) -> Page:
    page = visitor.go(path)
    if name in STEPS:
        STEPS[name](page)
    return page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_fault_of_accessibility_and_fits(
    chromium: Browser, console: Console, addresses: dict[str, str], name: str
) -> None:
    visitor = Visitor(chromium, console.url)
    page = show(visitor, name, addresses[name])

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
    names = PICTURED if IMAGES else PICTURED[:1]
    for name, size, scheme in product(names, (WIDE, NARROW), SCHEMES):
        visitor = Visitor(chromium, console.url, color_scheme=scheme, viewport=size)
        page = show(visitor, name, addresses[name])
        picture = (IMAGES or tmp_path) / f"console-{name}-{size['width']}-{scheme}.png"
        if name == "tester":
            page.get_by_role("heading", name=QUEUE).scroll_into_view_if_needed()
            page.mouse.wheel(0, 400)
        page.screenshot(path=picture)
        assert picture.stat().st_size > 5_000
        visitor.context.close()
