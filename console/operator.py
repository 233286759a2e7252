"""Who runs a command, for the records that name them."""

from __future__ import annotations

import getpass
import os
import socket


def operator() -> str:
    """Return USER@HOST; the user's number where the user has no name, as in many containers."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
