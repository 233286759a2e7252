"""The process of `segue console`: it serves the pages, and loads the configuration again as other processes do."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import metadata
from typing import Any, Final

import redis
import uvicorn

import mapping
from console.local.programs import probe_port, url
from console.session import Session
from console.web import app, users
from console.web.pages import transfers
from console.web.state import State
from ingest.serving.connections import Connections
from ingest.serving.limits import Limits
from ingest.serving.protocol import Protocol
from lanes import configurations
from lanes.server.redis_url import address
from logs import events as log
from logs import output
from settings import SettingsError, digest

_TICK_S: Final = 1.0
_MOST_CONNECTIONS: Final = 200
_IDLE_S: Final = 10.0
_BODY_S: Final = 300.0  # for an import over a slow line


def name_of(pid: int) -> str:
    """Return the name under which the process with this number on this machine reports its configuration."""
    return f"console-{pid}@{socket.gethostname()}"


def run(session: Session) -> None:
    """Serve the pages until SIGINT or SIGTERM. SIGHUP loads the configuration file again.

    Raises CommandError: the settings are not safe, or the process cannot listen.
    """
    settings = session.settings
    users.ensure_safe(settings)
    probe_port(
        settings.console_host,
        settings.console_port,
        host_setting="SEGUE_CONSOLE_HOST",
        port_setting="SEGUE_CONSOLE_PORT",
    )
    output.configure(settings.process_name or "console", settings.log_format, settings.log_level)
    task = ReloadTask(State(session))
    signal.signal(signal.SIGHUP, lambda *_: task.signalled.set())
    server = _server(task.state)
    log.PROCESS_STARTED.write(
        version=metadata.version("segue"),
        configuration=digest(settings.document()),
        redis=address(settings.redis_url),
        listens=url(settings.console_host, settings.console_port),
    )
    thread = threading.Thread(target=task.run, name="reload", daemon=True)
    thread.start()
    threading.Thread(target=task.state.count_dead_letters, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # uvicorn raises them a second time when it has stopped
    # What is loaded stays. A page reads many small objects without cycles, which are gone with it.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    server.run()
    task.stop()
    thread.join()
    log.PROCESS_STOPPED.write()


def _server(state: State) -> uvicorn.Server:
    """Return the server of the pages, which tells the state when it is about to stop."""
    settings = state.session.settings
    # All connections may come from one address, that of a proxy: an address has no limit of its own.
    limits = Limits(
        _MOST_CONNECTIONS,
        connections_per_address=_MOST_CONNECTIONS + 1,
        idle_s=_IDLE_S,
        body_s=_BODY_S,
        request_bytes=2 * transfers.MOST_BODY,  # an import is longer than a request of ingest
    )
    connect: Any = partial(Protocol, Connections(limits))  # uvicorn calls it as the class of its connections
    config = uvicorn.Config(
        app.create(state),
        host=settings.console_host,
        port=settings.console_port,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="warning",
        http=connect,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    state.is_stopping = lambda: server.should_exit
    return server


class ReloadTask:
    """Follows requests to load the configuration, in a thread of its own."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.signalled = threading.Event()
        self.process = configurations.Process(name_of(os.getpid()), digest(state.session.document))
        self._stopping = threading.Event()

    def run(self) -> None:
        """Follow until `stop`."""
        while not self._stopping.is_set():
            try:
                self.follow()
            except redis.RedisError:
                pass  # the pages say so
            except Exception as error:
                log.unhandled("following the configuration", error)
            self._stopping.wait(_TICK_S)
        with suppress(redis.RedisError):
            configurations.forget(self.state.session.client, self.process)

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    def follow(self) -> None:
        """Report the configuration of this process, and load the file if that was requested. Raises RedisError."""
        client, process = self.state.session.client, self.process
        request = configurations.report(client, process)
        if request != process.request or self.signalled.is_set():
            self.signalled.clear()
            process.fault, process.request = self._load(), request
            configurations.report(client, process)

    def _load(self) -> str | None:
        """Load the file; return why it was refused, None when this process uses it."""
        session = replace(self.state.session)  # which reads the file again
        try:
            loaded = digest(session.document)
            session.destinations.keys()  # reads the file
        except (mapping.ConfigurationError, SettingsError) as error:
            log.CONFIGURATION_REFUSED.write(reason=error)
            return str(error)
        if loaded != self.process.configuration:
            self.state.use(session)
            log.CONFIGURATION_LOADED.write(configuration=loaded, before=self.process.configuration)
            self.process.configuration = loaded
        return None
