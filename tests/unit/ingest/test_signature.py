"""Segment's signature: of the whole body, or of the raw first element of an array."""

from __future__ import annotations

import hmac

import pytest

from ingest.signature import is_signed, signed_text

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
def test_the_raw_first_element_of_an_array_is_signed(body: bytes, first: bytes) -> None:
    assert signed_text(body) == first
    assert is_signed(body, sign(first), SECRET)
    assert not is_signed(body, sign(body), SECRET)


@pytest.mark.parametrize("body", [b"[", b"[]", b"[nope]", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_json_has_no_valid_signature(body: bytes) -> None:
    assert not is_signed(body, sign(body), SECRET)
