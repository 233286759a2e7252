"""The charts: lines over one time axis, divided where figures are missing, with the values in a table."""

from __future__ import annotations

import pytest
import redis

from console.web import charts
from console.web.charts import HEIGHT, WIDTH
from lanes import keys
from series import sampling
from series.reading import Point
from series.row import AT, FIGURES, GAUGES, RESPONSES, TOTALS
from tests.conftest import RedisServer
from tests.queues import default_queue
from tests.unit.console.web.browsing import Browser, state_of


def point(at_s: float, accepted: float = 0.0, latency: float | None = 1.0) -> Point:
    per_s = dict.fromkeys((*TOTALS, *RESPONSES), 0.0) | {"accepted": accepted}
    return Point(at_s, 10.0, per_s, (latency,) * 3, dict.fromkeys(GAUGES, 0.0))


def test_a_line_reaches_over_the_time_and_up_to_the_greatest_value() -> None:
    events, *_ = charts.charts([point(0, 0), point(10, 50), point(20, 5)])

    assert (events.title, events.top) == ("Events", 50)
    assert events.lines[0].parts == (f"0.0,{HEIGHT}.0 {WIDTH / 2},0.0 {WIDTH}.0,{HEIGHT * 0.9}",)
    assert events.sentence == "accepted: between 0.0 and 50.0 events/s; the highest at 1970-01-01 00:00:10Z"


@pytest.mark.parametrize(
    ("greatest", "top"), [(0.0, 1), (0.03, 0.05), (1.0, 1), (1.1, 2), (3, 5), (7, 10), (812, 1000), (20_000, 20_000)]
)
def test_the_upper_edge_is_a_round_number(greatest: float, top: float) -> None:
    assert charts.charts([point(0, greatest)])[0].top == pytest.approx(top)


def test_there_is_no_line_where_no_worker_wrote_or_nothing_was_delivered() -> None:
    found = charts.charts([point(0), point(10), point(100), point(110, latency=None), point(120)])

    assert [len(part.split()) for part in found[0].lines[0].parts] == [2, 3]
    assert [len(part.split()) for part in found[1].lines[0].parts] == [2, 2, 2], "a single point is a short line"


def test_a_table_has_few_rows_and_the_last_values() -> None:
    (events, *_) = charts.charts([point(number, number) for number in range(361)])

    assert len(events.rows) <= 30
    assert events.rows[-1] == (360_000, (360.0, 0.0, 0.0, 0.0))


def test_the_page_draws_what_workers_wrote(
    redis_server: RedisServer, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = default_queue(redis_client, "demo")
    rows = [dict.fromkeys(FIGURES, 0.0) | {AT: 1e9 + 10 * number, "accepted": 30 * number} for number in range(3)]
    monkeypatch.setattr(sampling, "_figures", lambda *_: rows.pop(0))
    while rows:
        redis_client.delete(keys.SAMPLED.of(queue.name))
        sampling.sample(queue, 100, lambda: 1)
    browser = Browser(state_of(redis_server.url), "viewer")

    page, data = browser.get("/figures").text, browser.json("/figures?span=1h")

    assert page.count("<polyline") == 17
    assert "accepted: always 3.0 events/s" in page
    assert [each["per_s"]["accepted"] for each in data["points"]] == [3.0, 3.0]
    assert browser.get("/figures?span=2y").status_code == 404
