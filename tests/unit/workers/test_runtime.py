"""A process builds its runtime once, and not at all where it must not run."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import fakeredis
import pytest

import lanes
from settings import Settings
from tests.logged import logged
from workers import runtime as runtimes
from workers import tasks
from workers.runtime import Runtime


@pytest.fixture
def _no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    client = fakeredis.FakeStrictRedis()
    monkeypatch.setattr(runtimes, "_runtime", None)
    monkeypatch.setattr(runtimes, "_connect", lambda _url: client)


@pytest.mark.usefixtures("_no_runtime")
def test_threads_that_need_the_runtime_at_once_get_the_same_one() -> None:
    """Two would have slots and poll locks of their own."""
    barrier = threading.Barrier(8)

    def get(_: int) -> Runtime:
        barrier.wait()
        return runtimes.runtime()

    with ThreadPoolExecutor(8) as threads:
        assert len({id(runtime) for runtime in threads.map(get, range(8))}) == 1


@pytest.mark.usefixtures("_no_runtime")
def test_a_process_that_disagrees_with_a_queue_does_not_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runtimes.runtime()
    monkeypatch.setattr(runtimes, "_runtime", None)
    monkeypatch.setattr(runtimes, "settings", Settings(settle_s=7))

    with pytest.raises(lanes.QueueMismatch):
        runtimes.runtime()
    with pytest.raises(SystemExit) as exited:
        tasks.check_set_up()

    assert exited.value.code == 1
    assert "cooldown_ms is 5000 in Redis and 7000 here" in caplog.text


@pytest.mark.usefixtures("_no_runtime")
def test_a_process_whose_set_up_raises_another_exception_does_not_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Celery swallows it, and the process would run without ever delivering."""

    def fail(_url: str) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(runtimes, "_connect", fail)

    with pytest.raises(SystemExit) as exited:
        tasks.check_set_up()

    assert exited.value.code == 1
    refused = logged(caplog)[-1]
    assert (refused["event"], refused["reason"]) == ("process_refused", "FileNotFoundError: No such file or directory")


def test_a_queue_that_is_unavailable_at_the_start_is_opened_by_a_sweep(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    runtime = Runtime.build(Settings(), fakeredis.FakeStrictRedis(server=server), threading.Event())
    monkeypatch.setattr(runtimes, "_runtime", runtime)
    tasks.sweep()
    assert runtime.unopened == {"demo"}

    server.connected = True
    monkeypatch.setattr("workers.app.app.send_task", lambda *_, **__: None)
    tasks.sweep()

    assert runtime.unopened == set()
    assert lanes.stored_config(runtime.client, "demo") == runtime.queues["demo"].config
    events = [line["event"] for line in logged(caplog)]
    assert (events[0], events[-1]) == ("redis_unavailable", "redis_available")


def test_a_process_stops_when_it_disagrees_with_a_queue_that_becomes_available(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = fakeredis.FakeServer()
    Runtime.build(Settings(), fakeredis.FakeStrictRedis(server=server), threading.Event())
    server.connected = False
    runtime = Runtime.build(Settings(settle_s=7), fakeredis.FakeStrictRedis(server=server), threading.Event())
    monkeypatch.setattr(runtimes, "_runtime", runtime)
    server.connected = True
    killed = list[tuple[int, int]]()
    monkeypatch.setattr(tasks.os, "kill", lambda *arguments: killed.append(arguments))

    tasks.sweep()

    assert killed == [(os.getpid(), signal.SIGTERM)]
    assert "cooldown_ms is 5000 in Redis and 7000 here" in caplog.text
    assert runtime.unopened == {"demo"}


def test_the_runtime_has_everything_of_each_destination() -> None:
    runtime = Runtime.build(Settings(), fakeredis.FakeStrictRedis(), threading.Event())

    for of_destinations in (
        runtime.queues,
        runtime.admissions,
        runtime.track_apis,
        runtime.slots,
        runtime.poll_locks,
    ):
        assert of_destinations.keys() == runtime.destinations.keys()
    assert runtime.erasure_context("demo").queue is runtime.queues["demo"]
