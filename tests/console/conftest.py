"""The console in Chromium, over a pipeline with a simulated Customer.io: marked `browser`, and skipped with the reason
where the browser is not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from lanes import keys
from series.sampling import FINE
from tests.clients.needed import CHROMIUM
from tests.conftest import RedisServer
from tests.console.shop import CONFIG, QUEUE, open_shop
from tests.pipeline import Pipeline, free_port, wait_until

WIDE, NARROW = {"width": 1280, "height": 640}, {"width": 390, "height": 640}
_RESOLVER = "--host-resolver-rules=MAP console.internal 127.0.0.1"  # a name that is not localhost


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass(frozen=True)
class Console:
    """A running `segue console`, and the pipeline behind it."""

    url: str
    pipeline: Pipeline

    def go_live(self, page: Page, path: str = "/live") -> None:
        """Open the live tail, and wait until it shows every event. The figures of the shop's hour, which are more than
        what passes now, are removed: charts of the hour are empty from then on."""
        self.pipeline.redis.delete(keys.SAMPLES.of(QUEUE, FINE.name))
        page.goto(self.url + path)
        wait_until(lambda: self._is_shown(page), "the live tail shows an event")

    def _is_shown(self, page: Page) -> bool:
        self.pipeline.send([{"type": "track", "event": "Page Watched", "userId": "watcher"}])
        page.wait_for_timeout(300)
        shown = page.locator("#tail li").filter(has_text="Page Watched").filter(has_text="sent").count() > 0
        return shown and page.locator("#share").inner_text().startswith("Every event")


@pytest.fixture(scope="module")
def console(redis_server: RedisServer) -> Iterator[Console]:
    """A console over a shop with a day's events."""
    with (
        Pipeline(redis_server.url, workers=1, config=CONFIG, SEGUE_SETTLE_S="0.05", SEGUE_SWEEP_S="0.2") as running,
        served(running, SEGUE_CONSOLE_AUTH="none") as url,
    ):
        open_shop(running)
        yield Console(url, running)


@contextmanager
def served(pipeline: Pipeline, **variables: str) -> Iterator[str]:
    """Run a console of the pipeline with these variables, and yield its address."""
    port = str(free_port())
    environment = pipeline.environment | {"SEGUE_CONSOLE_PORT": port} | variables
    with subprocess.Popen([sys.executable, "-m", "console.cli", "console"], env=environment, stdout=2) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: _answers(url), "the console answers")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=15)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window. While Playwright runs, `asyncio.run` fails in this process."""
    if not CHROMIUM:
        pytest.skip("Chromium is missing: run `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", _RESOLVER])
        yield browser
        browser.close()


class Visitor:
    """A visitor with a page, and what the browser complained of."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": WIDE, **options})
        self.page: Page = self.context.new_page()
        self.url = url
        self.complaints: list[str] = []
        self.page.on("console", self._keep)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _keep(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def go(self, path: str) -> Page:
        """Open a page of the console."""
        self.page.goto(self.url + path)
        return self.page


@pytest.fixture
def visitor(chromium: Browser, console: Console) -> Iterator[Visitor]:
    """A visitor; at the end no script failed, and nothing was against the policy."""
    made = Visitor(chromium, console.url)
    yield made
    made.context.close()
    assert made.complaints == []


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.HTTPError:
        return False
