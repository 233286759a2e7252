"""The page on moving: the transformations for RudderStack decide as Segue does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

import mapping
from ingest.access.sources import Source
from ingest.calls import EVENT_PATHS, Calls
from ingest.counters import Counters
from settings import Settings
from tests.secrets import CREDENTIALS
from tests.unit.ingest.json_entries import json_entries

PAGE = (Path(__file__).parents[2] / "docs/moving.md").read_text(encoding="utf-8")
ADD_PATH, DROP = re.findall(r"^```js\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
MOMENT = datetime(2026, 12, 1, 10, tzinfo=UTC)
NOW = datetime(2026, 12, 1, 11, tzinfo=UTC)
# As RudderStack writes it: in the zone of its server, without zeros at the end of the milliseconds.
RECEIVED_AT = [
    "2026-12-01T09:59:59.999Z",
    "2026-12-01T10:00:00Z",
    "2026-12-01T10:00:00.01Z",
    "2026-12-01T15:29:59.999+05:30",
    "2026-12-01T15:30:00+05:30",
    "2026-11-30T23:59:00.5Z",
    "2027-01-01T00:00:00Z",
]


def transformed(script: str, events: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return the events that a transformation of RudderStack returns."""
    run = "for (const event of JSON.parse(process.argv[2])) console.log(JSON.stringify(transformEvent(event)) ?? '');"
    file = folder / "transformation.mjs"
    file.write_text(f"{script}\n{run}\n", encoding="utf-8")
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is missing")
    lines = subprocess.run([node, file, json.dumps(events)], capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in lines.splitlines() if line]


@pytest.mark.parametrize("type_", ["identify", "track", "page", "screen", "group", "alias"])
def test_an_event_of_rudderstack_is_dropped_there_exactly_when_segue_sends_it(type_: str, tmp_path: Path) -> None:
    destinations = mapping.destinations({"destinations": {"d": {**CREDENTIALS, "cutover_at": MOMENT}}})
    source = Source(name="rudder", write_key="w", trust="server", destinations=["d"])
    calls = Calls([source], json_entries, Counters(), Settings(), destinations)
    members = {"type": type_, "event": "Bought", "name": "Home", "userId": "1", "previousId": "2", "groupId": "g"}
    events = [members | {"messageId": time, "receivedAt": time, "channel": "web"} for time in RECEIVED_AT]

    kept = {event["messageId"] for event in transformed(DROP, events, tmp_path)}
    sent = set()
    for event in transformed(ADD_PATH, events, tmp_path):
        path = event.pop("appendPath").removeprefix("/")
        assert path in EVENT_PATHS
        ((entry,),) = calls.read_call(path, "Bearer w", json.dumps(event).encode(), NOW).entries
        stored = orjson.loads(entry.body)
        cutover = destinations["d"].cutover
        assert cutover is not None
        if not cutover.excludes(stored, NOW.timestamp() * 1000):
            sent.add(stored["messageId"])

    assert kept | sent == set(RECEIVED_AT)
    assert not kept & sent
    assert len(sent) == 4
