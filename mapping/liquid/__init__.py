"""The subset of Liquid that the `@liquid` directive of the reference supports.

The engine is imported when the first template is compiled: that takes a third of the import of `mapping`, and most
configurations have no template.
"""

from __future__ import annotations

from typing import Any

from mapping.liquid.clock import at, holds_liquid
from mapping.paths import Resolver

__all__ = ["at", "compile_liquid", "disabled_filters", "holds_liquid"]


def compile_liquid(template: Any) -> Resolver:
    """Return the renderer of a template as `compiler.compile_liquid` does."""
    from mapping.liquid import compiler

    return compiler.compile_liquid(template)


def disabled_filters(template: str) -> list[str]:
    """Return the names of the disabled filters that a valid template has. It fails where it uses one."""
    from mapping.liquid import compiler

    return compiler.disabled_filters(template)
