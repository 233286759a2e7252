"""Segment's signature: of the whole body, or else of the raw first element of an array."""

from __future__ import annotations

import hmac

import pytest

from ingest.signature import first_element, is_signed

SECRET = "s3cret"


def sign(text: bytes) -> str:
    return hmac.new(SECRET.encode(), text, "sha1").hexdigest()


def test_the_raw_text_of_a_single_event_is_signed() -> None:
    body = b' {"type": "track",  "event": "x"}\n'

    assert is_signed(body, sign(body), SECRET)
    assert is_signed(body, sign(body).upper(), SECRET)
    assert not is_signed(body, sign(body.strip()), SECRET)
    assert not is_signed(body, "", SECRET)
    assert not is_signed(body, sign(body), "another")


@pytest.mark.parametrize(
    ("body", "first"),
    [
        (b'[{"a": 1},{"b": 2}]', b'{"a": 1}'),
        (b' [ \n {"a":  [1, "]"]} , 2]', b'{"a":  [1, "]"]}'),
        ('[{"é": "\\u00e9"}]'.encode(), '{"é": "\\u00e9"}'.encode()),
        (b"[1]", b"1"),
    ],
)
def test_an_array_is_signed_as_a_whole_or_by_its_raw_first_element(body: bytes, first: bytes) -> None:
    assert first_element(body) == first
    assert is_signed(body, sign(first), SECRET)
    assert is_signed(body, sign(body), SECRET)
    assert not is_signed(body, sign(first + b" "), SECRET)


def test_a_byte_order_mark_belongs_to_no_element() -> None:
    assert first_element(b"\xef\xbb\xbf[1, 2]") == b"1"


@pytest.mark.parametrize("body", [b"[", b"[]", b"[nope]", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}'])
def test_only_an_array_of_json_has_a_first_element(body: bytes) -> None:
    assert first_element(body) is None
    assert not is_signed(body, sign(b""), SECRET)
    assert not is_signed(body, sign(body[1:]), SECRET)


def test_bytes_that_are_not_utf_8_are_signed_as_a_whole() -> None:
    assert is_signed(b"\xff\xfe", sign(b"\xff\xfe"), SECRET)
