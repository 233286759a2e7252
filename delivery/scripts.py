"""The Lua scripts of delivery, one file each in `lua/`: what all workers of a destination have to agree on at once.

They are composed and run as those of the lanes are (`lanes/scripts.py`), and use the same keys, numbers and pieces. The
pieces of their own are in `lua/lib`.
"""

from __future__ import annotations

from typing import Any

from lanes import Queue, scripts


def run(queue: Queue, verb: str, *arguments: scripts.Argument) -> Any:
    """Return the raw reply of the script in `lua/VERB.lua`; raise `lanes.ScriptError` when it fails."""
    return scripts.run_script(queue.client, scripts.load("delivery", verb), queue.base, arguments)
