"""Files of history for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from console.send.inputs import Input


def track(number: int, **members: Any) -> dict[str, Any]:
    """Return an event of 2024, one second after the one of the number before."""
    time = f"2024-01-01T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z"
    event = {"type": "track", "event": f"e{number}", "userId": f"u{number % 7}", "timestamp": time}
    return event | {"messageId": f"m{number}"} | members


def write_lines(path: Path, *records: Any) -> Path:
    """Write JSON lines; a text is written as it is."""
    lines = (each if isinstance(each, str) else json.dumps(each) for each in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def file_of(path: Path, name: str = "a.jsonl", modified_ms: int = 1_700_000_000_000) -> Input:
    """Return an input whose file was written in November 2023."""
    return Input(name, 0, modified_ms, lambda: path.open("rb"))
