"""The form in which a Segment event is stored: the raw call and the name of the source that sent it.

Ingest packs events; workers and the console unpack them; `lanes` sees bytes only. The bytes are the JSON object
`{"source", "event", "again"?}`, compressed by zstd with a dictionary of the contexts and names that Segment's libraries
write. This reduces most events to a third or less. Uncompressed JSON can be unpacked too.

`bench/packing.py` trains the dictionary. A zstd frame names the dictionary that it needs. A new dictionary therefore
needs a new id and a new file. This file must stay as long as events that need it are stored.
"""

from __future__ import annotations

import gc
import json
import re
import threading
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

import orjson
from zstandard import ZstdCompressionDict, ZstdCompressor, ZstdDecompressor

JsonObject = dict[str, Any]
EVENT_TYPES: Final = frozenset({"track", "identify", "page", "screen", "group", "alias", "delete"})

# What orjson may encode: from some 150 levels on it writes beyond its buffer (orjson 3.10 to 3.13).
SAFE_LEVELS: Final = 100
_CONTAINERS: Final = frozenset((dict, list, tuple))
# A stored event has one level around it.
TOO_DEEP: Final = f"the event is nested in more than {SAFE_LEVELS - 1} levels"


class TooDeep(Exception):
    """An event has too many levels to be sent."""


_LEVEL: Final = 1
_SOURCE: Final = re.compile(rb'\{"source":("[^"\\]*+(?:\\.[^"\\]*+)*+")')  # how `as_json` begins
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
    requeued: JsonObject  # of a requeued event: what is kept of its earlier deliveries; else empty


def pack(source: str, event: JsonObject, requeued: JsonObject | None = None) -> bytes:
    """Return the bytes to store. `requeued` is for dead letters that are requeued or edited: the JSON of
    `dead_letters.record.RequeueRecord`. It is stored as `again`."""
    received = {"source": source, "event": event}
    return _codec.compress(encoded(received | {"again": requeued} if requeued else received))


def as_json(source: str, event: JsonObject) -> bytes:
    """Return the JSON that `pack` compresses. The event must have less than SAFE_LEVELS levels."""
    return orjson.dumps({"source": source, "event": event})


def utf8_fault(text: bytes) -> str | None:
    """Return why a text is not UTF-8, `it is not UTF-8: byte 3 is 0xff`; None: it is."""
    try:
        text.decode()
    except UnicodeDecodeError as broken:
        return f"it is not UTF-8: byte {broken.start} is {text[broken.start]:#04x}"
    return None


def encoded(value: Any) -> bytes:
    """Return the value as JSON, whatever its depth is.

    Python's encoder takes some 900 levels, and integers beyond 64 bits, which a mapping may compute. Raises TypeError,
    ValueError or RecursionError for what it does not take.
    """
    if not has_more_levels(value, SAFE_LEVELS):
        try:
            return orjson.dumps(value)
        except TypeError:
            pass
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def has_many_brackets(json: bytes, most: int) -> bool:
    """Whether a JSON text has enough opening brackets for more than `most` levels. Most events have ten.

    `replace` searches for a bracket with `memchr`; `count` and `translate` look at every byte.
    """
    return 2 * len(json) - len(json.replace(b"{", b"")) - len(json.replace(b"[", b"")) > most


def may_have_more_levels(values: Sequence[JsonObject], most: int) -> bool:
    """Whether one of the parsed JSON values may be nested in more than `most` levels; False when none is.

    It takes an eighth of the time of `has_more_levels`: the garbage collector finds what is in all values of a level.
    The values must hold nothing but JSON: another instance refers to its class, and a class to most of the process.
    """
    level: Sequence[Any] = values
    for _ in range(most):
        level = gc.get_referents(*level)
        if not level:
            return False
    return True


def has_more_levels(value: Any, most: int) -> bool:
    """Whether objects and arrays are nested in the value, itself included, in more than `most` levels."""
    return type(value) in _CONTAINERS and _is_deeper(value, most)


def _is_deeper(container: Any, most: int) -> bool:
    if not most:
        return True
    for inner in container.values() if type(container) is dict else container:
        if type(inner) in _CONTAINERS and _is_deeper(inner, most - 1):
            return True
    return False


def compressed(stored: Iterable[bytes]) -> list[bytes]:
    """Return each JSON of `as_json` compressed, as it is stored."""
    return [*map(_codec.compress, stored)]


def unpack(body: bytes) -> Unpacked:
    """Return what `pack` was given, from compressed or uncompressed bytes."""
    received = orjson.loads(body if body.startswith(b"{") else _codec.decompress(body))
    return Unpacked(received["source"], received["event"], received.get("again", {}))


def unpack_encodable(body: bytes) -> tuple[str, JsonObject, JsonObject]:
    """Return what `unpack` does, as a plain tuple. Raises TooDeep for an event that orjson must not encode.

    Ingest accepts no such event; older versions did.
    """
    stored = body if body.startswith(b"{") else _codec.decompress(body)
    received = orjson.loads(stored)
    if has_many_brackets(stored, SAFE_LEVELS) and has_more_levels(received, SAFE_LEVELS):
        raise TooDeep(TOO_DEEP)
    return received["source"], received["event"], received.get("again", {})


def plain(body: bytes) -> bytes:
    """Return the JSON that `pack` compressed, from compressed or uncompressed bytes."""
    return body if body.startswith(b"{") else _codec.decompress(body)


def source_of(body: bytes) -> str:
    """Return the source that `pack` was given. The event is not parsed, which takes most of the time of `unpack`."""
    head = _SOURCE.match(plain(body))
    return str(orjson.loads(head[1])) if head else unpack(body).source


def readable(body: bytes) -> tuple[str, JsonObject]:
    """Return the source and the event that `pack` was given; empty ones for bytes that cannot be read. Never raises."""
    try:
        source, event, _ = unpack(body)
        return source, event if isinstance(event, dict) else {}
    except Exception:
        return "", {}


def name_of(event: JsonObject) -> str:
    """Return the name of a track, a page or a screen; empty without one. What is no text is content, and no name."""
    return next((each for each in (event.get("event"), event.get("name")) if each and isinstance(each, str)), "")


def type_of(event: JsonObject) -> str | None:
    """Return the type of an event; None without one. A type that Segment does not know is content: `…`."""
    kind = event.get("type")
    if not kind:
        return None
    return kind if isinstance(kind, str) and kind in EVENT_TYPES else "…"


def readable_source(body: bytes) -> str:
    """Return what `source_of` does; an empty text for bytes that cannot be read. Never raises."""
    try:
        return source_of(body)
    except Exception:
        return ""


def message_key(source: str, event: JsonObject) -> str:
    """Return the key for deduplication: the message id, which is unique within its source."""
    return f"{source}:{event.get('messageId')}"


def readable_message_key(body: bytes) -> str:
    """Return the message key of the event that `pack` was given; `:` for bytes that cannot be read. Never raises."""
    try:
        source, event, _ = unpack(body)
        return message_key(source, event)
    except Exception:
        return ":"
