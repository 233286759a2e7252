"""A worker loads the configuration again on request: all of it, or nothing."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import fakeredis
import pytest
import redis
from celery.exceptions import Ignore

from delivery import admission
from lanes import configurations
from settings import Settings
from tests.pipeline import configuration
from tests.secrets import CREDENTIALS_TOML
from workers import deliverer, heartbeat, tasks
from workers import runtime as runtimes


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "segue.toml"
    file.write_text(configuration("one"))
    client = fakeredis.FakeStrictRedis()
    monkeypatch.setattr(runtimes, "settings", Settings(config=file))
    monkeypatch.setattr(runtimes, "_runtime", None)
    monkeypatch.setattr(runtimes, "_connect", lambda _url: client)
    monkeypatch.setattr(runtimes, "_process", configurations.Process(heartbeat.NAME))
    monkeypatch.setattr(runtimes, "_signalled", threading.Event())
    return file


def report() -> configurations.Process:
    (process,) = configurations.running(runtimes.runtime().client)
    return process


def test_a_worker_reports_its_configuration_and_loads_a_changed_file_on_request(file: Path) -> None:
    before = runtimes.runtime()
    runtimes.follow_requests()
    assert report() == configurations.Process(heartbeat.NAME, before.configuration)

    file.write_text(configuration("one", region="eu") + "[destinations.two]\n" + CREDENTIALS_TOML)
    runtimes.follow_requests()
    assert runtimes.runtime() is before

    request = configurations.request_load(before.client)
    runtimes.follow_requests()

    after = runtimes.runtime()
    assert after.destinations["one"].region == "eu"
    assert after.queues.keys() == {"one", "two"}
    assert report() == configurations.Process(heartbeat.NAME, after.configuration, request)
    assert (after.leases, after.slots["one"], after.poll_locks["one"]) == (
        before.leases,
        before.slots["one"],
        before.poll_locks["one"],
    )


def test_an_unchanged_file_changes_nothing(file: Path) -> None:
    before = runtimes.runtime()
    file.write_text(f"# a comment\n{file.read_text()}")
    configurations.request_load(before.client)

    runtimes.follow_requests()

    assert runtimes.runtime() is before
    assert report().request == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[destinations", "is not TOML"),
        (configuration("one", region="mars"), "destinations.one.region: is 'mars'"),
        (configuration("one", delivery={"remember_days": 7}), "join_s"),
        (f"[sources]\nweb = 5\n{configuration('one')}", "has no attribute"),
    ],
)
def test_a_worker_keeps_its_configuration_when_the_file_is_wrong(text: str, fault: str, file: Path) -> None:
    before = runtimes.runtime()
    file.write_text(text)
    request = configurations.request_load(before.client)

    runtimes.follow_requests()

    assert runtimes.runtime() is before
    assert report().configuration == before.configuration
    assert report().request == request
    assert fault in (report().fault or "")


def test_a_request_stands_while_redis_is_unavailable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = runtimes.runtime()
    file.write_text(configuration("one", region="eu"))
    configurations.request_load(before.client)

    with monkeypatch.context() as patched:
        patched.setattr(admission, "begin", lambda *_: (_ for _ in ()).throw(redis.ConnectionError("away")))
        with pytest.raises(redis.ConnectionError):
            runtimes.follow_requests()
    assert runtimes.runtime() is before

    runtimes.follow_requests()
    assert runtimes.runtime().destinations["one"].region == "eu"


def test_sighup_has_the_next_tick_load_the_file(file: Path) -> None:
    previous = signal.getsignal(signal.SIGHUP)
    try:
        runtimes.load_on_signal()
        runtimes.runtime()
        file.write_text(configuration("one", region="eu"))
        signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, previous)

    runtimes.follow_requests()

    assert runtimes.runtime().destinations["one"].region == "eu"


def test_a_deliverer_of_the_old_configuration_ends_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = runtimes.runtime()
    wakeups: list[str] = []
    monkeypatch.setattr(deliverer, "wake", wakeups.append)
    monkeypatch.setattr(deliverer, "deliver_once", lambda *_, **__: pytest.fail("it claims events"))
    file.write_text(configuration("one", region="eu"))
    runtimes.reload()

    deliverer.deliver(before, "one")

    assert wakeups == ["one"]


@pytest.mark.usefixtures("file")
def test_a_wake_up_of_a_destination_that_is_gone_is_ignored() -> None:
    with pytest.raises(Ignore):
        tasks.deliver("gone")
