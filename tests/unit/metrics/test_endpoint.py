"""The port of the metrics: each process of a machine finds a free one, and a wrong host stops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

import pytest

from metrics import endpoint
from metrics.figures import Role
from tests.logged import logged
from tests.pipeline import free_port


@contextmanager
def served(role: Role, first_port: int) -> Iterator[int]:
    server = endpoint.serve("127.0.0.1", first_port, endpoint.of_process(role))
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def scrape(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return str(response.read(), "utf-8")


def test_processes_with_the_same_setting_take_the_next_free_ports() -> None:
    first = free_port()

    with served("ingest", first) as of_ingest, served("worker", first) as of_worker:
        assert of_ingest != of_worker
        assert 'segue_process_info{role="ingest"' in scrape(of_ingest)
        assert 'segue_process_info{role="worker"' in scrape(of_worker)
        assert "process_resident_memory_bytes" in scrape(of_worker)
        assert "python_gc_collections_total" in scrape(of_worker)


def test_a_process_that_cannot_listen_works_without_metrics(caplog: pytest.LogCaptureFixture) -> None:
    assert endpoint.start("worker", "192.0.2.1", free_port()) is None

    assert [line["event"] for line in logged(caplog)] == ["metrics_unserved"]


def test_without_a_port_nothing_is_served() -> None:
    assert endpoint.start("worker", "127.0.0.1", None) is None
