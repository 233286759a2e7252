"""The lines of the log that a test caused, as the events and fields that were written."""

from __future__ import annotations

from typing import Any

import pytest


def logged(caplog: pytest.LogCaptureFixture, *names: str) -> list[dict[str, Any]]:
    """Return the fields of each line, with its event as `event`; only of the events `names`, if there are any."""
    lines = [record.msg for record in caplog.records if record.name == "segue" and isinstance(record.msg, dict)]
    found = [{name: value for name, value in line.items() if value is not None} for line in lines]
    return [line for line in found if not names or line["event"] in names]
