"""The form in which a Segment event is stored: the raw call and the name of the source that sent it.

Ingest packs events; workers and the console unpack them; `lanes` sees bytes only. The bytes are the JSON object
`{"source", "event", "again"?}`, compressed by zstd with a dictionary of the contexts and names that Segment's libraries
write. This reduces most events to a third or less. Uncompressed JSON can be unpacked too.

`bench/packing.py` trains the dictionary. A zstd frame names the dictionary that it needs. A new dictionary therefore
needs a new id and a new file. This file must stay as long as events that need it are stored.
"""

from __future__ import annotations

import json
import threading
from importlib.resources import files
from typing import Any, Final, NamedTuple

import orjson
from zstandard import ZstdCompressionDict, ZstdCompressor, ZstdDecompressor

JsonObject = dict[str, Any]

_LEVEL: Final = 1
_DICTIONARY = ZstdCompressionDict(files("mapping").joinpath("event-32769.zdict").read_bytes())
_DICTIONARY.precompute_compress(level=_LEVEL)


class _Codec(threading.local):
    """A compressor and a decompressor for each thread: threads must not share them."""

    def __init__(self) -> None:
        self.compress = ZstdCompressor(level=_LEVEL, dict_data=_DICTIONARY).compress
        self.decompress = ZstdDecompressor(dict_data=_DICTIONARY).decompress


_codec = _Codec()


class Unpacked(NamedTuple):
    """The arguments of `pack`."""

    source: str
    event: JsonObject
    again: JsonObject  # of a replayed event: what is kept of its earlier deliveries; else empty


def pack(source: str, event: JsonObject, again: JsonObject | None = None) -> bytes:
    """Return the bytes to store. `again` is for replayed dead letters: `{"accepted_at_ms", "attempts", "original"?,
    "requests"?}`, as in `dead_letters.replay`."""
    received = {"source": source, "event": event}
    return compressed(encoded(received | {"again": again} if again else received))


def as_json(source: str, event: JsonObject) -> bytes:
    """Return the JSON that `pack` compresses; raise TypeError when the event is nested more than 253 levels deep."""
    return orjson.dumps({"source": source, "event": event})


def encoded(value: Any) -> bytes:
    """Return the value as JSON.

    orjson refuses more than 254 levels and integers beyond 64 bits. A stored event may have more levels where it is a
    part of another value, and a mapping may compute such an integer. Python's encoder takes both, up to some 900
    levels. Raises TypeError, ValueError or RecursionError for what neither takes.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def has_more_levels(value: Any, most: int) -> bool:
    """Whether objects and arrays are nested in the value, itself included, in more than `most` levels."""
    level = [value]
    for _ in range(most + 1):
        level = [container for container in level if type(container) in (dict, list)]
        if not level:
            return False
        level = [inner for outer in level for inner in (outer.values() if type(outer) is dict else outer)]
    return True


def compressed(stored: bytes) -> bytes:
    """Return the JSON of `as_json` compressed, as it is stored."""
    return _codec.compress(stored)


def unpack(body: bytes) -> Unpacked:
    """Return what `pack` was given, from compressed or uncompressed bytes."""
    received = orjson.loads(body if body.startswith(b"{") else _codec.decompress(body))
    return Unpacked(received["source"], received["event"], received.get("again", {}))


def message_key(source: str, event: JsonObject) -> str:
    """Return the key for deduplication: the message id, which is unique within its source."""
    return f"{source}:{event.get('messageId')}"
