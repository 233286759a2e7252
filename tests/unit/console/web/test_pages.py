"""Every page of the console over a real Redis."""

from __future__ import annotations

import pytest
import redis

from console.web import charts
from console.web.state import State
from series.reading import Point
from series.row import GAUGES, RESPONSES, TOTALS
from tests.conftest import RedisServer
from tests.console.hour import write_hour
from tests.unit.console.web.browsing import ADDRESS, DIGEST, ID, Browser, fill, state_of

PAGES = (
    "/",
    "/live",
    "/live?source=demo&destination=demo&type=track&event=Order%20Placed&fate=sent",
    f"/live?person=digest:{DIGEST}",
    "/destinations/demo?range=24h",
    "/destinations",
    "/destinations/demo",
    "/destinations/demo/workbench",
    "/dead",
    "/dead?view=list",
    "/dead?view=list&reason=rejected&since=1d&source=demo&event=Order%20Placed",
    f"/dead?view=list&person=digest:{DIGEST}",
    "/dead/demo/1",
    "/replays",
    "/skip/demo?reason=rejected",
    "/purge/demo?all=yes",
    "/import",
    f"/people/{DIGEST}/forget",
    "/people",
    f"/people/{DIGEST}",
    "/people/0123456789abcdef",
    f"/people/{DIGEST}/as-of",
    f"/people/{DIGEST}/as-of?at=1d&and=2030-01-01",
    "/tester",
    "/sources",
    "/activity",
    "/about",
)
FOR_OPERATORS = ("/tester", "/destinations/demo/workbench")


@pytest.fixture
def state(redis_server: RedisServer, redis_client: redis.Redis) -> State:
    write_hour(fill(redis_client))
    return state_of(redis_server.url)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_a_document_and_json(state: State, path: str) -> None:
    browser = Browser(state, "admin")

    page = browser.get(path)

    assert page.status_code == 200, page.text
    assert page.text.count("<h1>") == 1
    assert "</html>" in page.text
    browser.json(path)


@pytest.mark.parametrize("path", PAGES)
def test_an_empty_redis_has_every_page_but_those_of_its_dead_letters(
    redis_server: RedisServer, redis_client: redis.Redis, path: str
) -> None:
    redis_client.ping()
    browser = Browser(state_of(redis_server.url), "admin")

    assert browser.get(path).status_code == (404 if path == "/dead/demo/1" else 200)


@pytest.mark.parametrize("path", [path for path in PAGES if path not in FOR_OPERATORS])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_no_page_shows_an_identity_to_a_viewer(state: State, path: str, accept: str) -> None:
    page = Browser(state, "viewer").get(path, accept)

    assert page.status_code == 200, page.text
    assert ADDRESS not in page.text
    assert ID not in page.text


def test_an_operator_sees_identities_after_asking_for_them_and_it_is_recorded(state: State) -> None:
    browser = Browser(state, "operator")
    assert ADDRESS not in browser.get("/dead/demo/1").text

    browser.reveal()
    page = browser.get("/dead/demo/1")

    assert ADDRESS in page.text
    assert [entry["act"] for entry in browser.json("/activity")["audit"]] == ["reveal", "sign in"]
    browser.post("/hide", to="/")
    assert ADDRESS not in browser.get("/dead/demo/1").text


def test_a_destination_has_charts_with_sentences_and_tables(state: State) -> None:
    browser = Browser(state, "viewer")

    page = browser.get("/destinations/demo").text

    assert page.count("<polyline") >= 10
    assert "accepted: between " in page
    assert "the highest at " in page
    assert page.count("As a table") == 6
    assert "events/s" in browser.json("/")["causes"][-1]["text"] or browser.json("/")["destinations"][0]["now"]
    assert browser.get("/destinations/demo?range=1y").status_code == 400


def test_a_line_ends_where_nothing_was_written() -> None:
    times = [float(at) for at in [*range(0, 100, 10), *range(1000, 1100, 10)]]

    def point(at_s: float) -> Point:
        per_s = dict.fromkeys((*TOTALS, *RESPONSES), at_s)
        return Point(at_s, 10.0, per_s, (None, 1.0, None), dict.fromkeys(GAUGES, 0.0))

    events, latency, *_ = charts.charts([point(at_s) for at_s in times])

    assert [len(stroke.split()) for stroke in events.lines[0].strokes] == [10, 10]
    assert (events.top, events.lines[0].most) == (2000.0, 1090.0)
    assert latency.lines[0].strokes == ()
    assert latency.sentence == "p50: nothing in this time."
    assert charts.charts([point(1.0)]) == []


def test_a_long_time_has_as_many_points_as_can_be_seen() -> None:
    def point(at_s: float) -> Point:
        per_s = dict.fromkeys((*TOTALS, *RESPONSES), float(at_s == 777))
        return Point(at_s, 60.0, per_s, (1.0, 1.0, 1.0), dict.fromkeys(GAUGES, 0.0))

    (events,) = charts.charts([point(float(at)) for at in range(1440)], 1)

    (stroke,) = events.lines[0].strokes
    assert len(stroke.split()) == 180
    assert " 0.0" not in stroke
    assert any(part.endswith(",0.0") for part in stroke.split()), "the greatest value of a part is shown"
