"""An event at rest: what is packed is read again, also what was packed before there was compression."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import orjson
import zstandard

from mapping.envelope import pack, unpack

EVENT = {"type": "track", "event": "Größe", "context": {"library": {"name": "analytics.js", "version": "1"}}}


def test_what_is_packed_is_a_fraction_of_it_and_unpacked_the_same() -> None:
    event = {**EVENT, "messageId": "m1", "properties": {"order_id": 1, "n": [None, True, 1.5, ""]}}

    body = pack("web", event)

    assert unpack(body) == ("web", event, {})
    assert len(body) < 0.8 * len(orjson.dumps(event))


def test_what_was_packed_without_compression_is_still_read() -> None:
    assert unpack(orjson.dumps({"source": "web", "event": EVENT})) == ("web", EVENT, {})


def test_a_body_names_its_dictionary_so_that_another_may_follow() -> None:
    assert zstandard.get_frame_parameters(pack("web", EVENT)).dict_id == 32769


def test_threads_pack_and_unpack_at_the_same_time() -> None:
    """One compressor in two threads at once would crash the process or mix their events."""
    events = [{"type": "track", "n": n, "text": str(n) * 1000} for n in range(2000)]

    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(lambda event: unpack(pack("web", event)), events))

    assert read == [("web", event, {}) for event in events]
