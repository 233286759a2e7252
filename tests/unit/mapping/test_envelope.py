"""Stored events: packing and unpacking, with and without compression."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
import zstandard

from mapping.envelope import pack, source_of, unpack

EVENT = {"type": "track", "event": "Größe", "context": {"library": {"name": "analytics.js", "version": "1"}}}


def test_packing_compresses_and_unpacking_restores() -> None:
    event = {**EVENT, "messageId": "m1", "properties": {"order_id": 1, "n": [None, True, 1.5, ""]}}

    body = pack("web", event)

    assert unpack(body) == ("web", event, {})
    assert len(body) < 0.8 * len(orjson.dumps(event))


def test_uncompressed_bytes_can_be_unpacked() -> None:
    assert unpack(orjson.dumps({"source": "web", "event": EVENT})) == ("web", EVENT, {})


@pytest.mark.parametrize("source", ["web", "größe", 'a"b', "a\\", ""])
def test_the_source_is_read_without_the_event(source: str) -> None:
    assert source_of(pack(source, EVENT)) == source
    assert source_of(orjson.dumps({"source": source, "event": EVENT})) == source
    assert source_of(orjson.dumps({"event": EVENT | {"source": "event"}, "source": source})) == source


def test_packed_bytes_name_their_dictionary() -> None:
    assert zstandard.get_frame_parameters(pack("web", EVENT)).dict_id == 32769


def test_threads_can_pack_and_unpack_concurrently() -> None:
    """A compressor that two threads share would crash the process or mix their events."""
    events = [{"type": "track", "n": n, "text": str(n) * 1000} for n in range(2000)]

    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(lambda event: unpack(pack("web", event)), events))

    assert read == [("web", event, {}) for event in events]
