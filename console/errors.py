"""What ends a command: one clear text on stderr, and the exit code 2."""

from __future__ import annotations


class CommandError(Exception):
    """The command cannot do what it was asked; the message says why and what would help."""
