"""The figures of a destination over time: rows, their bounds, and the rates that they give."""

from __future__ import annotations

import itertools

import fakeredis
import pytest
import redis

from lanes import Queue, keys
from metrics.registry import DELIVERY_LATENCY, DELIVERY_REQUESTS
from series import reading, sampling
from series.row import AT, FIGURES, GAUGES, LATENCIES, Row, merged, packed, unpacked
from series.sampling import RESOLUTIONS
from series.tally import Tally
from tests.queues import queue_of

NAMES = (f"series-{number}" for number in itertools.count())  # metrics are of the process


@pytest.fixture
def queue(redis_client: redis.Redis) -> Queue:
    return queue_of(redis_client, next(NAMES))


def row_at(at_s: float, **figures: float) -> Row:
    return dict.fromkeys(FIGURES, 0.0) | {AT: at_s} | figures


def store(queue: Queue, monkeypatch: pytest.MonkeyPatch, *stored: Row) -> None:
    """Write rows as workers do, the lock of each one having ended."""
    remaining = list(stored)
    monkeypatch.setattr(sampling, "_figures", lambda *_: remaining.pop(0))
    while remaining:
        queue.client.delete(keys.SAMPLED.of(queue.name))
        sampling.sample(queue, 100, lambda: 1)


def test_a_row_is_stored_and_read() -> None:
    row = {figure: float(index) for index, figure in enumerate(FIGURES)}

    assert unpacked(packed(row)) == row
    assert len(packed(row)) == 8 * len(FIGURES)


def test_an_older_row_has_0_for_a_figure_that_it_lacks() -> None:
    row = dict.fromkeys(FIGURES, 7.0)

    assert unpacked(packed(row)[:-8]) == row | {FIGURES[-1]: 0.0}


def test_a_row_of_a_longer_time_has_the_greatest_gauges_and_the_latest_totals() -> None:
    found = merged(row_at(30, accepted=9, waiting=1), [row_at(10, accepted=3, waiting=8), row_at(20, accepted=5)])

    assert (found[AT], found["accepted"], found["waiting"]) == (30, 9, 8)


def test_one_worker_writes_a_row_in_ten_seconds(queue: Queue) -> None:
    for _ in range(3):
        sampling.sample(queue, 50, lambda: 4)

    (row,) = sampling.rows(queue, sampling.FINE)
    assert (row["workers"], row["limit_per_s"], row["requests_per_s"], row["waiting"]) == (4, 50, 50, 0)
    assert 0 < queue.client.pttl(keys.SAMPLED.of(queue.name)) < 10_000


def test_coarser_rows_are_written_when_due_and_all_lists_are_bounded(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(queue, monkeypatch, *(row_at(10.0 * number, accepted=number, waiting=number % 7) for number in range(500)))

    fine, minutes, tens = (sampling.rows(queue, resolution) for resolution in RESOLUTIONS)
    assert [row[AT] for row in fine] == [10.0 * number for number in range(140, 500)]
    assert [row[AT] for row in minutes] == [60.0 * number for number in range(84)]
    assert [row[AT] for row in tens] == [600.0 * number for number in range(9)]
    assert tens[-1]["waiting"] == 6
    for resolution in RESOLUTIONS:
        assert queue.client.ttl(keys.SAMPLES.of(queue.name, resolution.name)) > 0


def test_a_point_has_the_rates_between_two_rows(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {LATENCIES[2]: 90, LATENCIES[7]: 10}  # up to 0.25 s, and up to 2 s
    store(queue, monkeypatch, row_at(100, accepted=50), row_at(110, accepted=150, waiting=5, **counted))

    point = reading.latest(queue)

    assert point is not None
    assert (point.seconds, point.per_s["accepted"], point.gauges["waiting"]) == (10, 10, 5)
    assert point.latency_s == pytest.approx((0.1 + 0.15 * 50 / 90, 1.75, 1.95))
    assert point.json()["latency_s"]["p95"] == pytest.approx(1.75)
    assert set(GAUGES) < set(point.json())


def test_rows_without_a_worker_between_them_or_of_another_queue_give_no_rate(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(queue, monkeypatch, row_at(100, accepted=5), row_at(200, accepted=9), row_at(210, accepted=2), row_at(220))

    assert reading.points(queue, 3600) == []


def test_a_longer_time_is_read_from_coarser_rows(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    store(queue, monkeypatch, *(row_at(10.0 * number, accepted=number) for number in range(500)))

    assert len(reading.points(queue, 600)) == 60
    assert {point.seconds for point in reading.points(queue, 7200)} == {60}
    assert {point.seconds for point in reading.points(queue, 7 * 86_400)} == {600}


def test_workers_add_what_they_counted_once(queue: Queue) -> None:
    mine, of_another_worker = Tally(), Tally()
    DELIVERY_LATENCY.add([0.01, 0.02, 7.0], queue.name)
    for status in ("200", "207", "429", "503", "none"):
        DELIVERY_REQUESTS.add(queue.name, status)
    for _ in range(2):
        mine.write(queue)
    DELIVERY_REQUESTS.add(queue.name, "200")
    mine.write(queue)
    of_another_worker.write(queue)

    stored = {name.decode(): int(count) for name, count in queue.client.hgetall(keys.COUNTS.of(queue.name)).items()}
    assert stored == {"latency_0": 4, "latency_10": 2, "2xx": 6, "429": 2, "5xx": 2, "none": 2}


def test_what_could_not_be_written_is_written_later(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    tally, server = Tally(), fakeredis.FakeServer()
    server.connected = False
    DELIVERY_REQUESTS.add(queue.name, "200")
    with monkeypatch.context() as away:
        away.setattr(queue.client, "pipeline", fakeredis.FakeRedis(server=server).pipeline)
        with pytest.raises(redis.ConnectionError):
            tally.write(queue)
    tally.write(queue)

    assert queue.client.hgetall(keys.COUNTS.of(queue.name)) == {b"2xx": b"1"}
