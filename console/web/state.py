"""What the console keeps between requests: its settings, its connection, and the last figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import Any, Final

import redis

import lanes
from console import status
from console.errors import CommandError
from console.session import Session
from console.state import available
from console.web import cookies
from console.web.groups import Groups
from dead_letters.query import Filter
from lanes.server.checks import Server

_LOSES: Final = "loses"  # of what is no fault, and not safe
_FRESH_S: Final = 1.0  # the figures are gathered again after that
_PATIENCE_S: Final = 5.0  # for which Redis may take to answer a command


class State:
    """The state of one console process. Threads share it."""

    def __init__(self, session: Session) -> None:
        self.session = replace(session, patience_s=_PATIENCE_S)
        self.session.destinations.keys()  # reads the file, which may be another one when a page asks
        self.groups = Groups()
        self.is_stopping: Callable[[], bool] = lambda: False  # whether streams have to end
        self._lock = Lock()
        self._figures: tuple[float, dict[str, Any] | redis.RedisError] | None = None
        self._findings: list[str] = []
        self._secret: bytes | None = None

    @property
    def secret(self) -> bytes:
        """The key that signs cookies. Raises redis.RedisError."""
        if self._secret is None:
            self._secret = cookies.secret(self.session.client)
        return self._secret

    def figures(self) -> dict[str, Any]:
        """Return what `segue status --json` prints, at most a second old. Raises what `status.gather` raises.

        An error of Redis is raised for a second too: a page needs the figures more than once, and waits once.
        """
        with self._lock:
            if self._figures is None or time.monotonic() - self._figures[0] > _FRESH_S:
                found = self._gathered()
                self._figures = (time.monotonic(), found)
            figures = self._figures[1]
            if isinstance(figures, redis.RedisError):
                raise figures.with_traceback(None)
            return figures

    def _gathered(self) -> dict[str, Any] | redis.RedisError:
        try:
            figures = status.gather(self.session)
            available.raise_first(figures)
            found = Server.of(self.session.client).findings()
            self._findings = [finding.text for finding in found if finding.is_fault or _LOSES in finding.text]
        except redis.RedisError as error:
            return error
        return figures

    def findings(self) -> list[str]:
        """Return what makes the Redis unsafe, as it was when the figures were gathered. Call `figures` first."""
        return self._findings

    def count_dead_letters(self) -> None:
        """Have the dead letters of every destination counted, where that takes long, before a page asks for them."""
        with suppress(redis.RedisError, lanes.QueueError, CommandError):  # the pages say so
            for queue in self.session.queues(self.session.destinations):
                self.groups.latest(queue, Filter())

    def forget_figures(self) -> None:
        """Have the figures gathered again: something was changed."""
        with self._lock:
            self._figures = None

    def use(self, session: Session) -> None:
        """Use another session from now on: the configuration was loaded again."""
        self.session = session
        self.forget_figures()
