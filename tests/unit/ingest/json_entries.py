"""Entries for tests of `Calls`: they hold the events as JSON, without ordering keys."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

import lanes
from ingest.access.sources import Source
from ingest.calls import Entries
from mapping.envelope import JsonObject


def json_entries(
    source: Source, events: Sequence[JsonObject], _packed: Sequence[bytes], _ranks: Sequence[bytes]
) -> list[Entries]:
    """Return an entry for each event. Its message id is the name of the source."""
    return [(lanes.NewEvent(orjson.dumps(event), (), source.name),) for event in events]
