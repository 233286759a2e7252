"""The console over plain HTTP by a name: browsers send no `Sec-Fetch-Site` there, only where a POST comes from."""

from __future__ import annotations

from playwright.sync_api import Browser

from console.web import tokens
from tests.conftest import RedisServer
from tests.console.conftest import served
from tests.pipeline import Pipeline


def test_a_user_signs_in_over_plain_http_by_a_name(redis_server: RedisServer, chromium: Browser) -> None:
    token, entry = tokens.make("operator")
    auth = {"SEGUE_CONSOLE_AUTH": "tokens", "SEGUE_CONSOLE_TOKENS": entry}
    with (
        Pipeline(redis_server.url, workers=0) as running,
        served(running, SEGUE_CONSOLE_HOSTS="console.internal", **auth) as url,
    ):
        page = chromium.new_page()
        page.goto(url.replace("127.0.0.1", "console.internal") + "/sign-in")
        page.fill("input[name=name]", "Grace")
        page.fill("input[name=token]", token)
        with page.expect_navigation():
            page.click("form[action='/sign-in'] button")

        assert "Overview" in page.content()
        page.close()
