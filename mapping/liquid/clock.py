"""The time that `now` and `today` stand for in a template: handed in with each event, since `mapping` reads no clock.

A context variable carries it from the caller of a mapping to the one filter that needs it. The resolvers in between
take an event and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_time_s: ContextVar[float] = ContextVar("time_s")


@contextmanager
def at(time_s: float) -> Iterator[None]:
    """Render templates at this time, in Unix seconds."""
    token = _time_s.set(time_s)
    try:
        yield
    finally:
        _time_s.reset(token)


def time_s() -> float:
    """Return the time of the enclosing `at`; raises LookupError outside of one."""
    return _time_s.get()


def holds_liquid(mapping: Any) -> bool:
    """Whether a mapping has a template anywhere, so that it may depend on the time."""
    if type(mapping) is dict:
        return "@liquid" in mapping or any(map(holds_liquid, mapping.values()))
    return type(mapping) is list and any(map(holds_liquid, mapping))
