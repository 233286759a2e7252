"""Destination filters: drop or sample events, block or allow fields, by conditions in the full dialect of FQL."""

from mapping.filters.evaluate import FilterCondition, parse_filter
from mapping.filters.rules import ROOTS, Filter, allow, apply, block, compile_filter, drop, in_order, sample

__all__ = [
    "ROOTS",
    "Filter",
    "FilterCondition",
    "allow",
    "apply",
    "block",
    "compile_filter",
    "drop",
    "in_order",
    "parse_filter",
    "sample",
]
