"""Segment's signature: of the whole body, or else of the raw first element of an array."""

from __future__ import annotations

import hmac

import pytest

from ingest.access.signature import first_element, signed_part
from tests.secrets import WEBHOOK_SECRET

SECRET = WEBHOOK_SECRET


def sign(text: bytes) -> str:
    return hmac.new(SECRET.encode(), text, "sha1").hexdigest()


def test_the_raw_text_of_a_single_event_is_signed() -> None:
    body = b' {"type": "track",  "event": "x"}\n'

    assert signed_part(body, sign(body), SECRET) == "body"
    assert signed_part(body, sign(body).upper(), SECRET) == "body"
    assert signed_part(body, sign(body.strip()), SECRET) is None
    assert signed_part(body, "", SECRET) is None
    assert signed_part(body, sign(body), "another") is None


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
    assert signed_part(body, sign(first), SECRET) == "first"
    assert signed_part(body, sign(body), SECRET) == "body"
    assert signed_part(body, sign(first + b" "), SECRET) is None


def test_a_byte_order_mark_belongs_to_no_element() -> None:
    assert first_element(b"\xef\xbb\xbf[1, 2]") == b"1"


@pytest.mark.parametrize("body", [b"[", b"[]", b"[nope]", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}'])
def test_only_an_array_of_json_has_a_first_element(body: bytes) -> None:
    assert first_element(body) is None
    assert signed_part(body, sign(b""), SECRET) is None
    assert signed_part(body, sign(body[1:]), SECRET) is None


def test_bytes_that_are_not_utf_8_are_signed_as_a_whole() -> None:
    assert signed_part(b"\xff\xfe", sign(b"\xff\xfe"), SECRET) == "body"
