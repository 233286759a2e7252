"""Bodies: what JSON allows and the fast parser refuses or rounds, broken batches, and compression."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from functools import partial
from typing import Any

import orjson
import pytest

from ingest import bodies, partial_json
from ingest.bodies import MAX_BODY_BYTES, parsed, parsed_or_partly
from ingest.errors import Refusal
from ingest.events import MAX_BATCH_EVENTS
from ingest.partial_json import Unreadable

GOOD = b'{"type":"track","event":"x","userId":"1"}'
EVENT = orjson.loads(GOOD)

gzipped = partial(gzip.compress, mtime=0)  # names of tests contain it, and must not depend on the time


def batch(*events: bytes, rest: bytes = b"}") -> bytes:
    return b'{"writeKey":"k","batch":[' + b",".join(events) + b"]" + rest


def read(*pieces: bytes, encoding: str = "") -> bytes:
    pending = list(pieces)

    async def receive() -> dict[str, Any]:
        body = pending.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(pending)}

    return asyncio.run(bodies.read(receive, encoding))


def shown(body: bytes) -> list[Any]:
    """Return the events of a batch; of an unreadable one its message."""
    events = parsed_or_partly(body)["batch"]
    return [event.message if isinstance(event, Unreadable) else event for event in events]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb'"cut \ud83c"', "cut \ufffd"),
        (rb'"\uDE00 \ud83d\ude00 \ud83d\ud83d\ude00"', "\ufffd 😀 \ufffd😀"),
        (rb'{"\ud83d": [{"a": "\udc00"}]}', {"\ufffd": [{"a": "\ufffd"}]}),
        (rb'"\\ud83d \\\ud83d"', "\\ud83d \\\ufffd"),
    ],
)
def test_half_of_a_surrogate_pair_becomes_the_replacement_character(text: bytes, value: Any) -> None:
    assert parsed(b'{"a": %b, "b": "\\ud83d"}' % text) == {"a": value, "b": "\ufffd"}


@pytest.mark.parametrize(
    ("number", "digits"),
    [
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
        (b"18446744073709551616", "18446744073709551616"),
        (b"-9223372036854775809", "-9223372036854775809"),
        (b"9007199254740993.0", "9007199254740993"),
        (b"1.2345678901234567891e19", "12345678901234567891"),
        (b"12345678901234567891E+1", "123456789012345678910"),
        (b"0e-99999999999999999", "0"),  # in another form, a text of so many digits
        (b"-0.00000000000000000", "0"),
    ],
)
@pytest.mark.parametrize("name", ["userId", "anonymousId", "previousId", "groupId", "messageId", "objectId", "id"])
def test_a_whole_number_that_identifies_keeps_its_digits(name: str, number: bytes, digits: str) -> None:
    single = parsed(b'{"%b" : %b, "properties": {"n": %b}}' % (name.encode(), number, number))
    (first, *_) = parsed_or_partly(b'{"batch": [{"context": {"%b":%b}}], "x": "\\ud83c"}' % (name.encode(), number))[
        "batch"
    ]

    assert single == {name: digits, "properties": {"n": float(number)}}
    assert first == {"context": {name: digits}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"9007199254740993", 9007199254740993),
        (b"0.12345678901234567890", 0.1234567890123456789),
        (b'"12345678901234567890"', "12345678901234567890"),
        (rb'"\"userId\":12345678901234567890}"', '"userId":12345678901234567890}'),
    ],
)
def test_other_values_stay_as_they_are(text: bytes, value: Any) -> None:
    assert parsed(b'{"userId":%b}' % text) == {"userId": value}


@pytest.mark.parametrize("exponent", [b"9999", b"99999999"])
def test_a_number_with_a_huge_exponent_is_refused_at_once(exponent: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parsed(b'{"userId":1234567890123456789e%b}' % exponent)

    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf" + GOOD, GOOD + b"\0", b"\0\0" + GOOD + b"\n\0"])
def test_a_byte_order_mark_and_nul_bytes_around_a_body_are_ignored(body: bytes) -> None:
    assert parsed(body) == EVENT


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b'{"v":NaN}', "the event is not JSON: unexpected character, expected a JSON value at character 5: NaN}"),
        (b'{"v":-Infinity}', "the event is not JSON: "),
        (b'{"v":1e400}', "the event is not JSON: number is infinity when parsed as double at character 5: 1e400}"),
        (b'{"v":"\xff"}', "the event is not UTF-8: byte 6 is 0xff"),
        (b'{"v":"\xed\xa0\xbd"}', "the event is not UTF-8: byte 6 is 0xed"),
        (b'{"v":}', "the event is not JSON: "),
        (b'{"v":1}}', "the event is not JSON: unexpected content after document at character 7: }"),
        (b"{'v':1}", "the event is not JSON: "),
        (b'{"v":[1,}]}', "the event is not JSON: "),
        (b'{"v":"a\nb"}', "the event is not JSON: "),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "the event is not JSON: depth limit exceeded"),
        (b" ", "the event is empty"),
    ],
)
def test_a_broken_event_of_a_batch_costs_only_itself(broken: bytes, message: str) -> None:
    first, second, third = shown(batch(GOOD, broken, GOOD))

    assert (first, third) == (EVENT, EVENT)
    assert second.startswith(message)


def test_the_members_behind_a_broken_event_are_read() -> None:
    body = parsed_or_partly(batch(b"NaN", GOOD, rest=b', "sentAt" : "now", "context": {"a": ["]"]}}'))

    assert {name: body[name] for name in ("writeKey", "sentAt", "context")} == {
        "writeKey": "k",
        "sentAt": "now",
        "context": {"a": ["]"]},
    }


@pytest.mark.parametrize("between", [b"\0,", b",\0", b"\0", b"\n"])
def test_nul_bytes_between_events_and_missing_commas_cost_nothing(between: bytes) -> None:
    assert shown(b'{"batch":[' + GOOD + between + GOOD + b"]}") == [EVENT, EVENT]


def test_empty_events_are_counted_where_they_are() -> None:
    assert shown(b'{"batch":[, ,]}') == ["the event is empty"] * 3
    assert shown(batch(GOOD, b"")) == [EVENT, "the event is empty"]


@pytest.mark.parametrize("end", [b"", b"]", b"]} x", b"],}", b"] x}", b'],"a"}'])
def test_the_events_before_the_break_of_a_body_are_kept_and_the_break_is_reported(end: bytes) -> None:
    assert shown(b'{"batch":[' + GOOD + end) == [EVENT, "the rest of the body is not JSON"]


def test_the_events_before_a_body_was_cut_are_kept() -> None:
    first, second, third = shown(b'{"batch":[' + GOOD + b"," + GOOD[:-3])

    assert (first, third) == (EVENT, "the rest of the body is not JSON")
    assert second.startswith("the event is not JSON: unexpected end of data")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nul",
        b"[NaN]",
        b"[" * 400_000,
        b'{"event": NaN}',
        b"{'batch': [1]}",
        batch(GOOD, rest=b', "context": {"a": NaN}}'),
        b'{"batch": NaN}',
    ],
)
def test_a_body_of_which_nothing_can_be_kept_is_refused_with_the_place_of_the_error(body: bytes) -> None:
    with pytest.raises(Refusal, match=r"^the body is not JSON: .*line 1 column \d+") as refused:
        parsed_or_partly(body)

    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"event":"caf\xe9"}', "byte 13 is 0xe9"),
        (b'\xef\xbb\xbf {"event":"caf\xe9"}', "byte 17 is 0xe9"),
        ('{"event":"x"}'.encode("utf-16"), "byte 0 is 0xff"),
    ],
)
def test_a_body_that_is_not_utf_8_is_refused_with_the_byte(body: bytes, named: str) -> None:
    with pytest.raises(Refusal) as refused:
        parsed_or_partly(body)

    assert (refused.value.status, refused.value.message) == (400, f"the body is not JSON: it is not UTF-8: {named}")


def test_the_events_of_a_broken_array_are_read_one_by_one() -> None:
    good, broken = parsed_or_partly(b" [" + GOOD + b", NaN]")

    assert good == EVENT
    assert isinstance(broken, Unreadable)


@pytest.mark.parametrize("part", [b"[", b"{", b'"",', b"1,", b"[],"])
def test_a_body_of_too_many_parts_is_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch, part: bytes) -> None:
    monkeypatch.setattr(partial_json, "_end", lambda *_: pytest.fail("it was read"))

    with pytest.raises(Refusal, match="the body is not JSON") as refused:
        parsed_or_partly(b'{"batch":[' + part * (MAX_BODY_BYTES // len(part)))

    assert refused.value.status == 400


def test_a_broken_batch_has_the_usual_limit() -> None:
    with pytest.raises(Refusal) as refused:
        parsed_or_partly(b'{"batch":[' + b"," * MAX_BATCH_EVENTS + b"]}")

    assert (refused.value.status, refused.value.field) == (413, "batch")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzipped(GOOD[:10]) + gzipped(b"") + gzipped(GOOD[10:])),
        ("x-gzip", gzipped(GOOD)),
        ("GZIP", gzipped(GOOD) + b"garbage"),
        ("gzip", gzipped(GOOD) + b"\0" * 100),
        ("deflate", zlib.compress(GOOD)),
        ("deflate", zlib.compress(GOOD, wbits=-15)),
        ("deflate", zlib.compress(GOOD) + b"garbage"),
        ("identity", GOOD),
    ],
)
def test_a_body_may_be_compressed(encoding: str, body: bytes) -> None:
    assert read(body[:7], body[7:], encoding=encoding) == GOOD


@pytest.mark.parametrize(
    ("encoding", "body", "status", "text"),
    [
        ("gzip", gzipped(GOOD)[:-1], 400, "the compressed stream does not end"),
        ("gzip", b"", 400, "the compressed stream does not end"),
        ("gzip", gzipped(GOOD) + gzipped(GOOD)[:-1], 400, "the compressed stream does not end"),
        ("gzip", b"no", 400, "the body is not gzip, but Content-Encoding is gzip"),
        ("deflate", b"\xff\xff", 400, "the body is not deflate"),
        ("gzip", gzipped(b" " * MAX_BODY_BYTES) + gzipped(b" "), 413, "at most 512,000 bytes after"),
        ("deflate", zlib.compress(b" " * (MAX_BODY_BYTES + 1)), 413, "at most 512,000 bytes after"),
        ("", b" " * (MAX_BODY_BYTES + 1), 413, "at most 512,000 bytes"),
        ("br", b"", 415, "must be gzip, deflate or absent, not br"),
    ],
)
def test_a_body_with_a_wrong_encoding_or_too_much_content_is_refused(
    encoding: str, body: bytes, status: int, text: str
) -> None:
    with pytest.raises(Refusal, match=text) as refused:
        read(body, encoding=encoding)

    assert refused.value.status == status


def test_a_body_has_at_most_the_limit_over_all_members() -> None:
    assert len(read(gzipped(b" " * (MAX_BODY_BYTES - 1)) + gzipped(b" "), encoding="gzip")) == MAX_BODY_BYTES


def test_a_body_of_many_gzip_members_is_refused() -> None:
    """Each of them costs time, also an empty one of 20 bytes."""
    assert read(gzipped(b"") * 999 + gzipped(b"{}"), encoding="gzip") == b"{}"
    with pytest.raises(Refusal, match=r"at most 1,000 gzip members") as refused:
        read(gzipped(b"") * 1000 + gzipped(b"{}"), encoding="gzip")

    assert refused.value.status == 400
