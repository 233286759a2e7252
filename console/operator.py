"""The name of the operator, for the records of replays and of privacy requests."""

from __future__ import annotations

import getpass
import os
import socket


def operator() -> str:
    """Return USER@HOST; `user UID@HOST` where the user id has no name, as in many containers."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
