"""The process of `segue metrics` loads the configuration file when others do, all or nothing."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import pytest
import redis

from console.configured import name_of
from console.errors import CommandError
from console.exporter import process as exporting
from console.exporter.process import Exporter
from lanes import configurations
from metrics import endpoint
from settings import Settings
from tests.pipeline import configuration
from tests.queues import unavailable


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "segue.toml"
    path.write_text(configuration("first"))
    monkeypatch.setenv("SEGUE_CONFIG", str(path))
    return path


def test_a_changed_file_is_loaded_on_request(redis_client: redis.Redis, file: Path) -> None:
    exporter, signalled = Exporter(redis_client, Settings.load()), threading.Event()
    exporter.follow(signalled)
    file.write_text(configuration("second"))

    exporter.follow(signalled)
    assert list(exporter.collector.configuration.destinations) == ["first"], "nothing was requested"
    request = configurations.request_load(redis_client)
    exporter.follow(signalled)

    assert list(exporter.collector.configuration.destinations) == ["second"]
    (process,) = configurations.running(redis_client)
    assert (process.name, process.request, process.fault) == (name_of("metrics", os.getpid()), request, None)
    assert process.configuration == exporter.collector.configuration.digest


@pytest.mark.parametrize("document", ["[destinations.first]\n", "sources = 1\ndestinations = 2\n"])
def test_a_wrong_file_changes_nothing(redis_client: redis.Redis, file: Path, document: str) -> None:
    exporter, signalled = Exporter(redis_client, Settings.load()), threading.Event()
    file.write_text(document)
    signalled.set()

    exporter.follow(signalled)

    assert list(exporter.collector.configuration.destinations) == ["first"]
    (process,) = configurations.running(redis_client)
    assert process.fault
    assert not signalled.is_set()


@pytest.mark.usefixtures("file")
def test_without_redis_the_process_goes_on() -> None:
    exporter, signalled = Exporter(unavailable(), Settings.load()), threading.Event()
    signalled.set()

    exporter.follow(signalled)

    assert signalled.is_set(), "the request stands"


@pytest.mark.parametrize(
    ("host", "setting"),
    [
        ("192.0.2.1", "SEGUE_METRICS_HOST"),
        ("console.invalid", "SEGUE_METRICS_HOST"),
        ("127.0.0.1", "SEGUE_METRICS_PORT"),
    ],
    ids=["address of another machine", "no such name", "port in use"],
)
@pytest.mark.usefixtures("file")
def test_the_setting_is_named_when_it_cannot_listen(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, host: str, setting: str
) -> None:
    monkeypatch.setattr(endpoint, "PORTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(metrics_host=host, metrics_port=taken.getsockname()[1])

        with pytest.raises(CommandError, match=f"; set {setting}$"):
            exporting._serve(settings, Exporter(redis_client, settings).collector)


@pytest.mark.usefixtures("file")
def test_a_port_that_only_root_may_take_is_a_fault_of_the_port(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(endpoint, "serve", refuse)
    settings = Settings(metrics_port=80)

    with pytest.raises(CommandError, match=r"Permission denied; set SEGUE_METRICS_PORT$"):
        exporting._serve(settings, Exporter(redis_client, settings).collector)
