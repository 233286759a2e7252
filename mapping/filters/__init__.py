"""Destination filters: drop, sample, allow or block, on conditions in the fuller dialect of FQL."""
