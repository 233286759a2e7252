"""The subset of Liquid that the `@liquid` directive of the reference supports."""

from mapping.liquid.clock import at, holds_liquid
from mapping.liquid.compiler import DISABLED_FILTERS, DISABLED_TAGS, MAX_LENGTH, check_liquid, compile_liquid

__all__ = ["DISABLED_FILTERS", "DISABLED_TAGS", "MAX_LENGTH", "at", "check_liquid", "compile_liquid", "holds_liquid"]
