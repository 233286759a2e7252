"""The Segment event as it rests on the queue: the raw call and the name of the source that sent it.

Ingest packs, the deliverer and the operators' tools unpack; what lies between them only sees bytes.
"""

from __future__ import annotations

from typing import Any

import orjson

JsonObject = dict[str, Any]


def pack(source: str, event: JsonObject) -> bytes:
    """Return the bytes that the queue keeps: the JSON object `{"source": …, "event": …}`."""
    return orjson.dumps({"source": source, "event": event})


def unpack(body: bytes) -> tuple[str, JsonObject]:
    """Return the source's name and the event of what `pack` made."""
    received = orjson.loads(body)
    return received["source"], received["event"]
