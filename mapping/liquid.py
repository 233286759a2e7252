"""`@liquid`."""

from __future__ import annotations

from typing import Any

from mapping.errors import FailedDirective
from mapping.paths import Resolver


def compile_liquid(option: Any) -> Resolver:
    def fail(_event: Any) -> Any:
        raise FailedDirective("liquid is not there yet")

    return fail
