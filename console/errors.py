"""The error that ends a command: one text on stderr and the exit code 2."""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot be carried out. The message gives the reason and what the operator can do."""
