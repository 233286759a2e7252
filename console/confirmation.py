"""The question before something is removed for good."""

from __future__ import annotations

import sys

from console.errors import CommandError


def confirm(what: str, done: str, yes: bool) -> bool:
    """Return whether the operator agrees that `what`, such as "3 dead letters", is `done`, such as "removed".

    Raises CommandError: stdin is not a terminal and `yes` is false.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise CommandError(f"{what} would be {done}; without a terminal, --yes is required")
    return input(f"{what} will be {done} for good. Continue? [y/N] ").strip().lower() in ("y", "yes")
