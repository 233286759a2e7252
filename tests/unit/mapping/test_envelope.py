"""Stored events: packing and unpacking, with and without compression."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
import zstandard

from mapping.envelope import (
    TooDeep,
    encoded,
    has_more_levels,
    may_have_more_levels,
    pack,
    readable_message_key,
    readable_source,
    source_of,
    unpack,
    unpack_encodable,
)

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


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"neither JSON nor Zstandard", b'{"source": "web"}'])
def test_bytes_that_cannot_be_read_have_no_message_key(body: bytes) -> None:
    assert readable_message_key(body) == ":"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"neither JSON nor Zstandard"])
def test_bytes_that_cannot_be_read_have_no_source(body: bytes) -> None:
    assert readable_source(body) == ""


def test_bytes_that_can_be_read_have_a_source_and_a_message_key() -> None:
    body = pack("web", EVENT | {"messageId": "m1"})

    assert readable_source(body) == "web"
    assert readable_message_key(body) == "web:m1"


def test_packed_bytes_name_their_dictionary() -> None:
    assert zstandard.get_frame_parameters(pack("web", EVENT)).dict_id == 32769


def test_threads_can_pack_and_unpack_concurrently() -> None:
    """A compressor that two threads share would crash the process or mix their events."""
    events = [{"type": "track", "n": n, "text": str(n) * 1000} for n in range(2000)]

    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(lambda event: unpack(pack("web", event)), events))

    assert read == [("web", event, {}) for event in events]


def nested(levels: int, shape: str) -> Any:
    """Return a value of so many levels. orjson writes beyond its buffer for the second shape, from 150 levels on."""
    value: Any = []
    for _ in range(levels - 1):
        value = {"a": value} if shape == "objects" else ["before", value, 1e300, None]
    return value


@pytest.mark.parametrize("shape", ["objects", "arrays with numbers"])
@pytest.mark.parametrize("levels", [1, 99, 100, 101, 150, 200, 253, 300, 800])
def test_a_value_of_any_depth_is_encoded(levels: int, shape: str) -> None:
    value = nested(levels, shape)

    assert has_more_levels(value, levels - 1)
    assert not has_more_levels(value, levels)
    assert not has_more_levels((1, "x"), 1)
    assert orjson.loads(encoded({"value": value})) == {"value": value}


@pytest.mark.parametrize("last", [{}, [], {"x": 1}, [1], {"x": [1]}, [{"x": 1}]])
@pytest.mark.parametrize("shape", ["objects", "arrays with numbers"])
def test_parsed_values_are_told_apart_by_their_levels(shape: str, last: Any) -> None:
    """Only values of exactly `most` levels, or with one level less, may count as deeper."""
    around = nested(60, shape)
    text = orjson.dumps(around).replace(b"[]", orjson.dumps(last))
    event = orjson.loads(b'{"few": {"a": 1}, "in": %b, "id": "x"}' % text)
    levels = next(most for most in range(100) if not has_more_levels(event, most))

    assert all(may_have_more_levels([{"a": 1}, event], most) for most in range(1, levels))
    assert not any(may_have_more_levels([{"a": 1}, event], most) for most in range(levels + 1, 100))
    assert not may_have_more_levels([], 10)


def test_an_integer_beyond_64_bits_is_encoded() -> None:
    assert encoded({"n": 10**30}) == b'{"n":1000000000000000000000000000000}'


@pytest.mark.parametrize("value", [{"n": float("nan")}, {"text": "\ud83d"}, {"x": object()}])
def test_what_no_json_has_is_refused_or_null(value: dict[str, Any]) -> None:
    if "n" in value:
        assert encoded(value) == b'{"n":null}'
    else:
        with pytest.raises((TypeError, ValueError)):
            encoded(value)


@pytest.mark.parametrize("levels", [99, 100, 253])
def test_a_stored_event_of_too_many_levels_is_not_unpacked_for_sending(levels: int) -> None:
    body = pack("web", nested(levels, "objects"))

    assert unpack(body).event == nested(levels, "objects")
    if levels < 100:
        assert unpack_encodable(body) == unpack(body)
    else:
        with pytest.raises(TooDeep, match="the event is nested in more than 99 levels"):
            unpack_encodable(body)
