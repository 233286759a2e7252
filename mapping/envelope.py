"""The Segment event as it rests on the queue: the raw call and the name of the source that sent it.

Ingest packs, the deliverer and the operators' tools unpack; what lies between them only sees bytes. These are the JSON
object `{"source": …, "event": …}` compressed by zstd, with a dictionary of what Segment's libraries write: contexts and
names repeat from event to event, so that a third or less is left. Events that were packed without it stay readable.

`bench/packing.py` trains the dictionary. A frame names the one it was made with, so a new one gets a new id and a file
of its own, and this one stays as long as events of it rest.
"""

from __future__ import annotations

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
    """A compressor and a decompressor for each thread: they must not be shared."""

    def __init__(self) -> None:
        self.compress = ZstdCompressor(level=_LEVEL, dict_data=_DICTIONARY).compress
        self.decompress = ZstdDecompressor(dict_data=_DICTIONARY).decompress


_codec = _Codec()


class Unpacked(NamedTuple):
    """What `pack` was given."""

    source: str
    event: JsonObject
    again: JsonObject  # what a replayed event brings along from the time before; else nothing


def pack(source: str, event: JsonObject, again: JsonObject | None = None) -> bytes:
    """Return the bytes that the queue keeps; `again` is for what was a dead letter before."""
    received = {"source": source, "event": event}
    return _codec.compress(orjson.dumps(received | {"again": again} if again else received))


def unpack(body: bytes) -> Unpacked:
    """Return what `pack` made the bytes of, with or without compression."""
    received = orjson.loads(body if body.startswith(b"{") else _codec.decompress(body))
    return Unpacked(received["source"], received["event"], received.get("again", {}))


def message_key(source: str, event: JsonObject) -> str:
    """Return what the event is known by when it comes again: its message id, which is one source's own."""
    return f"{source}:{event.get('messageId')}"
